"""What needs a person, told once per episode, each with a cure. Pure: the status document and two
clocks come from outside.

    quiet ── a condition holds for `raise_s` ──▶ RAISED (told once) ── it has not held for `clear_s` ──▶ quiet (told once)

An episode has a subject (a peer, a chain, a validator): two peers that are away are two alerts of
one name. What the words say may change while it lasts (a count, a name); that is no new episode.
Nor is it one that the lead moves: what a leader told of its validators is not over with its lead,
but when the next one reaches a validator, or a height is signed.
docs/RUNBOOK.md has a heading for each name.
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cometkms.api.cures import OF_PEERS, OF_REFUSALS, cure_of_lost, cure_of_peer, cure_of_validator
from cometkms.api.histograms import Counted, read, since, together
from cometkms.api.status import ChainStatus, Status
from cometkms.board.sections import (
    REACH_FACT,
    AlertReport,
    ChildState,
    LinkState,
    MemberState,
    Reach,
    RefusalReport,
)
from cometkms.config.schema import AlertBounds
from cometkms.limits import PEER_FAR_S, SIGNED_LATELY_S, UNREACHED_LOOK_S, UNREACHED_S
from cometkms.model import quorum_of
from cometkms.printable import duration
from cometkms.wire.why import CONFIGURED, PeerCode

_WINDOW_S: Final = 60.0  # of latencies and syncs
_SAMPLES_MIN: Final = 10  # fewer have no 99th percentile
_SLOW_MIN: Final = 2  # one slow sample is an accident
# the bound of a disk that has not shown yet what it can: a common cloud disk stays below
_DISK_UNKNOWN_S: Final = 0.020
_DISK_MIN_S: Final = 0.005  # … and of the quickest disk: less delays no vote
_DISK_MAX_S: Final = 0.050  # … and of the slowest: whatever it has shown, this is felt
_DISK_FACTOR: Final = 10.0  # slow is a disk that takes so many times what it took before
_DISK_SYNCS_MIN: Final = 200  # which is known after so many
_JUMP: Final = "jump"
AGENT_PREFIX: Final = "agent:"  # of an address that is an agent's name
_CURE_OF_FIRST_START: Final = (
    "start all nodes of the list: at its first start a cluster waits until each has seen every other; `cmkms peers` names "
    "who is missing"
)
_CONFLICT_LASTS_S: Final = 600.0  # a conflict is looked into by a person, who needs to see it
# a leader says that it reaches no validator after UNREACHED_S, and looks each UNREACHED_LOOK_S
_REACH_TOLD_S: Final = UNREACHED_S + 2 * UNREACHED_LOOK_S
# what is told of a member that may simply be down, a stranger's unproven word included: the alerts
# of all say to start it
_STARTED: Final = frozenset({PeerCode.DOWN, PeerCode.NOT_DIALLED, PeerCode.STRANGER})
# not OLDER_REASONS: a validator that replays its log asks so
_CONFLICTS: Final = frozenset({"conflict", "burnt"})
_VOTES_AS_BYTES: Final = frozenset({"bytes_are_a_vote"})


@dataclass(frozen=True, slots=True)
class Rule:
    """How long a condition must hold, and be gone, to count (seconds). `cure`: for any subject:
    {subject} is put in."""

    raise_s: float
    clear_s: float
    cure: str


#: Every alert there is, in the order in which they are shown: the worst first.
RULES: Final[dict[str, Rule]] = {
    "no_leader": Rule(
        3.0, 1.0, "see with `cmkms peers` who is missing and start it: `cmkms start` on its machine; a majority must be up, connected and complete"
    ),
    "store_gone": Rule(
        0.0, 1.0, "find what removed it; move that very file back, no copy: it goes on by itself; else `systemctl restart cmkms` only as docs/RUNBOOK.md says"
    ),
    "requests_refused": Rule(
        0.0, 5.0, "`cmkms status` says which validator and why; nothing needs to be recovered because of it"
    ),
    "height_jump": Rule(
        0.0, 5.0, "ask a node that you trust for the height of {subject}: `curl -s http://NODE:26657/status`; if the chain is there, `cmkms chain admit`"
    ),
    "height_stalled": Rule(
        0.0, 1.0, "see with `cmkms status` whether a validator is connected; if one is, look at the chain: `curl -s http://VALIDATOR:26657/status`"
    ),
    "conflict_refused": Rule(
        0.0, _CONFLICT_LASTS_S, "find out what else asks with this key, and stop it; `cmkms status --json` has the refusal in full; never lower a watermark"
    ),
    "vote_as_bytes": Rule(
        0.0, _CONFLICT_LASTS_S, "nothing was signed: no honest program asks so. Look at what runs on the validator's machine before anything else; until you "
        "know, take it out of validator_addr for {subject}; `cmkms status` names it"
    ),
    "strict_wait": Rule(
        5.0, 1.0, "if no older copy of data/ was put back on {subject}: on each of them set strict_start = false in config.toml, `systemctl restart "
        "cmkms`, and set it back when `cmkms peers` shows every node complete"
    ),
    "duplicate_id": Rule(
        0.0, 15.0, "two nodes have one id: find the copy of the home of {subject} and stop it; another node is a member of this cluster "
        "(`cmkms member add`), or has another key"
    ),
    "quorum_minimum": Rule(
        3.0, 3.0, "bring the missing node back before you stop another: `cmkms peers` names it; `cmkms start` on its machine"
    ),
    "validator_away": Rule(
        10.0, 2.0, "is the validator up, and is its priv_validator_laddr {subject}? `cmkms status` has the last error"
    ),
    "agent_away": Rule(
        10.0, 2.0, "on the machine of the agent {subject}: does `cmkms agent` run, does its agent.toml name this node and the key that "
        "`cmkms peers --identities` prints here, and is agent_addr let through? Its log says why it is not connected"
    ),
    "peer_recovering": Rule(
        0.0, 2.0, "nothing, if all other nodes are up: it reads them and comes back by itself; `cmkms peers` shows whom it waits for"
    ),
    "peer_away": Rule(
        5.0, 2.0, "on the machine of {subject}: `systemctl status cmkms` or `cmkms status`; `cmkms start` if it is down; else its network and the peers' port"
    ),
    "peer_far": Rule(
        10.0, 10.0, "`cmkms peers` has the round trips: each signature waits for one to the nearer half of the members, a lost leader costs up to six to "
        "the farthest; is {subject} where it should be, and does its traffic take a detour?"
    ),
    "child_restarting": Rule(
        0.0, 30.0, "read why in the node's log (`child died`); it starts again by itself; if it goes on, `cmkms doctor`"
    ),
    "latency_high": Rule(
        5.0, 30.0, "`cmkms doctor` measures the disk and the way to each peer and validator; a slow leader hands over: `cmkms leader transfer`"
    ),
    "disk_slow": Rule(
        5.0, 30.0, "`cmkms doctor` measures the disk; move the home to a disk of its own, with power-loss protection; until then `cmkms leader transfer`"
    ),
    "config_differs": Rule(
        3.0, 3.0, "compare `cmkms config digest` on both nodes, and their config.toml; make them alike and restart the wrong one"
    ),
    "home_unlocked": Rule(
        2.0, 1.0, "put right what its text names: move away what is in the lock file's place, or put the home back at its name; `cmkms status` says when "
        "it is over; until then run no command there that changes a stopped node"
    ),
    "webhook_failing": Rule(
        30.0, 5.0, "`cmkms alert test` on this machine sends one and says what came back; is the address still valid, and may this machine reach it?"
    ),
    "audit_failing": Rule(
        0.0, 5.0, "put right what its text names: room, permissions, what is in the way or gone (docs/RUNBOOK.md); then `cmkms audit verify`"
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Held:
    """A condition that holds now. `subject`: of whom; "" where there is one only. `cure`: "" where
    the rule's own is meant."""

    name: str
    subject: str
    what: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """An episode that begins or ends. at: UNIX seconds."""

    raised: bool
    alert: AlertReport


@dataclass(slots=True)
class _Episode:
    held: Held
    since_wall: float
    since: float
    seen: float
    raised: bool = False


@dataclass(slots=True)
class _Heights:
    """The newest height of a chain, and when it was first seen."""

    height: int
    at: float


@dataclass(slots=True)
class Alerts:
    """The episodes under way. `bounds` may be replaced at any time."""

    bounds: AlertBounds
    _episodes: dict[tuple[str, str], _Episode] = field(default_factory=dict)
    _heights: dict[str, _Heights] = field(default_factory=dict)
    _led_at: float = -math.inf  # when this node was last seen to lead; monotonic
    _leader: str = ""  # who leads …
    _leader_at: float = -math.inf  # … since when; monotonic
    _restarts: dict[str, int] = field(default_factory=dict)
    _refused: dict[tuple[str, str], RefusalReport] = field(default_factory=dict)
    _latencies: deque[tuple[float, Counted]] = field(default_factory=deque)
    _syncs: deque[tuple[float, Counted]] = field(default_factory=deque)

    def evaluate(self, status: Status, wall: float, monotonic: float) -> list[Change]:
        """Look once; what began and what ended. Call it about once a second."""
        held = {(one.name, one.subject): one for one in self._conditions(status, wall, monotonic)}
        changes: list[Change] = []
        for key, one in held.items():
            episode = self._episodes.setdefault(key, _Episode(one, wall, monotonic, monotonic))
            episode.held, episode.seen = one, monotonic
            if not episode.raised and monotonic - episode.since >= RULES[one.name].raise_s:
                episode.raised = True
                changes.append(Change(True, _document(episode)))
        for key, episode in tuple(self._episodes.items()):
            if key in held or (episode.raised and monotonic - episode.seen < _clear_s(*key, status)):
                continue
            del self._episodes[key]
            if episode.raised:
                changes.append(Change(False, _document(episode)))
        return changes

    def current(self) -> list[AlertReport]:
        """Those that are raised, the worst first."""
        order = {name: number for number, name in enumerate(RULES)}
        raised = [(key, one) for key, one in self._episodes.items() if one.raised]
        return [_document(one) for key, one in sorted(raised, key=lambda item: (order[item[0][0]], item[0][1]))]

    # --- conditions ---

    def _conditions(self, status: Status, wall: float, monotonic: float) -> Iterator[Held]:
        if status.get("node_state") == MemberState.SEALED:
            yield from _sealed(status)
        else:
            yield from _leadership(status)
            yield from _members(status)
        if gone := status.get("store_gone", ""):
            yield Held("store_gone", "", gone)
        yield from _refused(status)
        if status["situation"]["leads"] == "here":
            self._led_at = monotonic
        # else what is signed is not known just now, or is not this node's to sign any more
        knows = status.get("node_state", MemberState.SEALED) != MemberState.SEALED
        unreached = knows and not self._leader_reaches(status, monotonic)
        if knows:
            yield from self._stalls(status, monotonic, unreached=unreached)
        yield from self._conflicts(status, wall)
        yield from _strict_waits(status)
        yield from self._validators(status, unreached=unreached)
        yield from self._restarting(status)
        yield from self._slow(status, monotonic)
        if why := status.get("home_unlocked", ""):
            yield Held("home_unlocked", "", f"this node does not hold its home's lock: {why}")
        if error := status.get("audit", {}).get("error", ""):
            yield Held("audit_failing", "", f"the audit log is not written: {error}")
        if error := status.get("webhook", {}).get("error", ""):
            yield Held("webhook_failing", "", f"alerts are not delivered: {error}")

    def _stalls(self, status: Status, monotonic: float, *, unreached: bool) -> Iterator[Held]:
        """A height that stands still where this node is the one to sign, or nobody is; or where
        this node told of it, and the next leader does not reach a validator either."""
        bound_s, elsewhere = self.bounds.stall_s, status["situation"]["leads"] == "elsewhere"
        for chain in status.get("chains", []):
            name, last = chain["chain_id"], chain["last_sign_state"]
            height = last.get("height", 0) if last is not None else 0
            known = self._heights.get(name)
            if known is None or known.height != height:
                known = self._heights[name] = _Heights(height, monotonic)
            stands_s = monotonic - known.at
            mine = not elsewhere or (unreached and self._is_raised("height_stalled", name))
            if height and bound_s and mine and stands_s >= bound_s:
                connected = sum(link.get("state") == LinkState.CONNECTED for link in chain["validators"])
                who = f"{connected} of {len(chain['validators'])} validators connected"
                if elsewhere:
                    who = f"{status.get('leader_id')} leads, and has not said that it reaches a validator"
                yield Held(
                    "height_stalled", name, f"{name}: no new height since {height}, for {duration(stands_s)}; {who}"
                )

    def _leader_reaches(self, status: Status, monotonic: float) -> bool:
        """Whether another node leads and says that it reaches a validator, and has led for long
        enough to have found out: what it says at first may be of an earlier lead.
        """
        leader = status.get("leader_id", "")
        if leader != self._leader:
            self._leader, self._leader_at = leader, monotonic
        return _says_it_reaches(status) and monotonic - self._leader_at >= _REACH_TOLD_S

    def _is_raised(self, name: str, subject: str) -> bool:
        episode = self._episodes.get((name, subject))
        return episode is not None and episode.raised

    def _validators(self, status: Status, *, unreached: bool) -> Iterator[Held]:
        """Validators that the leader does not reach; agents, which keep a link to every node, that
        are not connected to this one."""
        leads = status["situation"]["leads"] == "here"
        for chain in status.get("chains", []):
            known = self._heights.get(chain["chain_id"])
            stands = unreached and (known is None or known.at <= self._led_at)
            for link in chain["validators"]:
                address = str(link.get("addr"))
                if link.get("state") == LinkState.CONNECTED:
                    continue
                error = f": {link['last_error']}" if link.get("last_error") else ""
                if address.startswith(AGENT_PREFIX):
                    name = address.removeprefix(AGENT_PREFIX)
                    yield Held("agent_away", name, f"{chain['chain_id']}: the agent {name} is not connected{error}")
                elif leads or (stands and self._is_raised("validator_away", address)):
                    yield Held(
                        "validator_away",
                        address,
                        f"{chain['chain_id']}: the validator {address} is not connected{error}",
                        cure_of_validator(error, address),
                    )

    def _conflicts(self, status: Status, wall: float) -> Iterator[Held]:
        """A refusal is a moment: it holds once, and the rule keeps its episode open."""
        for chain in status.get("chains", []):
            name = chain["chain_id"]
            if last := self._news(chain, "conflict_refused", _CONFLICTS, wall):
                yield Held("conflict_refused", name, _both_sides(name, last))
            if last := self._news(chain, "vote_as_bytes", _VOTES_AS_BYTES, wall):
                words = f"{name}: {last['validator']} asked for a signature over mere bytes that are, or read as, what is signed of a vote"
                yield Held("vote_as_bytes", name, words)

    def _news(self, chain: ChainStatus, alert: str, reasons: frozenset[str], wall: float) -> RefusalReport | None:
        """The newest refusal for one of the reasons, where it has not been told under that
        alert. They stand in the order in which they came: the clock may have been set back."""
        key = (alert, chain["chain_id"])
        those = [one for one in chain["refusals"] if one["reason"] in reasons]
        if not those or those[-1] == self._refused.get(key):
            return None
        told_before, self._refused[key] = key in self._refused, those[-1]
        return those[-1] if told_before or those[-1]["at"] > wall - _CONFLICT_LASTS_S else None

    def _restarting(self, status: Status) -> Iterator[Held]:
        for child in status.get("children", []):
            name, restarts = child["name"], child["restarts"]
            before = self._restarts.get(name, restarts)
            self._restarts[name] = restarts
            if restarts > before or (restarts and child["state"] != ChildState.RUNNING):
                times = "once" if restarts == 1 else f"{restarts} times"
                why = child["last_exit"] or "no reason is known"
                yield Held("child_restarting", name, f"the process {name} has restarted {times}: {why}")

    def _slow(self, status: Status, monotonic: float) -> Iterator[Held]:
        latency = together(read(chain["latency_hist"]) for chain in status.get("chains", []))
        sync = read(status.get("sync_hist", {}))
        for name, ring, now, set_s, what in (
            ("latency_high", self._latencies, latency, self.bounds.latency_s, "signatures"),
            ("disk_slow", self._syncs, sync, self.bounds.disk_s, "syncs of the promise store"),
        ):
            minute = _window(ring, now, monotonic)
            p99 = minute.quantile_us(0.99)
            bound_s = _disk_bound(ring[0][1]) if set_s is None else set_s
            if not bound_s or p99 is None or minute.total < _SAMPLES_MIN or minute.above(bound_s * 1e6) < _SLOW_MIN:
                continue
            if p99 > bound_s * 1e6:
                yield Held(
                    name,
                    "",
                    f"{what}: 99 % within {duration(p99 / 1e6)} over the last minute, the bound is {duration(bound_s)}",
                )


def _clear_s(name: str, subject: str, status: Status) -> float:
    """How long the condition must be gone. Of a validator that was refused and is away, so long
    that one which restarts because of it is one episode.
    """
    if name not in ("requests_refused", "height_jump"):
        return RULES[name].clear_s
    there = any(
        link.get("state") == LinkState.CONNECTED
        and subject in (chain["chain_id"], f"{chain['chain_id']} {link.get('addr')}")
        for chain in status.get("chains", [])
        for link in chain["validators"]
    )
    return RULES[name].clear_s if there else SIGNED_LATELY_S


def _disk_bound(before: Counted) -> float:
    """Seconds: from what the disk has shown before the last minute."""
    p99_us = before.quantile_us(0.99)
    if p99_us is None or before.total < _DISK_SYNCS_MIN:
        return _DISK_UNKNOWN_S
    return min(_DISK_MAX_S, max(_DISK_MIN_S, _DISK_FACTOR * p99_us / 1e6))


def _window(ring: deque[tuple[float, Counted]], now: Counted, monotonic: float) -> Counted:
    """What was counted within the last minute."""
    ring.append((monotonic, now))
    while len(ring) > 2 and ring[1][0] <= monotonic - _WINDOW_S:
        ring.popleft()
    return since(now, ring[0][1])


def _sealed(status: Status) -> Iterator[Held]:
    """A node that promises nothing more in its epoch: who is away in that is no matter of its
    own."""
    if absence := status["situation"]["absence"]:
        cure = "go on with the change of members: on each of {}, stopped, the same `cmkms member` command with the seals of a majority; then start them"
        yield Held("no_leader", "", absence, cure.format(", ".join(status.get("next", [])) or "the next members"))


def _leadership(status: Status) -> Iterator[Held]:
    members = status.get("members", [])
    if absence := status["situation"]["absence"]:
        yield Held("no_leader", "", absence, _cure_of_absence(members, status["node"]["id"]))
    if len(members) <= 1:
        return
    quorum = quorum_of(len(members))
    there = [one for one in members if one.get("connected")]
    complete = sum(one.get("state") == MemberState.COMPLETE for one in there)
    if complete <= quorum < len(members):
        missing = [one for one in members if not one.get("connected") or one.get("state") != MemberState.COMPLETE]
        loss = "one more loss stops signing" if complete == quorum else "nothing can be signed"
        are = "is" if len(there) == 1 else "are"
        of_them = f", {complete} of them complete" if complete < len(there) else ""
        yield Held(
            "quorum_minimum",
            "",
            f"{len(there)} of {len(members)} nodes {are} there{of_them}, {quorum} are needed: {loss} ({', '.join(map(_lacks, missing))})",
            cure_of_lost(members) or _cure_of_lack(missing),
        )


def _lacks(member: Mapping[str, object]) -> str:
    """What a member that does not count is."""
    who = f"{member['id']}, this node," if member.get("self") else str(member["id"])
    return f"{who} is {member.get('state') or 'not known yet' if member.get('connected') else 'away'}"


def _cure_of_lack(missing: Sequence[Mapping[str, object]]) -> str:
    """Return what to do about members that do not count; "" where one is to be started."""
    if not all(one.get("connected") for one in missing):
        return ""
    if any(one.get("state") == MemberState.SEALED for one in missing):
        return "go on with the change of members that was begun: the same `cmkms member` command on every machine says what comes next"
    return "nothing, if all nodes are up: who starts or recovers comes back by itself; `cmkms peers` shows whom it waits for; stop none meanwhile"


def _strict_waits(status: Status) -> Iterator[Held]:
    if (wait := status.get("strict_wait")) is not None:
        lost, starting = ", ".join(wait["lost"]), " and ".join(wait["starting"])
        words = f"{lost} lost its promises and waits for {starting}, and strict_start keeps {starting} waiting for {lost}: neither goes on"
        yield Held("strict_wait", starting, words)


def _cure_of_absence(members: Sequence[Mapping[str, object]], me: str) -> str:
    """Return the cure of the first member that is away for a reason with a cure of its own, and
    what to do then: a majority is not enough for a first start."""
    born = any(one.get("self") and one.get("state") in (MemberState.EMPTY, MemberState.BORN) for one in members)
    general = cure_of_lost(members) or (_CURE_OF_FIRST_START if born else RULES["no_leader"].cure)
    for member in members:
        code = _code(member)
        if not member.get("connected") and code in OF_PEERS and code not in _STARTED:
            return f"{cure_of_peer(code, str(member.get('id')), me)}; then {general}"
    return general


def _refused(status: Status) -> Iterator[Held]:
    """A validator whose requests all fail, though it is connected and everything runs."""
    chains = status["situation"]["chains"]
    for one in status["situation"]["failing"]:
        nothing = chains.get(one["chain_id"]) in ("refused", "unanswered")
        words = f"{one['chain_id']}: {one['words']}{'; nothing is signed' if nothing else ''}"
        cure = OF_REFUSALS.get(one["reason"], "").replace("{chain}", one["chain_id"])
        yield Held("requests_refused", f"{one['chain_id']} {one['validator']}", words, cure)
    yield from _jumps(status)


def _jumps(status: Status) -> Iterator[Held]:
    """A chain on which heights are asked for that it cannot have come to by now (rule 13)."""
    jumping = {one["chain_id"]: one for one in status["situation"]["failing"] if one["reason"] == _JUMP}
    for chain in status.get("chains", []):
        asked = [one for one in chain["refusals"] if one["reason"] == _JUMP]
        if chain["chain_id"] not in jumping or not asked:
            continue
        name, height = chain["chain_id"], asked[-1]["asked"].partition("/")[0]
        yield Held(
            "height_jump",
            name,
            f"{name}: {jumping[name]['why']} (asked by {jumping[name]['validator']})",
            OF_REFUSALS[_JUMP].replace("{chain}", name).replace("HEIGHT", height),
        )


def _code(member: Mapping[str, object]) -> PeerCode:
    return next((one for one in PeerCode if one.value == member.get("error_code")), PeerCode.OTHER)


def _members(status: Status) -> Iterator[Held]:
    lost = cure_of_lost(status.get("members", []))
    for member in status.get("members", []):
        name, error, code = str(member.get("id", "")), str(member.get("error") or ""), _code(member)
        if member.get("self"):
            continue
        if code is PeerCode.DUPLICATE:
            yield _duplicate(status, member, error)
        if not member.get("connected"):
            cure = cure_of_peer(code, name, status["node"]["id"])
            yield Held("peer_away", name, f"{name} is not connected{f': {error}' if error else ''}", cure)
            if code in CONFIGURED:
                yield Held("config_differs", name, f"{name} refuses, or is refused: {error}", cure)
        elif (rtt_us := member.get("rtt_us")) is not None and float(str(rtt_us)) > PEER_FAR_S * 1e6:
            far = f"the round trip to {name} takes {duration(float(str(rtt_us)) / 1e6)}; more than {duration(PEER_FAR_S)} is too far to elect a leader in time"
            yield Held("peer_far", name, far)
        if member.get("connected") and member.get("state") == MemberState.RECOVERING:
            yield Held(
                "peer_recovering",
                name,
                f"{name} lost its promise store and reads it from the others; until then it does not count",
                lost,
            )
    for one in status.get("config_differences", []):
        if one["what"] != "version":  # an upgrade under way is no mistake
            words = f"{one['member']} is configured differently: {one['what']} is {one['there']} there and {one['here']} here"
            yield Held("config_differs", f"{one['member']} {one['what']}", words)


def _duplicate(status: Status, member: Mapping[str, object], error: str) -> Held:
    """A second process with one id was seen: another member's, or, where this node is not let in,
    this node's own."""
    name, me = str(member.get("id", "")), status["node"]["id"]
    if member.get("connected"):
        return Held("duplicate_id", name, f"a second node calls itself {name} and was turned away: {error}")
    return Held("duplicate_id", me, f"another node with the id of this one, {me}, is there already: {error}")


def _says_it_reaches(status: Status) -> bool:
    """Whether another node leads, and says that it reaches a validator."""
    leader = status.get("leader_id")
    facts: dict[str, str] = next(
        (one.get("facts", {}) for one in status.get("members", []) if one.get("id") == leader), {}
    )
    return status["situation"]["leads"] == "elsewhere" and facts.get(REACH_FACT) == Reach.YES


def _both_sides(chain: str, refusal: RefusalReport) -> str:
    asked = f"asked for {refusal['asked']} block {_block(refusal['asked_block'])}"
    held = "what is not known (burnt)" if refusal.get("burnt") else f"block {_block(refusal['signed_block'])}"
    signed = f"signed is {refusal['signed']} {held}"
    return f"{chain}: refused {refusal['validator']} ({refusal['reason'].replace('_', ' ')}): {asked}; {signed}"


def _block(text: str) -> str:
    return text[:16].upper() or "nil"


def _document(episode: _Episode) -> AlertReport:
    held = episode.held
    cure = held.cure or RULES[held.name].cure.replace("{subject}", held.subject)
    return AlertReport(name=held.name, subject=held.subject, since=episode.since_wall, what=held.what, cure=cure)
