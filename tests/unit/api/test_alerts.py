"""Each alert: raised once an episode, ended once, not flapping, with a cure."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cometkms.api.alerts import RULES, Alerts, Change
from cometkms.api.cures import OF_PEERS, OF_REFUSALS, cure_of_peer
from cometkms.api.status import compose_status
from cometkms.config.schema import AlertBounds
from cometkms.model import OLDER_REASONS, Reason
from cometkms.operator.doctor.reach import judge_members
from cometkms.wire.why import CONFIGURED, PeerCode

from .boards import NOW, FakeBoard

NAMES = [
    "height_stalled",
    "latency_high",
    "disk_slow",
    "no_leader",
    "quorum_minimum",
    "peer_away",
    "peer_recovering",
    "strict_wait",
    "store_gone",
    "peer_far",
    "conflict_refused",
    "vote_as_bytes",
    "validator_away",
    "agent_away",
    "child_restarting",
    "config_differs",
    "home_unlocked",
    "audit_failing",
    "webhook_failing",
    "requests_refused",
    "height_jump",
    "duplicate_id",
]


class Scene:
    """Three nodes, all well, this one leading; a test breaks something and lets time pass."""

    def __init__(self, bounds: AlertBounds | None = None) -> None:
        self.board = FakeBoard()
        self.alerts = Alerts(bounds or AlertBounds())
        self.time = 0.0
        self.changes: list[Change] = []
        self.state["members"] = [
            {"id": name, "self": name == "node0", "connected": True, "state": "complete", "marks": [], "error": ""}
            for name in ("node0", "node1", "node2")
        ]
        self.count(signatures=0, syncs=0)

    @property
    def state(self) -> Any:
        return self.board.sections_now["state"]

    @property
    def chain(self) -> Any:
        return self.board.sections_now["signer"]["chains"][1]

    @property
    def link(self) -> Any:
        return self.chain["validators"][0]

    @property
    def child(self) -> Any:
        return self.board.sections_now["supervisor"]["children"][1]

    def member(self, number: int) -> Any:
        return self.state["members"][number]

    def count(self, signatures: int, syncs: int, *, slow: int = 0) -> None:
        """So many samples of 200 us, and so many of 300 ms, since the start."""

        def told(fast: int) -> dict[str, Any]:
            return {
                "count": fast + slow,
                "sum_us": 0.0,
                "buckets": [[200, fast], [2500, fast], [250000, fast], [500000, fast + slow]],
            }

        self.chain["latency_hist"], self.state["sync_hist"] = told(signatures), told(syncs)

    def sign(self, height: int) -> None:
        self.state["rows"][0]["last_sign_state"]["height"] = height

    def refuse(self, reason: str, at: float | None = None) -> None:
        self.chain.setdefault("refusals", []).append(
            {
                "at": NOW + (self.time if at is None else at), "reason": reason, "why": "conflicting data", "validator": "tcp://10.0.0.1:26658",
                "asked": "12/0/2", "asked_block": "aa" * 32, "signed": "12/0/2", "signed_block": "bb" * 32, "burnt": False,
            }
        )  # fmt: skip

    def wait(self, seconds: float) -> None:
        """A look each second."""
        for _ in range(int(seconds)):
            self.time += 1
            now = NOW + self.time
            status = compose_status(self.board.sections(), self.board.beat_ages_s(), now)
            self.changes += self.alerts.evaluate(status, now, self.time)

    def told(self, name: str) -> list[bool]:
        """What was told of the name: True raised, False over."""
        return [change.raised for change in self.changes if change.alert["name"] == name]

    def what(self, name: str) -> str:
        return next(change.alert["what"] for change in self.changes if change.alert["name"] == name)


@dataclass(frozen=True)
class Case:
    """`breaks` makes it hold, `mends` ends it; told within `raise_s` and `clear_s`.

    `says`: in the words.
    """

    name: str
    breaks: Callable[[Scene], object]
    mends: Callable[[Scene], object]
    raise_s: float
    clear_s: float
    says: str


def hear(scene: Scene, error: str, code: str = "down") -> None:
    scene.member(1).update(connected=False, error=error, error_code=code)


def fail(scene: Scene, reason: str = "wrong_chain", why: str = "wrong chain; asked for 'x'", count: int = 9) -> None:
    """The validator has got nothing but refusals for a minute."""
    now = NOW + scene.time
    row = {"count": count, "since": now - 60, "at": now, "reason": reason, "why": why}
    scene.link.update(failing=row, signed_at=now - 61)


def jump(scene: Scene) -> None:
    """It asks for what no chain has come to."""
    scene.refuse("jump")
    scene.chain["refusals"][-1].update(asked="9000000/0/2", why="16 more like one before, the latest: height jump")
    fail(scene, "jump", "height jump. Got 9000000")


CASES = [
    Case("no_leader", lambda s: s.state.update(leader_id="", is_leader=False, why="waiting"),
         lambda s: s.state.update(leader_id="node0", is_leader=True, why=""), 5, 3, "no node leads, nothing is signed: waiting"),
    Case("store_gone", lambda s: s.state.update(store_gone="the promise store /h/promises is gone: it was removed, or moved away"),
         lambda s: s.state.update(store_gone=""), 2, 3, "the promise store /h/promises is gone: it was removed, or moved away"),
    Case("height_stalled", lambda s: None, lambda s: s.sign(13), 62, 3,
         "chain-a: no new height since 12, for 60.0 s; 1 of 1 validators connected"),
    Case("conflict_refused", lambda s: s.refuse("conflict"), lambda s: None, 2, 602,
         "chain-a: refused tcp://10.0.0.1:26658 (conflict): asked for 12/0/2 block AAAAAAAAAAAAAAAA; signed is 12/0/2 block BBBBBBBBBBBBBBBB"),
    Case("vote_as_bytes", lambda s: s.refuse("bytes_are_a_vote"), lambda s: None, 2, 602,
         "chain-a: tcp://10.0.0.1:26658 asked for a signature over mere bytes that are, or read as, what is signed of a vote"),
    Case("quorum_minimum", lambda s: hear(s, "gone"), lambda s: s.member(1).update(connected=True, error=""), 6, 5,
         "2 of 3 nodes are there, 2 are needed: one more loss stops signing (node1 is away)"),
    Case("validator_away", lambda s: s.link.update(state="waiting", last_error="connection refused"),
         lambda s: s.link.update(state="connected"), 12, 4, "chain-a: the validator tcp://127.0.0.1:26658 is not connected: connection refused"),
    Case("agent_away", lambda s: s.link.update(addr="agent:sentry-a", state="waiting", last_error="closed by the agent"),
         lambda s: s.link.update(state="connected"), 12, 4, "chain-a: the agent sentry-a is not connected: closed by the agent"),
    Case("peer_away", lambda s: hear(s, "connection refused"), lambda s: s.member(1).update(connected=True, error=""), 7, 4,
         "node1 is not connected: connection refused"),
    Case("peer_recovering", lambda s: s.member(2).update(state="recovering"), lambda s: s.member(2).update(state="complete"), 2, 4,
         "node2 lost its promise store"),
    Case("child_restarting", lambda s: s.child.update(restarts=1, last_exit="killed by SIGKILL"), lambda s: None, 2, 32,
         "the process signer has restarted once: killed by SIGKILL"),
    Case("latency_high", lambda s: s.count(signatures=20, syncs=0, slow=5), lambda s: None, 8, 95,
         "signatures: 99 % within 488 ms over the last minute, the bound is 250 ms"),
    Case("disk_slow", lambda s: s.count(signatures=0, syncs=20, slow=5), lambda s: None, 8, 95,
         "syncs of the promise store: 99 % within 488 ms over the last minute, the bound is 20 ms"),
    Case("requests_refused", fail, lambda s: s.link.update(failing=None, signed_at=NOW + s.time), 2, 7,
         "chain-a: every request of tcp://127.0.0.1:26658 since "),
    Case("height_jump", jump, lambda s: s.link.update(failing=None, signed_at=NOW + s.time), 2, 7,
         "chain-a: height jump. Got 9000000 (asked by tcp://127.0.0.1:26658)"),
    Case("duplicate_id", lambda s: s.member(1).update(error="two processes with the id 'node1'", error_code="duplicate"),
         lambda s: s.member(1).update(error="", error_code=""), 2, 17, "a second node calls itself node1 and was turned away"),
    Case("config_differs", lambda s: hear(s, "digests differ: node0 has ab, node1 has cd", "digest"),
         lambda s: s.member(1).update(connected=True, error="", error_code=""), 5, 5, "node1 refuses, or is refused: digests differ"),
    Case("home_unlocked", lambda s: s.board.sections_now["supervisor"].update(home_unlocked="/h/cmkms.lock cannot be opened: is a directory"),
         lambda s: s.board.sections_now["supervisor"].update(home_unlocked=""), 4, 3,
         "this node does not hold its home's lock: /h/cmkms.lock cannot be opened: is a directory"),
    Case("audit_failing", lambda s: s.board.sections_now.update(audit={"error": "no space left on device"}),
         lambda s: s.board.sections_now.update(audit={"error": ""}), 2, 7, "the audit log is not written: no space left on device"),
    Case("webhook_failing", lambda s: s.board.sections_now.update(webhook={"error": "https://h answered HTTP 404"}),
         lambda s: s.board.sections_now.update(webhook={"error": ""}), 32, 7, "alerts are not delivered: https://h answered HTTP 404"),
]  # fmt: skip
WITH_TESTS_OF_THEIR_OWN = (
    "height_stalled",
    "child_restarting",
    "latency_high",
    "disk_slow",
)  # of episodes that prolong
each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each
def test_it_is_told_once_when_it_begins_and_once_when_it_ends(case: Case) -> None:
    scene = Scene()
    scene.wait(2)
    case.breaks(scene)
    scene.wait(case.raise_s)
    assert scene.told(case.name) == [True]
    assert case.says in scene.what(case.name)
    assert case.name in [one["name"] for one in scene.alerts.current()]
    if case.name not in (
        "height_stalled",
        "conflict_refused",
        "vote_as_bytes",
        "child_restarting",
        "latency_high",
        "disk_slow",
    ):
        scene.wait(100)  # it lasts
        assert scene.told(case.name) == [True]
    case.mends(scene)
    scene.wait(case.clear_s)
    assert scene.told(case.name) == [True, False]
    assert case.name not in [one["name"] for one in scene.alerts.current()]


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name not in WITH_TESTS_OF_THEIR_OWN], ids=lambda case: case.name
)
def test_what_comes_and_goes_quickly_is_one_episode(case: Case) -> None:
    """Hysteresis: broken again before the end was told, it was never over."""
    scene = Scene()
    case.breaks(scene)
    scene.wait(case.raise_s)
    for _ in range(5):
        case.mends(scene)
        scene.wait(1)
        if RULES[case.name].clear_s <= 1:
            break
        case.breaks(scene)
        scene.wait(2)
    assert scene.told(case.name)[:1] == [True]
    assert scene.told(case.name).count(True) == 1


def test_every_name_has_a_cure_with_a_command_or_says_that_there_is_nothing_to_do() -> None:
    assert sorted(RULES) == sorted(NAMES)
    for name, rule in RULES.items():
        assert len(rule.cure) > 20, name
        assert "`" in rule.cure or "nothing" in rule.cure, name
        for command in re.findall(r"`([^`]+)`", rule.cure):
            assert command.split()[0] in ("cmkms", "systemctl", "curl", "child"), f"{name}: {command}"


def test_all_is_quiet_while_all_is_well() -> None:
    scene = Scene()
    for height in range(13, 140):
        scene.sign(height)
        scene.count(signatures=3 * height, syncs=3 * height)
        scene.wait(1)
    assert scene.changes == []


def test_a_node_that_has_said_nothing_yet_raises_nothing_but_its_children() -> None:
    scene = Scene()
    scene.board.sections_now.update(state=None, signer=None, supervisor=None)
    scene.wait(100)
    assert scene.changes == []


def test_a_validator_s_cure_is_of_what_its_port_said() -> None:
    for error, cure in (
        ("it takes the connection, and no handshake came within 3 s: it hangs", "`ping -M do -s 1372 HOST`"),
        ("no SecretConnection hello: it begins with 48545450 ('HTTP')", "is no validator's port for signers"),
        ("it is no socket, but a directory", "move away what is at"),
        ("it is no socket, but a link to where nothing is", "where the link at"),
        ("connection refused", "is the validator up"),
    ):
        scene = Scene()
        scene.link.update(state="waiting", last_error=error)
        scene.wait(12)
        assert cure in cure_of(scene, "validator_away")
        assert "tcp://127.0.0.1:26658" in cure_of(scene, "validator_away")


def lead(scene: Scene, leader: str, reaches: str = "unknown") -> None:
    """Another member leads, or "node0", or nobody; the leader says whether it reaches a
    validator."""
    scene.state.update(is_leader=leader == "node0", leader_id=leader)
    scene.link["state"] = "dialing" if leader == "node0" else "standby"
    for member in scene.state["members"]:
        if member["id"] == leader:
            member["facts"] = {"reaches_validator": reaches}


def test_a_stall_is_the_leaders_to_tell_or_everybodys_when_nobody_leads() -> None:
    scene = Scene()
    scene.state.update(is_leader=False, leader_id="node1")
    scene.wait(120)
    assert scene.told("height_stalled") == []
    scene.state.update(leader_id="")
    scene.wait(2)
    assert scene.told("height_stalled") == [True]
    lead(scene, "node1", reaches="yes")
    scene.wait(4)
    assert scene.told("height_stalled") == [True], "it may have said so in an earlier lead"
    scene.wait(4)
    assert scene.told("height_stalled") == [True, False]


def circle(scene: Scene) -> None:
    """Twenty minutes in which the lead goes round, because nobody reaches the validator."""
    lead(scene, "node0")
    scene.wait(100)
    for _ in range(5):
        for leader in ("", "node1", "", "node2", "", "node0"):
            lead(scene, leader, reaches="yes")  # the last time that it led
            scene.wait(4)
            if leader:
                lead(scene, leader, reaches="no")
            scene.wait(60 if leader == "node0" else 5)


def test_while_the_validator_is_down_and_the_lead_circles_there_is_one_episode() -> None:
    scene = Scene()
    circle(scene)
    assert (scene.told("height_stalled"), scene.told("validator_away")) == ([True], [True])
    lead(scene, "node1", reaches="no")
    scene.wait(3)
    stalled = next(one for one in scene.alerts.current() if one["name"] == "height_stalled")
    assert stalled["what"].endswith("; node1 leads, and has not said that it reaches a validator")
    assert stalled["since"] < NOW + 120, "the first time"


def over_by_a_signature(scene: Scene) -> None:
    scene.sign(13)


def over_by_the_next_leaders_word(scene: Scene) -> None:
    lead(scene, "node1", reaches="yes")


def over_by_a_connection(scene: Scene) -> None:
    lead(scene, "node0")
    scene.link["state"] = "connected"


@pytest.mark.parametrize("over", [over_by_a_signature, over_by_the_next_leaders_word, over_by_a_connection])
def test_the_episode_of_a_circling_lead_is_over_when_somebody_signs_or_reaches_a_validator(
    over: Callable[[Scene], None],
) -> None:
    scene = Scene()
    circle(scene)
    lead(scene, "node1", reaches="no")
    scene.wait(3)
    over(scene)
    scene.wait(5)
    assert scene.told("validator_away") == [True, False]
    assert scene.told("height_stalled") == ([True] if over is over_by_a_connection else [True, False])
    lead(scene, "node2", reaches="no")
    scene.wait(100)
    assert scene.told("validator_away") == [True, False], "another leader's to tell"


def test_a_node_that_was_taken_out_tells_nothing_of_the_validators_it_led() -> None:
    scene = Scene()
    circle(scene)
    scene.state.update(is_leader=False, leader_id="", node_state="sealed")
    scene.wait(5)
    assert scene.told("validator_away") == [True, False]


def test_a_member_that_is_too_far_is_named_with_its_round_trip() -> None:
    scene = Scene()
    for rtt_us, told in ((399_000.0, []), (None, []), (650_000.0, [True]), (200_000.0, [True, False])):
        scene.state["members"][1]["rtt_us"] = rtt_us
        scene.wait(15)
        assert scene.told("peer_far") == told
        if rtt_us == 650_000.0:
            assert "the round trip to node1 takes 650 ms" in scene.alerts.current()[0]["what"]


def test_members_that_wait_for_each_other_are_named_with_what_to_type() -> None:
    scene = Scene()
    scene.state["strict_wait"] = {"lost": ["node2"], "starting": ["node0", "node1"]}
    scene.wait(3)
    assert scene.told("strict_wait") == []
    scene.wait(4)
    assert scene.told("strict_wait") == [True]
    alert = scene.alerts.current()[0]
    assert "node2 lost its promises and waits for node0 and node1" in alert["what"]
    assert "put back on node0 and node1" in alert["cure"]
    assert "strict_start = false" in alert["cure"]
    scene.state["strict_wait"] = None
    scene.wait(3)
    assert scene.told("strict_wait") == [True, False]


def test_a_chain_that_never_signed_does_not_stall() -> None:
    scene = Scene()
    scene.state["rows"][0]["last_sign_state"] = None
    scene.wait(200)
    assert scene.told("height_stalled") == []


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("height_stalled", AlertBounds(stall_s=0)),
        ("latency_high", AlertBounds(latency_s=0)),
        ("disk_slow", AlertBounds(disk_s=0)),
    ],
)
def test_a_bound_of_zero_switches_it_off(name: str, bounds: AlertBounds) -> None:
    scene = Scene(bounds)
    scene.wait(1)
    scene.count(signatures=20, syncs=20, slow=20)
    scene.wait(300)
    assert scene.told(name) == []


def test_bounds_may_change_while_it_runs() -> None:
    scene = Scene()
    scene.wait(30)
    scene.alerts.bounds = AlertBounds(stall_s=20)
    scene.wait(1)
    assert scene.told("height_stalled") == [True]


def test_one_slow_signature_is_no_alert_nor_are_a_few_signatures() -> None:
    scene = Scene()
    scene.wait(1)
    scene.count(signatures=20, syncs=0, slow=1)
    scene.wait(20)
    scene.count(signatures=25, syncs=0, slow=4)
    assert scene.told("latency_high") == []
    few = Scene()
    few.wait(1)
    few.count(signatures=1, syncs=0, slow=3)
    few.wait(20)
    assert few.told("latency_high") == []


def test_slowness_of_more_than_a_minute_ago_is_over() -> None:
    scene = Scene()
    scene.wait(1)
    scene.count(signatures=20, syncs=0, slow=5)
    scene.wait(59)
    assert scene.told("latency_high") == [True]
    for number in range(60):
        scene.count(signatures=20 + 3 * number, syncs=0, slow=5)
        scene.wait(1)
    assert scene.told("latency_high") == [True, False]


def test_two_peers_away_are_two_alerts_of_one_name() -> None:
    scene = Scene()
    scene.member(1).update(connected=False)
    scene.wait(8)
    scene.member(2).update(connected=False)
    scene.wait(8)
    assert scene.told("peer_away") == [True, True]
    assert "1 of 3 nodes is there, 2 are needed: nothing can be signed" in scene.alerts.current()[0]["what"]
    assert {one["name"] for one in scene.alerts.current()} == {"peer_away", "quorum_minimum"}


def test_two_nodes_are_always_at_their_minimum_and_are_told_so_at_the_start_only() -> None:
    scene = Scene()
    scene.state["members"] = scene.state["members"][:2]
    scene.wait(30)
    assert scene.told("quorum_minimum") == []


def test_each_conflict_tells_both_sides_and_prolongs_its_episode() -> None:
    scene = Scene()
    scene.refuse("conflict")
    scene.wait(500)
    scene.refuse("burnt")
    scene.wait(500)
    assert scene.told("conflict_refused") == [True]
    assert "(burnt)" in next(one["what"] for one in scene.alerts.current() if one["name"] == "conflict_refused")
    scene.wait(110)
    assert scene.told("conflict_refused") == [True, False]


@pytest.mark.parametrize("reason", sorted(one.name.lower() for one in OLDER_REASONS))
def test_a_place_below_the_last_one_is_no_conflict(reason: str) -> None:
    """A node that was stopped between its precommit and the block replays its log, and asks for
    that height's proposal and prevote again.
    """
    scene = Scene()
    scene.refuse(reason)
    scene.wait(3)
    assert scene.changes == []
    scene.refuse("conflict")
    scene.wait(3)
    assert scene.told("conflict_refused") == [True]


def test_a_senseless_request_is_no_conflict_and_an_old_one_no_news() -> None:
    scene = Scene()
    scene.refuse("wrong_chain")
    scene.refuse("conflict", at=-3600)
    scene.wait(5)
    assert scene.told("conflict_refused") == []


def test_a_conflict_after_the_clock_was_set_back_is_told_like_any_other() -> None:
    scene = Scene()
    scene.refuse("conflict")
    scene.wait(650)
    scene.refuse("conflict", at=-7200)
    scene.wait(5)
    assert scene.told("conflict_refused") == [True, False, True]


def test_a_vote_that_is_asked_for_as_bytes_is_no_conflict_and_the_other_way_round() -> None:
    scene = Scene()
    scene.refuse("bytes_are_a_vote")
    scene.wait(3)
    assert (scene.told("conflict_refused"), scene.told("vote_as_bytes")) == ([], [True])
    scene.refuse("conflict")
    scene.wait(3)
    assert (scene.told("conflict_refused"), scene.told("vote_as_bytes")) == ([True], [True])
    scene.refuse("bytes_not_allowed")
    scene.wait(610)
    assert scene.told("vote_as_bytes") == [True, False]


def test_a_burnt_place_is_said_to_be_unknown() -> None:
    scene = Scene()
    scene.refuse("burnt")
    scene.chain["refusals"][-1].update(burnt=True, signed_block="")
    scene.wait(1)
    assert "signed is 12/0/2 what is not known (burnt)" in scene.what("conflict_refused")


def test_a_process_that_restarts_again_and_again_is_one_episode() -> None:
    scene = Scene()
    scene.wait(1)
    for restarts in range(1, 6):
        scene.child.update(restarts=restarts, last_exit="exit code 1")
        scene.wait(10)
    assert scene.told("child_restarting") == [True]
    assert "5 times" in scene.alerts.current()[-1]["what"]


def test_restarts_before_this_process_looked_are_no_news() -> None:
    scene = Scene()
    scene.child.update(restarts=3)
    scene.wait(40)
    assert scene.told("child_restarting") == []


def test_a_follower_has_no_validator_to_miss() -> None:
    scene = Scene()
    scene.state.update(is_leader=False, leader_id="node1")
    scene.link.update(state="standby")
    scene.wait(60)
    assert scene.told("validator_away") == []


def test_an_agent_is_missed_on_every_node() -> None:
    """It keeps a link to each: the one that it cannot ask is no help when the others are silent."""
    scene = Scene()
    scene.state.update(is_leader=False, leader_id="node1")
    scene.link.update(addr="agent:sentry-a", state="waiting")
    scene.wait(60)
    assert scene.told("agent_away") != []
    assert scene.told("validator_away") == []


def test_settings_that_must_be_alike_and_are_not_are_named_and_a_version_is_none() -> None:
    scene = Scene()
    scene.state["config_differences"] = [
        {"member": "node1", "what": "version", "here": "1", "there": "2"},
        {"member": "node1", "what": "default_ttl", "here": "400ms", "there": "1s"},
    ]
    scene.wait(5)
    assert scene.told("config_differs") == [True]
    assert scene.what("config_differs") == "node1 is configured differently: default_ttl is 1s there and 400ms here"
    scene.state["config_differences"] = []
    scene.wait(5)
    assert scene.told("config_differs") == [True, False]


def cure_of(scene: Scene, name: str) -> str:
    return next(one["cure"] for one in scene.alerts.current() if one["name"] == name)


@pytest.mark.parametrize("reason", OF_REFUSALS)
def test_a_refusal_of_everything_says_what_to_do_about_its_reason(reason: str) -> None:
    scene = Scene()
    fail(scene, reason)
    scene.wait(2)
    assert cure_of(scene, "requests_refused") == OF_REFUSALS[reason].replace("{chain}", "chain-a")
    assert "nothing is signed" in scene.what("requests_refused")


@pytest.mark.parametrize("reason", ["unknown_row", "no_permit", "not_leader"])
def test_a_chain_that_too_few_have_is_told_as_that_whatever_its_requests_waited_for(reason: str) -> None:
    scene = Scene()
    fail(scene, reason)
    for number in (1, 2):
        scene.member(number)["lacks"] = ["chain-a"]
    scene.wait(2)
    what = scene.what("requests_refused")
    assert what.endswith("was not answered: node1, node2 have no chain chain-a with this node's key; nothing is signed")
    assert cure_of(scene, "requests_refused") == OF_REFUSALS["unknown_row"].replace("{chain}", "chain-a")


def test_of_a_member_that_is_away_is_said_that_it_is_away_and_not_what_it_had() -> None:
    """Neither can promise: one lacks the chain, one is not there."""
    scene = Scene()
    fail(scene, "no_permit")
    scene.member(1)["lacks"] = ["chain-a"]
    scene.member(2).update(connected=False, lacks=["chain-a"])
    scene.wait(2)
    what = scene.what("requests_refused")
    assert "node1 has no chain chain-a with this node's key, and node2 is not connected; nothing is signed" in what


@pytest.mark.parametrize(("reason", "lacking"), [("no_permit", [2]), ("no_permit", []), ("conflict", [1, 2])])
def test_a_chain_that_another_lacks_is_no_cause_where_the_rest_can_promise(reason: str, lacking: list[int]) -> None:
    """Nor of a refusal that no majority would change."""
    scene = Scene()
    fail(scene, reason)
    for number in (1, 2):
        scene.member(number)["lacks"] = ["chain-a" if number in lacking else "another"]
    scene.wait(2)
    assert "this node's key" not in scene.what("requests_refused")
    assert cure_of(scene, "requests_refused") == OF_REFUSALS[reason].replace("{chain}", "chain-a")


def test_a_validator_that_restarts_because_it_is_refused_is_one_episode() -> None:
    """Connected and refused for some seconds, away for some, again and again."""
    scene = Scene()
    for _ in range(4):
        scene.link.update(state="connected")
        fail(scene)
        scene.wait(3)
        scene.link.update(state="waiting", failing=None)
        scene.wait(12)
    assert scene.told("requests_refused") == [True]
    scene.wait(60)
    assert scene.told("requests_refused") == [True, False]


def test_a_jump_says_the_command_that_admits_the_height_that_was_asked_for() -> None:
    scene = Scene()
    jump(scene)
    scene.wait(2)
    assert "`cmkms chain admit chain-a --height 9000000`" in cure_of(scene, "height_jump")


def test_one_jump_among_others_is_no_alert() -> None:
    scene = Scene()
    scene.refuse("jump")
    scene.wait(5)
    assert scene.told("height_jump") == []


def test_every_reason_and_every_code_that_needs_one_has_a_cure() -> None:
    assert {one.name.lower() for one in Reason if one is not Reason.NONE} == set(OF_REFUSALS)
    general = {PeerCode.CLOSED, PeerCode.SILENT, PeerCode.BROKE_PROTOCOL, PeerCode.OTHER}
    assert set(PeerCode) - general == set(OF_PEERS)
    assert set(OF_PEERS) >= CONFIGURED


def test_a_member_that_was_left_in_an_earlier_epoch_of_the_same_list_is_told_what_takes_it_along() -> None:
    """Its list differs in nothing: no `cmkms member` of it is to be given, and no list corrected."""
    cure = cure_of_peer(PeerCode.MEMBERS, "node1", "node0")
    assert (
        "left in an earlier epoch: there, stopped, `cmkms epoch begin` with the seals from which the others began"
        in cure
    )


@pytest.mark.parametrize("code", PeerCode)
def test_a_member_that_is_away_has_the_cure_of_its_code_whatever_the_words(code: PeerCode) -> None:
    scene = Scene()
    hear(scene, "words that nobody matches", code.value)
    scene.wait(8)
    assert ("config_differs" in [one["name"] for one in scene.alerts.current()]) == (code in CONFIGURED)
    general = RULES["peer_away"].cure.replace("{subject}", "node1")
    whose = "node0" if code is PeerCode.DUPLICATE else "node1"  # what keeps this node out is a copy of its own home
    assert cure_of(scene, "peer_away") == OF_PEERS.get(code, general).replace("{subject}", whose)
    assert ("duplicate_id" in [one["name"] for one in scene.alerts.current()]) == (code is PeerCode.DUPLICATE)


@pytest.mark.parametrize(("code", "begins"), [("not_dialled", "start all nodes"), ("unreachable", "is the machine")])
def test_a_first_start_waits_for_all_and_its_cure_does_not_speak_of_a_majority(code: str, begins: str) -> None:
    scene = Scene()
    hear(scene, "words", code)
    scene.member(0)["state"] = scene.state["node_state"] = "empty"
    scene.state.update(leader_id="", is_leader=False, why="the first start waits until every node was seen")
    scene.wait(8)
    cure = cure_of(scene, "no_leader")
    assert cure.startswith(begins)
    assert "start all nodes of the list" in cure and "majority" not in cure


def test_words_alone_are_no_code() -> None:
    scene = Scene()
    hear(scene, "epochs differ, the peers' protocol differs, it is not in the peer list", "closed")
    scene.wait(8)
    assert scene.told("config_differs") == []


def test_a_node_that_is_not_let_in_because_its_id_is_taken_is_told_that_it_is_the_copy() -> None:
    scene = Scene()
    hear(scene, "refused by node1: two processes with the id 'node0'", "duplicate")
    scene.wait(2)
    assert "another node with the id of this one, node0, is there already" in scene.what("duplicate_id")
    scene.state.update(leader_id="", is_leader=False)
    scene.wait(8)
    for name in ("peer_away", "no_leader"):
        assert "two nodes have the id node0:" in cure_of(scene, name)


def test_one_refusal_or_some_within_a_moment_are_no_failure() -> None:
    scene = Scene()
    fail(scene, count=1)
    scene.wait(10)
    row = {"count": 5, "since": NOW + scene.time, "at": NOW + scene.time, "reason": "conflict", "why": ""}
    scene.link.update(failing=row)
    scene.wait(2)
    assert scene.told("requests_refused") == []


def test_one_validator_that_is_refused_beside_one_that_is_served_is_named_and_the_chain_signs() -> None:
    scene = Scene()
    scene.chain["validators"].append({"addr": "tcp://b:1", "state": "connected", "signed_at": NOW + 0.5})
    fail(scene)
    scene.wait(2)
    assert scene.told("requests_refused") == [True]
    assert "nothing is signed" not in scene.what("requests_refused")


def test_a_way_that_loses_large_packets_is_not_told_as_a_missing_majority_alone() -> None:
    scene = Scene()
    hear(scene, "takes the connection, and no handshake came", "handshake")
    scene.member(2).update(connected=False, error="connection refused", error_code="down")
    scene.state.update(leader_id="", is_leader=False)
    scene.wait(8)
    assert "large packets" in cure_of(scene, "no_leader")
    assert "node1: takes the connection" in scene.what("no_leader")


def test_the_disks_bound_comes_from_what_it_has_shown() -> None:
    """A quick disk that becomes slow is told earlier, a common cloud disk is calm; at 50 ms every
    disk is slow.
    """
    for shown_ms, slow_ms, told in ((0.2, 4, False), (0.2, 8, True), (3.0, 15, False), (15, 40, False), (15, 60, True)):
        scene = Scene()
        us = shown_ms * 1000
        quick: dict[str, Any] = {
            "count": 500,
            "sum_us": 0.0,
            "buckets": [[us, 500], [slow_ms * 900, 500], [slow_ms * 1000, 500]],
        }
        scene.state["sync_hist"] = quick
        scene.wait(70)
        scene.state["sync_hist"] = {
            **quick,
            "count": 600,
            "buckets": [[us, 500], [slow_ms * 900, 500], [slow_ms * 1000, 600]],
        }
        scene.wait(8)
        assert (scene.told("disk_slow") == [True]) is told, (shown_ms, slow_ms)


def test_the_worst_stands_first() -> None:
    scene = Scene()
    scene.member(1).update(connected=False)
    scene.state.update(leader_id="", is_leader=False)
    scene.refuse("conflict")
    scene.wait(10)
    assert [one["name"] for one in scene.alerts.current()] == [
        "no_leader",
        "conflict_refused",
        "quorum_minimum",
        "peer_away",
    ]


def test_a_cure_names_its_subject() -> None:
    scene = Scene()
    scene.link.update(state="dialing")
    scene.wait(12)
    (alert,) = scene.alerts.current()
    assert "priv_validator_laddr tcp://127.0.0.1:26658?" in alert["cure"]


def test_the_documents_name_every_alert() -> None:
    docs = Path(__file__).resolve().parents[3] / "docs"
    text = (docs / "STATUS_PAGE.md").read_text()
    assert set(RULES) <= set(re.findall(r"^## (\w+)$", (docs / "RUNBOOK.md").read_text(), re.M))
    assert re.findall(r"^\| `(\w+)` \|", text[text.index("## Alerts") :], re.M) == list(RULES)


def sealed(scene: Scene, following: list[str]) -> None:
    """This node, node0, is sealed, and the others let it in no more."""
    scene.state.update(
        node_state="sealed", why="epoch 1 was sealed here", next=following, leader_id=None, is_leader=False
    )
    scene.member(0)["state"] = "sealed"
    for number in (1, 2):
        scene.member(number).update(connected=False, error="'node0' is not in the peer list", error_code="unlisted")


def test_one_that_was_taken_out_raises_nothing_about_a_cluster_that_it_has_left() -> None:
    scene = Scene()
    sealed(scene, ["node1", "node2"])
    scene.wait(120)
    assert scene.alerts.current() == []


def test_a_sealed_member_of_the_next_epoch_is_told_how_the_change_goes_on() -> None:
    scene = Scene()
    sealed(scene, ["node0", "node1"])
    scene.wait(120)
    (alert,) = scene.alerts.current()
    assert alert["name"] == "no_leader"
    assert alert["cure"].startswith(
        "go on with the change of members: on each of node0, node1, stopped, the same `cmkms member` command"
    )


def test_members_that_lost_their_promises_and_wait_for_each_other_are_told_what_ends_it() -> None:
    """With all of them up and connected nothing goes on by itself."""
    scene = Scene()
    scene.state.update(leader_id="", is_leader=False, why="no majority promises")
    for number in (0, 2):
        scene.member(number).update(state="recovering")
    scene.wait(10)
    cures = {one["name"]: one["cure"] for one in scene.alerts.current()}
    for name in ("no_leader", "quorum_minimum", "peer_recovering"):
        assert cures[name].startswith("node0 and node2 lost their promises and wait for each other for ever"), cures
        assert "`cmkms recover --min-height HEIGHT`" in cures[name]
    found = {one.words: one.cure for one in judge_members({"members": scene.state["members"]})}
    (said,) = [cure for words, cure in found.items() if words.startswith("node2 is connected and recovering")]
    assert said == cures["peer_recovering"]
    scene.member(2).update(state="complete")
    scene.wait(5)
    assert (
        "nothing, if all nodes are up" in {one["name"]: one["cure"] for one in scene.alerts.current()}["quorum_minimum"]
    )


@pytest.mark.parametrize(
    ("states", "says", "cure"),
    [
        ({2: "sealed"}, "node2 is sealed", "go on with the change of members"),
        ({0: "recovering"}, "node0, this node, is recovering", "nothing, if all nodes are up"),
        ({1: "starting"}, "node1 is starting", "nothing, if all nodes are up"),
        ({2: None}, "node2 is away", "bring the missing node back"),
    ],
)
def test_what_brings_a_majority_close_is_told_with_the_cure_for_it(
    states: dict[int, str | None], says: str, cure: str
) -> None:
    scene = Scene()
    for number, state in states.items():
        scene.member(number).update({"connected": False} if state is None else {"state": state})
    scene.wait(10)
    alert = next(one for one in scene.alerts.current() if one["name"] == "quorum_minimum")
    assert alert["what"].endswith(f"one more loss stops signing ({says})")
    assert alert["cure"].startswith(cure)
