"""Orders between members: who may give one, who obeys, how often, and that every one is in the log."""

from typing import Any

import pytest

from cometkms.errors import ProtocolError
from cometkms.limits import DRILL_ORDER_EVERY_S, DRILL_UPTIME_S, DRILL_WORDS_MAX_BYTES
from cometkms.rules.birth import NodeState
from cometkms.state.drills import DrillPorts, Drills, News
from cometkms.wire.peer_messages import Action, Obeyed, Order, decode, encode
from tests.unit.state.doubles import Log
from tests.unit.state.three import Three


class Leader:
    """A leader of whom everything can be said."""

    def __init__(self, **said: Any) -> None:
        self.now = 100.0
        self.sent: list[tuple[str, Order | Obeyed]] = []
        self.did: list[Any] = []
        self.connected = True
        self.log = Log()
        told: dict[str, Any] = {"leads": "", "missing": (), "hand_over": "", "restart": "", "trouble": "", **said}

        def hand_over(to: str | None) -> str:
            self.did.append(to)
            return str(told["hand_over"])

        def restart() -> str:
            self.did.append("restart")
            return str(told["restart"])

        ports = DrillPorts(
            others=("b", "c"), send=self.send, leads=lambda: told["leads"], missing=lambda: told["missing"],
            hand_over=hand_over, restart=restart, trouble=lambda: told["trouble"],
        )  # fmt: skip
        self.heard: list[tuple[str, News]] = []
        self.drills = Drills(nonce=7, ports=ports, clock=lambda: self.now, log=self.log, heard=self.hear)
        self.now += DRILL_UPTIME_S

    def hear(self, member: str, news: News) -> None:
        self.heard.append((member, news))

    def send(self, member: str, message: Order | Obeyed) -> bool:
        assert decode(encode(message)) == message
        self.sent.append((member, message))
        return self.connected

    def order(self, action: Action, to: str = "") -> str:
        self.drills.on_order("b", Order(3, 5, action, to))
        member, answer = self.sent.pop()
        assert isinstance(answer, Obeyed)
        assert (member, answer.nonce, answer.request_id) == ("b", 3, 5)
        return answer.why


@pytest.mark.parametrize(
    ("action", "to", "did"),
    [
        (Action.CHECK, "", []),
        (Action.TRANSFER, "", [None]),
        (Action.TRANSFER, "c", ["c"]),
        (Action.RESTART, "", ["restart"]),
    ],
)
def test_a_leader_obeys_and_says_so_in_its_log(action: Action, to: str, did: list[Any]) -> None:
    leader = Leader()
    assert leader.order(action, to) == ""
    assert leader.did == did
    assert "order" in leader.log.lines[-1]
    assert "'by': 'b'" in leader.log.lines[-1]
    assert "'obeyed': True" in leader.log.lines[-1]


@pytest.mark.parametrize(
    ("action", "to", "said", "why"),
    [
        (Action.CHECK, "", {"leads": "a does not lead"}, "a does not lead"),
        (Action.RESTART, "", {"leads": "recovering"}, "recovering"),
        (Action.CHECK, "", {"trouble": "tcp://v is waiting"}, "tcp://v is waiting"),
        (Action.TRANSFER, "x", {}, "'x' is not another member; the others are: b, c"),
        (Action.TRANSFER, "c", {"hand_over": "c is starting"}, "c cannot take over now: c is starting"),
        (Action.TRANSFER, "", {"hand_over": "a does not lead"}, "nobody can take over now: a does not lead"),
        (Action.RESTART, "", {"missing": ("c",)}, "not everybody is there and complete: c"),
        (Action.RESTART, "", {"restart": "the supervisor cannot be told"}, "the supervisor cannot be told"),
    ],
)
def test_a_refusal_says_why_to_both_and_is_logged(action: Action, to: str, said: dict[str, Any], why: str) -> None:
    leader = Leader(**said)
    assert leader.order(action, to).startswith(why)
    assert "'obeyed': False" in leader.log.lines[-1]
    assert "restart" not in leader.did or said.get("restart")


@pytest.mark.parametrize(
    ("action", "to", "news"),
    [(Action.CHECK, "", News.DRILL), (Action.TRANSFER, "c", News.ORDERED), (Action.RESTART, "", News.DRILL)],
)
def test_what_was_obeyed_is_told_to_every_member(action: Action, to: str, news: News) -> None:
    """So that the others know why the lead moves, and that a drill is held."""
    leader = Leader()
    assert leader.order(action, to) == ""
    assert leader.heard == [("", news)]
    assert [member for member, _ in leader.sent] == ["b", "c"]
    follower = Leader()
    for _, told in leader.sent:
        assert isinstance(told, Obeyed)
        follower.drills.on_obeyed("a", told)
    assert follower.heard == [("a", news), ("a", news)]


def test_what_was_refused_and_what_is_not_known_is_no_news() -> None:
    leader = Leader(leads="b leads")
    assert leader.order(Action.CHECK) == "b leads"
    leader.drills.on_obeyed("a", Obeyed(7, 0, "something else"))
    assert (leader.heard, leader.sent) == ([], [])


def test_one_order_is_obeyed_at_a_time_and_checks_are_free() -> None:
    leader = Leader()
    assert leader.order(Action.TRANSFER) == ""
    assert leader.order(Action.RESTART) == "an order of b was obeyed less than 1 s ago, of another drill or by hand"
    assert leader.order(Action.CHECK) == ""
    leader.now += DRILL_ORDER_EVERY_S
    assert leader.order(Action.RESTART) == ""


def test_a_process_that_has_only_begun_is_not_restarted() -> None:
    leader = Leader()
    leader.now -= 1.0
    assert "it runs for" in leader.order(Action.RESTART)
    assert leader.did == []


def test_a_long_why_is_cut_to_what_a_message_may_hold() -> None:
    leader = Leader(trouble="\u00fc" * DRILL_WORDS_MAX_BYTES)
    assert len(leader.order(Action.CHECK).encode()) == DRILL_WORDS_MAX_BYTES


def test_an_answer_counts_once_from_the_member_asked_to_the_process_that_asked() -> None:
    asking = Leader()
    heard: list[str] = []
    assert asking.drills.ask("b", Action.CHECK, "", heard.append)
    _, order = asking.sent[-1]
    assert isinstance(order, Order)
    asking.drills.on_obeyed("c", Obeyed(order.nonce, order.request_id, "from another"))
    asking.drills.on_obeyed("b", Obeyed(order.nonce + 1, order.request_id, "to a predecessor"))
    asking.drills.on_obeyed("b", Obeyed(order.nonce, order.request_id + 1, "to another order"))
    assert heard == []
    for _ in range(2):
        asking.drills.on_obeyed("b", Obeyed(order.nonce, order.request_id, "no"))
    assert heard == ["no"]


def test_orders_that_nobody_answers_are_forgotten() -> None:
    asking = Leader()
    heard: list[str] = []
    for number in range(40):
        asking.drills.ask("b", Action.CHECK, "", lambda why, number=number: heard.append(f"{number} {why}"))
    for _, order in asking.sent:
        asking.drills.on_obeyed("b", Obeyed(order.nonce, order.request_id, ""))
    assert heard == [f"{number} " for number in range(24, 40)]


def test_an_order_to_a_member_that_is_away_is_not_waited_for() -> None:
    asking = Leader()
    asking.connected = False
    assert not asking.drills.ask("b", Action.CHECK, "", lambda why: None)


def test_a_follower_gives_the_leader_an_order_over_the_channel(three: Three) -> None:
    for name in "abc":
        three.add(name)
    three.meet_all()
    a, b = three.nodes["a"], three.nodes["b"]
    a.lead()
    three.wait(DRILL_UPTIME_S)
    a.trouble = "a validator is away"
    answers: list[str] = []

    def ask(action: Action) -> str:
        assert b.node.handover.drills.ask("a", action, "", answers.append)
        three.pump()
        return answers[-1]

    assert ask(Action.CHECK) == "a validator is away"
    assert (ask(Action.RESTART), a.restarts) == ("", 1)
    three.nodes["c"].node.handover.drills.ask("b", Action.TRANSFER, "", answers.append)
    three.pump()
    assert answers[-1] == "nobody can take over now: b does not lead"


def test_a_leader_that_misses_somebody_does_not_restart(three: Three) -> None:
    for name in "abc":
        three.add(name)
    three.meet_all()
    a = three.nodes["a"]
    a.lead()
    three.wait(DRILL_UPTIME_S)
    a.node.on_disconnected("c", closed=True)
    assert a.node.handover.drills.obey("b", Action.RESTART, "") == "not everybody is there and complete: c"
    assert a.restarts == 0


def test_a_leader_among_members_that_recover_does_not_restart(three: Three) -> None:
    three.add("a")
    three.add("b")
    three.add("c", NodeState.RECOVERING)
    a = three.nodes["a"]
    three.meet("a", "b")
    three.wait(2.0)
    a.lead()
    assert "c" in a.node.handover.drills.obey("b", Action.RESTART, "")


def test_a_second_hello_ends_the_connection(three: Three) -> None:
    a, b = three.add("a"), three.add("b")
    three.meet("a", "b")
    with pytest.raises(ProtocolError, match="out of order"):
        a.node.on_frame("b", b.node.hello("a"))
