"""One node among its members, without sockets or clocks: who may promise, what is refused, and why."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
from nacl.signing import SigningKey

from cometkms import __version__
from cometkms.core import choose
from cometkms.errors import BehindError, ProtocolError, StateError
from cometkms.limits import CHAINS_MAX, DRILL_ORDER_EVERY_S, READ_AGAIN_S, SIGN_STATE_LOOK_S, START_READ_S, TICK_S
from cometkms.model import HRS, BlockID, Dialect, Kind, Message, Permit, Reason, Row, Timestamp, Vote, Watermark
from cometkms.rules.birth import Life, NodeState, Record
from cometkms.rules.epoch import Standing
from cometkms.rules.incarnation import FIRST
from cometkms.state import node as node_module
from cometkms.state.node import ClusterNode, Epoch, row_key
from cometkms.store.promise_store import Header, PromiseStore
from cometkms.wire.identity import Identity as NodeIdentity
from cometkms.wire.peer_messages import (
    Action,
    FactsNews,
    LifeNews,
    Marks,
    PeerMessage,
    Promise,
    Promised,
    RowMark,
    decode,
    encode,
    make_facts,
)
from cometkms.wire.peer_messages import Raft as RaftMessage
from cometkms.wire.queue_messages import PermitGranted, Reserve, ReserveRefused, Signed, SignerHello

CORE = choose.load()
KEY = SigningKey(b"a key of the cluster's own, ouch")
ROW = Row(bytes(KEY.verify_key), "chain")
NAMES = ("a", "b", "c")
IDENTITIES = {name: NodeIdentity(SigningKey(name.encode().ljust(32, b"s"))) for name in NAMES}
KEYS = {name: identity.public_key for name, identity in IDENTITIES.items()}
NONCE = b"n" * 8
RECORD = (b"1" * 8, b"2" * 8, b"3" * 8)


def sign_bytes(height: int, block: bytes = b"a", chain: str = "chain") -> bytes:
    vote = Vote(1, height, 0, BlockID(block * 32, 1, b"p" * 32), Timestamp(1_700_000_000, 0))
    return CORE.check_request(Dialect.PROTO, chain, Message(Kind.SIGN_VOTE_REQUEST, chain, vote=vote)).sign_bytes


def signed(height: int, block: bytes = b"a") -> Watermark:
    data = sign_bytes(height, block)
    return Watermark(CORE.parse_sign_bytes(data).hrs, data, bytes(KEY.sign(data).signature))


class Raft:
    """Leads when told to."""

    def __init__(self) -> None:
        self.leading, self.leader, self.term = False, None, 1
        self.lease_left_s, self.hears_leader = 1.0, True
        self.submitted: list[Watermark] = []
        self.held = True
        self.transfers: list[tuple[str, ...]] = []

    handing_over = False

    def transfer(self, able: tuple[str, ...]) -> None:
        self.transfers.append(able)

    def submit(self, key: bytes, mark: Watermark) -> bool:
        self.submitted.append(mark)
        return self.leading

    def hold(self, on: bool) -> None:
        self.held = on

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_a, **_k: None


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def _say(self, event: str, **fields: object) -> None:
        self.lines.append(f"{event} {fields}")

    info = warning = error = _say


class One:
    """A node, its outside, and the messages it sent."""

    def __init__(
        self, world: "Three", name: str, state: NodeState, mark: Watermark | None = None, **options: Any
    ) -> None:
        self.world, self.name = world, name
        record = RECORD if state in (NodeState.BORN, NodeState.COMPLETE) else ()
        nonce = NONCE if state is not NodeState.EMPTY else name.encode() * 8
        header = Header(name, 1, NAMES, state, nonce, record, unclaimed=options.pop("unclaimed", False))
        rows = options.pop("rows", (ROW,))
        path = world.directory / f"{name}{len(list(world.directory.iterdir()))}"
        self.store = options.pop("store", None) or PromiseStore.create(
            path, header, [(row, mark or Watermark()) for row in rows], opened=options.pop("opened", True)
        )
        self.sent: list[tuple[str, bytes]] = []
        self.cut: list[tuple[str, str]] = []
        self.to: list[Any] = []
        self.events: list[tuple[str, dict[str, object]]] = []
        self.raft, self.log = Raft(), Log()
        self.born = self.restarts = self.beats = 0
        self.signer_moves = True
        self.silent = False
        self.sealed_for: tuple[str, ...] = ()
        self.cannot_restart = self.trouble = ""
        digest = options.pop("digest", b"d" * 32)
        self.node = ClusterNode(
            epoch=Epoch(name, options.pop("epoch", 1), NAMES, digest, KEYS, IDENTITIES[name].sign), store=self.store,
            rows=tuple(range(len(rows))), signed=options.pop("signed", (Watermark(),) * len(rows)), raft=lambda _node: self.raft, core=CORE,
            nonce=random.getrandbits(60) + 1, ttl_s=0.4, strict=options.pop("strict", False), outside=self,
            facts=make_facts(options.pop("facts", {})),
            clock=lambda: world.now, wall_clock=lambda: world.wall, signed_at=options.pop("signed_at", ()), log=self.log,
        )  # fmt: skip

    def send(self, member: str, payload: bytes) -> bool:
        if not self.silent:
            self.sent.append((member, payload))
        return True

    def disconnect(self, member: str, why: str) -> None:
        self.cut.append((member, why))
        self.world.part(self.name, member)

    def to_signer(self, message: Any) -> None:
        self.to.append(message)

    def on_signed(self, row: int, mark: Watermark) -> None: ...
    def mark_raised(self, row: int) -> None: ...

    def restart(self) -> str:
        self.restarts += 1
        return self.cannot_restart

    def signer_beat(self) -> int:
        self.beats += self.signer_moves
        return self.beats

    def validator_reached(self) -> bool | None:
        return None

    def replace_signer(self) -> None: ...

    def signer_trouble(self) -> str:
        return self.trouble

    def happened(self, what: str, **fields: object) -> None:
        self.events.append((what, fields))

    def on_sealed(self, following: tuple[str, ...]) -> None:
        self.sealed_for = following

    def before_birth(self) -> None:
        self.born += 1

    def lead(self) -> None:
        self.raft.leading, self.raft.leader = True, self.name
        self.node.on_signer(SignerHello(7))
        self.node.on_role(leading=True, leader=self.name, term=2)
        self.world.pump()
        assert self.node.leading, self.node.membership.why

    def reserve(self, data: bytes, number: int = 1, *, urgent: bool = False) -> Any:
        self.node.on_signer(Reserve(7, number, 0, CORE.parse_sign_bytes(data).hrs, data, urgent))
        self.world.pump()
        answers = [
            one for one in self.to if isinstance(one, PermitGranted | ReserveRefused) and one.request_id == number
        ]
        return answers[-1] if answers else None


class Three:
    def __init__(self, directory: Path) -> None:
        self.directory, self.now, self.wall = directory, 50.0, 1_700_000_000.0
        self.nodes: dict[str, One] = {}

    def add(
        self, name: str, state: NodeState = NodeState.COMPLETE, mark: Watermark | None = None, **options: Any
    ) -> One:
        self.nodes[name] = One(self, name, state, mark, **options)
        return self.nodes[name]

    def meet(self, one: str, other: str) -> str | None:
        a, b = self.nodes[one].node, self.nodes[other].node
        for me, it, name in ((a, b, other), (b, a, one)):
            reason = me.on_hello(name, it.hello(me.epoch.me), "address")
            if reason is not None:
                return reason
        a.on_connected(other)
        b.on_connected(one)
        self.pump()
        return None

    def meet_all(self) -> "Three":
        for one, other in (("a", "b"), ("a", "c"), ("b", "c")):
            assert self.meet(one, other) is None
        return self

    def part(self, one: str, other: str) -> None:
        """The connection between them is closed, and what is under way in it is lost."""
        for me, it in ((one, other), (other, one)):
            if me in self.nodes:
                self.nodes[me].sent = [sent for sent in self.nodes[me].sent if sent[0] != it]
                self.nodes[me].node.on_disconnected(it, closed=True)

    def pump(self) -> None:
        while any(one.sent for one in self.nodes.values()):
            for name, one in self.nodes.items():
                waiting, one.sent = one.sent, []
                for member, payload in waiting:
                    if member in self.nodes:
                        self.nodes[member].node.on_frame(name, payload)

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.05
            for one in self.nodes.values():
                one.node.tick()
            self.pump()

    def ready(self) -> list[str]:
        return [name for name, one in self.nodes.items() if one.node.membership.ready]


@pytest.fixture
def three(tmp_path: Path) -> Three:
    return Three(tmp_path)


def test_three_empty_nodes_are_born_once_all_were_seen(three: Three) -> None:
    for name in NAMES:
        three.add(name, NodeState.EMPTY)
    three.meet("a", "b")
    three.wait(2.0)
    assert three.ready() == []
    assert "missing: c" in three.nodes["a"].node.membership.why
    three.meet("a", "c")
    three.meet("b", "c")
    assert three.ready() == list(NAMES)
    assert {one.store.header.state for one in three.nodes.values()} == {NodeState.COMPLETE}
    assert len({one.store.header.record for one in three.nodes.values()}) == 1
    assert all(one.born for one in three.nodes.values())


def test_born_marks_are_the_highest_of_all_state_files(three: Three) -> None:
    three.add("a", NodeState.EMPTY, signed(9))
    three.add("b", NodeState.EMPTY)
    three.add("c", NodeState.EMPTY, Watermark(HRS(4, 0, 1)))
    three.meet_all()
    assert {one.store.mark(0).hrs.height for one in three.nodes.values()} == {9}
    assert three.nodes["b"].store.mark(0).sign_bytes == sign_bytes(9), "kept, because its signature was shown"


def test_an_empty_node_among_complete_ones_is_one_that_lost_its_store(three: Three) -> None:
    three.add("a", NodeState.COMPLETE, Watermark(HRS(7, 0, 2), sign_bytes(7)))
    three.add("b", NodeState.COMPLETE)
    three.add("c", NodeState.EMPTY)
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    three.meet("a", "c")
    three.wait(2.0)
    assert three.nodes["c"].store.header.state is NodeState.EMPTY, "one member's word makes no node lose what it was"
    assert "a was born without this node" in three.nodes["c"].node.membership.why
    assert "b (not connected)" in three.nodes["c"].node.membership.why
    three.meet("b", "c")
    three.wait(1.0)
    assert "c" in three.ready()
    assert three.nodes["c"].store.header.incarnation.number == 1, "it recovered: it was not born again"
    mark = three.nodes["c"].store.mark(0)
    assert (mark.hrs, mark.sign_bytes) == (HRS(7, 0, 2), b""), "burnt: nobody showed a signature"


def test_a_recovering_node_promises_nothing_and_answers_no_read(three: Three) -> None:
    a, c = three.add("a"), three.add("c", NodeState.RECOVERING)
    three.meet("a", "c")
    three.wait(2 * START_READ_S)
    a.lead()
    assert a.reserve(sign_bytes(1)) is None, "one promise is no majority of three"
    assert c.store.mark(0) == Watermark()


def marks_said(to: One, by: str, *, record: Record = (), marks: tuple[RowMark, ...] = ()) -> None:
    """A member answers the read that is under way with whatever it likes."""
    reading = to.node.membership._reading
    assert reading is not None
    life = Life(NodeState.COMPLETE, b"", record)
    it = to.world.nodes[by].node.membership
    said = Marks(to.node.nonce, reading.request_id, True, life, marks, 1, 0, 0, 0, it.own(), it.known())
    to.node.on_frame(by, encode(said))


@pytest.mark.parametrize("lie", ["a record", "a mark"])
def test_what_a_liar_told_a_recovering_node_goes_when_he_does(three: Three, lie: str) -> None:
    """It is asked for again, without a restart; the honest node that has the member's place then is believed."""
    a = three.add("a", mark=signed(10), signed=(signed(10),))
    b = three.add("b", mark=signed(10), signed=(signed(10),))
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    c = three.add("c", NodeState.RECOVERING, signed=(signed(10),), unclaimed=True)
    three.meet("b", "c")
    b.silent = True  # the liar has its place
    three.meet("a", "c")
    false = tuple((name, b"false567") for name in NAMES)
    far = (RowMark(ROW, Watermark(HRS(1 << 40, 0, 3)), True),)
    marks_said(c, "b", record=false if lie == "a record" else (), marks=far if lie == "a mark" else ())
    three.wait(3 * READ_AGAIN_S)
    assert not c.node.membership.ready
    assert ("different birth records" if lie == "a record" else "absurdly far above") in c.node.membership.why
    b.silent = False
    three.wait(3 * READ_AGAIN_S)
    assert c.node.membership.ready, c.node.membership.why
    assert c.store.mark(0).hrs == a.store.mark(0).hrs
    assert c.store.header.record == a.store.header.record


def test_a_read_keeps_nothing_of_rows_that_it_does_not_know_nor_of_records_that_were_shown_before(three: Three) -> None:
    """It may last for as long as a member is away, and another one answers it again and again."""
    a = three.add("a", strict=True)
    three.add("b")
    three.meet("a", "b")
    for number in range(50):
        row = Row(ROW.public_key, f"chain-{number}")
        record = tuple((name, number.to_bytes(8, "big")) for name in NAMES)
        marks_said(a, "b", record=record, marks=(RowMark(row, Watermark(HRS(5, 0, 1)), True),))
    reading = a.node.membership._reading
    assert reading is not None
    assert reading.best["b"].keys() <= {ROW}
    assert len(reading.records) == 1


@pytest.mark.parametrize("height", [500, 1 << 40])
@pytest.mark.parametrize("said", ["shown", "a refusal"])
def test_where_a_liar_stood_is_forgotten_with_his_connection(three: Three, said: str, height: int) -> None:
    """The honest node that has the member's place again is asked, and with it a majority is there: the third one is away."""
    for name in NAMES:
        three.add(name, mark=signed(10), signed=(signed(10),))
    three.meet_all().wait(2 * START_READ_S)
    a, b = three.nodes["a"], three.nodes["b"]
    a.lead()
    far = Watermark(HRS(height, 0, 3))
    if said == "shown":
        life = b.node.membership.news()
        a.node.on_frame("b", encode(replace(life, marks=(RowMark(ROW, far, True),))))
    else:
        a.node.on_frame("b", encode(Promised(a.node.nonce, CHAINS_MAX, Reason.HEIGHT_REGRESSION, far, 0, FIRST)))
    three.part("a", "c")
    three.part("b", "c")
    assert a.reserve(sign_bytes(11), 1) is None, "nobody is there to ask but the liar, who stands too high"
    three.part("a", "b")  # the liar is gone
    three.meet("a", "b")
    granted = [one for one in a.to if isinstance(one, PermitGranted) and one.request_id == 1]
    assert granted, "what waited goes on"
    assert isinstance(a.reserve(sign_bytes(12), 2), PermitGranted)


def test_a_majority_of_promises_is_a_permit_and_a_minority_is_none(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet_all().wait(1.0)
    a = three.nodes["a"]
    a.lead()
    answer = a.reserve(sign_bytes(1))
    assert isinstance(answer, PermitGranted)
    assert answer.permit.sign_bytes == sign_bytes(1)
    assert {one.store.mark(0).sign_bytes for one in three.nodes.values()} == {sign_bytes(1)}
    for name in ("b", "c"):
        a.node.on_disconnected(name, closed=True)
    assert a.reserve(sign_bytes(2), 2) is None
    assert three.meet("a", "b") is None
    assert isinstance([one for one in a.to if getattr(one, "request_id", 0) == 2][-1], PermitGranted)


def test_a_start_read_raises_the_mark_to_what_others_hold(three: Three) -> None:
    three.add("a", NodeState.COMPLETE, Watermark(HRS(5, 0, 2), sign_bytes(5)))
    three.add("b", NodeState.COMPLETE, Watermark(HRS(8, 0, 2), sign_bytes(8)))
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    assert three.nodes["a"].store.mark(0) == Watermark(HRS(8, 0, 2))
    assert three.nodes["b"].store.mark(0) == Watermark(HRS(8, 0, 2), sign_bytes(8)), "own bytes stay own"


def test_strict_start_waits_for_every_member(three: Three) -> None:
    three.add("a", strict=True)
    three.add("b")
    three.add("c")
    three.meet("a", "b")
    three.wait(3 * START_READ_S)
    assert "a" not in three.ready()
    three.meet("a", "c")
    three.wait(1.0)
    assert "a" in three.ready()


def test_strict_start_beside_a_lost_store_says_who_waits_for_whom_and_goes_on_when_both_are_vouched_for(
    three: Three,
) -> None:
    """Power lost on all three, one disk lost."""
    three.add("a", strict=True)
    three.add("b", strict=True)
    three.add("c", NodeState.RECOVERING, strict=True)
    assert three.nodes["a"].node.membership.strict_wait is None, "nobody is there yet"
    three.meet_all().wait(5.0)
    assert three.ready() == []
    for name in NAMES:
        wait = three.nodes[name].node.membership.strict_wait
        assert wait is not None
        assert (wait.lost, wait.starting) == (("c",), ("a", "b"))
    for name in ("a", "b"):
        why = three.nodes[name].node.why
        assert "c lost what it promised and waits for the marks of a and b" in why
        assert "`strict_start = false`" in why
    assert "a (starting), b (starting)" in three.nodes["c"].node.why
    for name in ("a", "b"):  # what the operator does
        for other in NAMES:
            if other != name:
                three.nodes[other].node.on_disconnected(name, closed=True)
        three.add(name, strict=False, store=three.nodes[name].store)
        for other in NAMES:
            if other != name:
                assert three.meet(name, other) is None
    three.wait(3 * START_READ_S)
    assert three.ready() == list(NAMES)
    assert all(one.node.membership.strict_wait is None for one in three.nodes.values())


def test_a_node_whose_store_is_older_than_what_it_acknowledged_ends_and_is_recovering(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet_all().wait(1.0)
    a = three.nodes["a"]
    a.lead()
    for height in (1, 2, 3):
        a.reserve(sign_bytes(height), height)
    old = three.add("b", NodeState.COMPLETE, Watermark(HRS(1, 0, 2), sign_bytes(1)))
    for name in ("a", "c"):
        three.nodes[name].node.on_disconnected("b", closed=True)
    three.nodes["c"].node._members["b"].seq = 3  # it led too
    assert old.node.on_hello("a", a.node.hello("b"), "address") is None
    assert old.store.header.state is NodeState.COMPLETE, "one member's word alone changes nothing durable"
    with pytest.raises(BehindError):
        old.node.on_hello("c", three.nodes["c"].node.hello("b"), "address")
    assert old.store.header.state is NodeState.RECOVERING
    assert old.store.header.unclaimed


def test_hellos_that_differ_say_both_sides(three: Three) -> None:
    three.add("a")
    three.add("b", epoch=2)
    reason = three.meet("a", "b")
    assert reason is not None
    assert "a has epoch 1" in reason
    assert "b has epoch 2" in reason
    three.add("c", digest=b"x" * 32)
    assert "digests differ" in str(three.meet("a", "c"))


def test_a_second_process_of_an_id_is_refused_while_the_first_answers(three: Three) -> None:
    three.add("a")
    three.add("b")
    assert three.meet("a", "b") is None
    twin = three.add("b")
    assert "two processes with the id 'b'" in str(three.meet("a", "b"))
    three.nodes["a"].node.on_disconnected("b", closed=True)
    assert three.meet("a", "b") is None
    assert twin is three.nodes["b"]


def test_an_unknown_chain_is_a_passing_trouble_and_bytes_that_are_not_canonical_end_the_connection(
    three: Three,
) -> None:
    three.add("a")
    b = three.add("b")
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    b.node.on_frame("a", encode(Promise(1, 64, ROW.public_key, sign_bytes(1, chain="other"), 0, FIRST)))
    answer = decode(b.sent[-1][1])
    assert isinstance(answer, Promised)
    assert answer.reason is Reason.UNKNOWN_ROW
    with pytest.raises(ProtocolError):
        b.node.on_frame("a", encode(Promise(1, 64, ROW.public_key, b"junk", 0, FIRST)))


def test_a_signature_that_does_not_verify_has_no_effect_and_one_that_does_vetoes(three: Three) -> None:
    three.add("a")
    b = three.add("b")
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    life = Life(NodeState.COMPLETE, NONCE, tuple(zip(NAMES, RECORD, strict=True)))
    forged = Watermark(signed(9).hrs, signed(9).sign_bytes, b"s" * 64)
    for mark, reason in ((forged, Reason.NONE), (signed(9), Reason.HEIGHT_REGRESSION)):
        b.node.on_frame("a", encode(LifeNews(life, False, (RowMark(ROW, mark, True),), None, ())))
        b.sent.clear()
        b.node.on_frame(
            "a", encode(Promise(1, 64, ROW.public_key, sign_bytes(2 if reason is Reason.NONE else 3), 0, FIRST))
        )
        answer = decode(b.sent[-1][1])
        assert isinstance(answer, Promised)
        assert answer.reason is reason


def test_a_new_row_is_promised_in_only_when_every_members_mark_was_seen(three: Three) -> None:
    three.add("a", opened=False)
    three.add("b", NodeState.COMPLETE, Watermark(HRS(6, 0, 3)), opened=False)
    three.add("c", opened=False)
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    a = three.nodes["a"]
    assert not a.store.opened(0)
    three.meet("a", "c")
    three.meet("b", "c")
    three.wait(0.2)
    assert all(one.store.opened(0) for one in three.nodes.values())
    assert {one.store.mark(0).hrs for one in three.nodes.values()} == {HRS(6, 0, 3)}


def test_a_signature_goes_to_the_log_when_no_request_is_near(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet_all().wait(1.0)
    a = three.nodes["a"]
    a.lead()
    a.reserve(sign_bytes(1))
    mark = signed(1)
    a.node.on_signer(Signed(0, mark.hrs, mark.sign_bytes, mark.signature))
    assert a.raft.submitted == []
    three.wait(0.1)
    assert a.raft.submitted == [mark]


def test_a_node_that_does_not_lead_permits_nothing(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet_all().wait(1.0)
    answer = three.nodes["b"].reserve(sign_bytes(1))
    assert isinstance(answer, ReserveRefused)
    assert answer.reason is Reason.NOT_LEADER
    assert three.nodes["b"].store.mark(0) == Watermark()


def test_a_refusal_names_the_place_that_stands_in_the_way_wherever_it_stands(three: Three) -> None:
    """As after `cmkms recover` on two of three: the survivor leads, stands lower itself, and must not say "asked for 21, promised up to 5"."""
    for name in NAMES:
        three.add(name)
    three.meet_all().nodes["a"].lead()
    a = three.nodes["a"]
    assert isinstance(a.reserve(sign_bytes(5)), PermitGranted)
    for name, height in (("b", 25), ("c", 30)):
        three.nodes[name].store.write_mark(0, Watermark(HRS(height, 0, 3)))
    refused = a.reserve(sign_bytes(21), 2)
    assert isinstance(refused, ReserveRefused)
    assert (refused.reason, refused.mark) == (Reason.HEIGHT_REGRESSION, HRS(25, 0, 3)), (
        "two of three stand there or above"
    )


def test_what_an_agent_asks_for_urgently_is_proposed_by_a_node_that_does_not_lead(three: Three) -> None:
    """A majority promises the same bytes to the leader and to whoever else proposes them; other bytes at the place are refused."""
    for name in NAMES:
        three.add(name)
    three.meet_all().nodes["a"].lead()
    a, b = three.nodes["a"], three.nodes["b"]
    assert isinstance(a.reserve(sign_bytes(1)), PermitGranted)
    assert b.reserve(sign_bytes(1), urgent=True) == PermitGranted(7, 1, 0, Permit(sign_bytes(1)))
    refused = b.reserve(sign_bytes(1, b"o"), 2, urgent=True)
    assert isinstance(refused, ReserveRefused)
    assert refused.reason is Reason.CONFLICT
    assert isinstance(b.reserve(sign_bytes(2), 3, urgent=True), PermitGranted)
    assert (a.node.proposed_without_lead, b.node.proposed_without_lead, b.node.leading) == (0, 3, False)


def test_a_node_that_is_not_complete_proposes_nothing_however_urgently_it_is_asked(three: Three) -> None:
    """Rule 7: what it once promised is not known before it has read the others."""
    three.add("b", NodeState.RECOVERING)
    answer = three.nodes["b"].reserve(sign_bytes(1), urgent=True)
    assert isinstance(answer, ReserveRefused)
    assert answer.reason is Reason.NOT_COMPLETE
    assert three.nodes["b"].store.mark(0) == Watermark()


def test_a_signature_of_a_node_that_does_not_lead_comes_to_everybody_and_to_the_leaders_log(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet_all().nodes["a"].lead()
    a, b = three.nodes["a"], three.nodes["b"]
    mark = signed(7)
    assert isinstance(b.reserve(mark.sign_bytes, urgent=True), PermitGranted)
    b.node.on_signer(Signed(0, mark.hrs, mark.sign_bytes, mark.signature))
    three.wait(0.1)
    assert [three.nodes[name].node.signed(0) for name in NAMES] == [mark] * 3
    three.wait(0.1)
    assert a.raft.submitted == [mark]
    a.node.on_applied(row_key(ROW), mark)
    three.wait(0.1)
    assert a.raft.submitted == [mark], "what came from the log does not go there again"


def test_what_was_signed_while_nobody_led_goes_to_the_next_leaders_log(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet_all()
    b, c = three.nodes["b"], three.nodes["c"]
    mark = signed(7)
    assert isinstance(b.reserve(mark.sign_bytes, urgent=True), PermitGranted)
    b.node.on_signer(Signed(0, mark.hrs, mark.sign_bytes, mark.signature))
    three.wait(0.1)
    assert c.raft.submitted == []
    c.lead()
    three.wait(0.1)
    assert c.raft.submitted == [mark]


def test_what_nobody_answers_is_let_go_of_by_a_node_that_does_not_lead(three: Three) -> None:
    """Its agent has asked another by then. Without an end the node would tick a hundred times a second for it for ever."""
    for name in NAMES:
        three.add(name)
    three.meet_all()
    b = three.nodes["b"]
    three.part("b", "a")
    three.part("b", "c")
    for name in ("a", "c"):
        b.node.on_disconnected(name, closed=False)
    assert b.reserve(sign_bytes(1), urgent=True) is None
    assert b.node.idle_for_s() == TICK_S
    three.wait(2.0)
    b.raft.idle_for_s = lambda: 1.0
    assert b.node.idle_for_s() == 1.0
    assert b.raft.transfers == []


def test_while_requests_come_and_none_waits_a_node_looks_no_oftener_than_an_idle_one(three: Three) -> None:
    """A hundred looks a second while promises flow are bursts of Python between the requests: the 99th percentile of a signature."""
    a = leading(three)
    a.raft.idle_for_s = lambda: 0.3
    assert a.node.idle_for_s() == 0.3
    assert isinstance(a.reserve(sign_bytes(7)), PermitGranted)
    assert a.node.idle_for_s() == 0.3, "its majority was there at once"
    made = signed(7)
    a.node.on_signer(Signed(0, made.hrs, made.sign_bytes, made.signature))
    assert a.node.idle_for_s() == SIGN_STATE_LOOK_S, "it is to be replicated when it is quiet"
    three.part("a", "b")
    three.part("a", "c")
    assert a.reserve(sign_bytes(8), 2) is None
    assert a.node.idle_for_s() == TICK_S, "a reservation that waits for its majority is looked after"


def test_the_same_frame_of_the_replicated_log_is_decoded_once(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    """The heartbeats of an idle cluster are the same bytes for hours; whatever else comes in between is decoded each time."""
    a = leading(three)
    heard: list[bytes] = []
    decoded: list[bytes] = []
    a.raft.on_message = lambda _peer, payload: heard.append(payload) or ""
    stock = node_module.decode

    def count(untrusted: bytes) -> PeerMessage:
        decoded.append(untrusted)
        return stock(untrusted)

    monkeypatch.setattr(node_module, "decode", count)
    one, other, large = (encode(RaftMessage(payload)) for payload in (b"one", b"other", b"l" * 1000))
    facts = encode(FactsNews(()))
    for frame in (one, one, facts, one, other, other, one, large, large, one):
        a.node.on_frame("b", frame)
    assert heard == [b"one"] * 3 + [b"other"] * 2 + [b"one"] + [b"l" * 1000] * 2 + [b"one"]
    assert decoded == [one, facts, other, one, large, large]
    with pytest.raises(ProtocolError):
        a.node.on_frame("b", one + b"?")


@pytest.mark.parametrize("when", ["before the report", "after it"])
def test_a_signature_made_while_the_leadership_goes_is_shown_to_the_others(three: Three, when: str) -> None:
    """The log takes nothing from a node that does not lead any more: without this, nobody else would know of it."""
    for name in NAMES:
        three.add(name)
    three.meet_all()
    a = three.nodes["a"]
    a.lead()
    data = sign_bytes(7)
    assert isinstance(a.reserve(data), PermitGranted)
    mark = signed(7)
    if when == "before the report":
        a.raft.leading = False
    a.node.on_signer(Signed(0, mark.hrs, data, mark.signature))
    a.raft.leading = False
    three.wait(0.1)
    assert [three.nodes[name].node.signed(0) for name in NAMES] == [mark] * 3


def test_a_leader_change_is_another_leader_or_another_term(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    node = three.meet_all().nodes["a"].node
    seen = []
    for leader, term in ((None, 1), ("b", 2), ("b", 2), (None, 2), ("b", 2), (None, 3), ("b", 4), ("c", 5), ("a", 6)):
        node.on_role(leading=False, leader=leader, term=term)
        seen.append(node.leader_changes)
    assert seen == [0, 0, 0, 0, 0, 0, 1, 2, 3]


def test_a_members_syncs_are_timed_too(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet_all().nodes["a"].lead()
    assert isinstance(three.nodes["a"].reserve(signed(5).sign_bytes), PermitGranted)
    assert {name: one.node.sync_ns.count for name, one in three.nodes.items()} == dict.fromkeys(NAMES, 1)


# --- what members say of themselves ---


def test_a_hello_of_another_protocol_is_refused_with_both_versions_and_the_cure(three: Three) -> None:
    """Its fields may be anything: only the first three values are looked at. Both sides see the same, from their own end."""
    node = three.add("a").node
    reason = node.on_hello("b", msgpack.packb([0, 3, "9.9.9", {"future": [1.5, None]}]), "address")
    assert reason is not None
    for words in ("a runs CometKMS", __version__, "protocol 2", "b runs 9.9.9 with protocol 3", "cure: "):
        assert words in reason
    assert node.member("b").refused == reason
    assert (node.member("b").nonce, node.member("b").facts) == (0, ())


def test_members_keep_what_each_said_and_name_what_differs(three: Three) -> None:
    alike = {"default_ttl_ms": "400", "strict_start": "off", "validators": "chain: tcp://v:1", "python": "3.11"}
    three.add("a", facts=alike)
    three.add("b", facts={**alike, "default_ttl_ms": "900", "python": "3.13"})
    three.add("c", facts=alike, rows=(ROW, Row(b"o" * 32, "other")))
    three.meet_all()
    a = three.nodes["a"]
    assert dict(a.node.member("b").facts)["python"] == "3.13"
    assert a.node.member("b").version == __version__
    assert [one.document() for one in a.node.differences] == [
        {"member": "b", "what": "default_ttl_ms", "here": "400", "there": "900"},
        {"member": "c", "what": "chains", "here": "nothing more", "there": f"other with the key {b'oooooooo'.hex()}"},
    ]
    assert [(one.member, one.there) for one in three.nodes["b"].node.differences] == [
        ("a", "400"),
        ("c", "400"),
        ("c", f"other with the key {b'oooooooo'.hex()}"),
    ]


def test_a_difference_is_said_once_and_goes_when_the_member_says_otherwise(three: Three) -> None:
    three.add("a", facts={"default_ttl_ms": "400"})
    three.add("b", facts={"default_ttl_ms": "900"})
    three.add("c", facts={"default_ttl_ms": "400"})
    three.meet_all()
    three.meet("a", "b")
    a, b = three.nodes["a"], three.nodes["b"]
    assert sum("nodes differ" in line for line in a.log.lines) == 1
    b.node.tell_facts(make_facts({"default_ttl_ms": "400"}))
    three.pump()
    assert (a.node.differences, b.node.differences) == ((), ())
    a.node.tell_facts(make_facts({"default_ttl_ms": "500"}))
    three.pump()
    assert [(one.member, one.here, one.there) for one in a.node.differences] == [
        ("b", "500", "400"), ("c", "500", "400"),
    ]  # fmt: skip
    assert [(one.here, one.there) for one in b.node.differences] == [("400", "500")]


# --- handing over ---


def leading(three: Three) -> One:
    for name in NAMES:
        three.add(name)
    three.meet_all()
    three.wait(START_READ_S)
    three.nodes["a"].lead()
    return three.nodes["a"]


def come_back(three: Three, name: str, *, meets: bool = True) -> None:
    """Its process ended and another began."""
    for other in three.nodes:
        if other != name:
            three.nodes[other].node.on_disconnected(name, closed=True)
    three.add(name)
    if meets:
        for other in three.nodes:
            if other != name:
                three.meet(name, other)


def test_a_handover_asks_the_complete_members_the_longest_so_first(three: Three) -> None:
    a = leading(three)
    assert a.node.hand_over() == ""
    assert a.raft.transfers == [("b", "c")]
    come_back(three, "b")
    three.wait(START_READ_S)
    assert (a.node.hand_over(), a.node.hand_over("b")) == ("", "")
    assert a.raft.transfers[1:] == [("c", "b"), ("b",)]


@pytest.mark.parametrize(("name", "order"), [("a", ("b", "c")), ("b", ("c", "a")), ("c", ("a", "b"))])
def test_a_leader_whose_requests_nobody_answers_hands_over_in_turn(
    three: Three, name: str, order: tuple[str, str]
) -> None:
    """Not to the one that is there for longest: two would hand it to each other, and the third never tried."""
    leading(three)
    three.nodes["a"].raft.leading = False
    come_back(three, order[0])
    three.wait(START_READ_S)
    for other in order:
        three.nodes[other].node.membership.ready = False  # it answers no promise, and has not said so
    leader = three.nodes[name]
    leader.lead()
    assert leader.reserve(sign_bytes(1)) is None
    three.wait(1.0)
    assert leader.raft.transfers == [order]


def test_a_handover_is_refused_only_when_nobody_is_complete_and_names_each(three: Three) -> None:
    a = leading(three)
    b = three.nodes["b"]
    three.nodes["c"].node.on_disconnected("a", closed=True)
    a.node.on_disconnected("c", closed=True)
    assert (a.node.hand_over(), a.raft.transfers[-1]) == ("", ("b",))
    assert a.node.hand_over("c") == "c is not connected"
    come_back(three, "b", meets=False)
    assert a.node.hand_over() == "b is not connected, c is not connected"
    three.nodes["b"].node.membership.ready = False
    three.meet("a", "b")
    assert three.nodes["b"] is not b
    assert a.node.drills.obey("the operator", Action.TRANSFER, "").startswith(
        "nobody can take over now: b is starting, "
    )
    assert len(a.raft.transfers) == 1


def test_what_a_member_said_on_an_earlier_connection_is_not_believed(three: Three) -> None:
    a = leading(three)
    come_back(three, "b", meets=False)
    a.node.on_hello("b", three.nodes["b"].node.hello("a"), "address")
    a.node.on_connected("b")
    assert a.node.hand_over("b") == "b has not said yet whether it is complete"


def test_an_order_to_hand_over_needs_the_lead_and_no_lease(three: Three) -> None:
    """In the moment after an election the marks of the others are still read: that is no reason to refuse."""
    a = leading(three)
    a.node._leased = False
    assert a.node.drills.obey("the operator", Action.TRANSFER, "c") == ""
    three.wait(DRILL_ORDER_EVERY_S)
    a.raft.leading = False
    assert a.node.drills.obey("the operator", Action.TRANSFER, "c") == "c cannot take over now: a does not lead"


# --- epochs (rule 10) ---


@pytest.mark.parametrize("state", [NodeState.EMPTY, NodeState.RECOVERING])
def test_a_node_without_promises_learns_a_later_epoch_from_a_majority_only(three: Three, state: NodeState) -> None:
    """One member's word moves nothing; two of three are a majority of that epoch's members."""
    a = three.add("a", state)
    for name in ("b", "c"):
        three.add(name, epoch=3)
    for _ in range(3):
        assert "b has epoch 3" in str(a.node.on_hello("b", three.nodes["b"].node.hello("a"), "address"))
    assert (a.store.header.epoch, a.store.header.state) == (1, state)
    with pytest.raises(BehindError, match="b, c are in epoch 3 with these members"):
        a.node.on_hello("c", three.nodes["c"].node.hello("a"), "address")
    header = a.store.header
    assert (header.epoch, header.state, header.unclaimed, header.record) == (3, NodeState.RECOVERING, True, ())


@pytest.mark.parametrize("epochs", [(3, 4), (1 << 32, 1 << 32), (1, 1)])
def test_words_that_differ_or_that_nobody_believes_move_no_epoch(three: Three, epochs: tuple[int, int]) -> None:
    a = three.add("a", NodeState.EMPTY)
    for name, epoch in zip(("b", "c"), epochs, strict=True):
        three.add(name, epoch=epoch)
        a.node.on_hello(name, three.nodes[name].node.hello("a"), "address")
    assert (a.store.header.epoch, a.store.header.state) == (1, NodeState.EMPTY)


def test_a_node_that_promised_learns_no_epoch(three: Three) -> None:
    """Its promises are of the earlier one: it is the operator's to say what becomes of them."""
    a = three.add("a")
    for name in ("b", "c"):
        three.add(name, epoch=3)
        assert "epochs or peer lists differ" in str(a.node.on_hello(name, three.nodes[name].node.hello("a"), "address"))
    assert (a.store.header.epoch, a.store.header.state) == (1, NodeState.COMPLETE)


def test_a_running_node_is_sealed_at_once_and_its_seal_vouches(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet_all().wait(2 * START_READ_S)
    a = three.nodes["a"]
    a.lead()
    assert isinstance(a.reserve(sign_bytes(1)), PermitGranted)
    seal = a.node.seal(("a", "b", "d"))
    assert (seal.node, seal.epoch, seal.members, seal.following) == ("a", 1, NAMES, ("a", "b", "d"))
    assert seal.standing is Standing.CONFIRMED
    assert seal.marks == ((ROW, Watermark(HRS(1, 0, 2), sign_bytes(1))),)
    assert a.sealed_for == ("a", "b", "d"), "born.json says so"
    assert a.store.header.state is NodeState.SEALED
    assert not a.node.leading
    assert isinstance(a.reserve(sign_bytes(2), 2), ReserveRefused)
    assert a.node.seal(("a", "b", "d")) == seal
    with pytest.raises(StateError, match="for ever"):
        a.node.seal(NAMES)
    three.wait(2 * START_READ_S)
    assert "a" not in three.ready()
    assert "is sealed" in a.node.membership.why


def test_whoever_leads_when_a_majority_is_sealed_leads_no_longer_and_says_why(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet_all().wait(2 * START_READ_S)
    c = three.nodes["c"]
    c.lead()
    three.nodes["a"].node.seal(NAMES)
    three.wait(2.0)
    assert isinstance(c.reserve(sign_bytes(1)), PermitGranted), "b promises, too"
    assert not c.raft.held
    three.nodes["b"].node.seal(NAMES)
    three.wait(2.0)
    assert (c.node.membership.ready, c.raft.held) == (True, True), "complete, and it neither leads nor stands again"
    c.raft.leading, c.raft.leader, c.raft.hears_leader = False, None, False
    c.node.on_role(leading=False, leader=None, term=3)
    assert "nobody leads: a, b sealed, and 2 nodes that are not are needed: this epoch is over" in c.node.why
    assert isinstance(c.reserve(sign_bytes(2), 2), ReserveRefused)


def test_the_seal_of_a_node_that_has_not_been_compared_with_every_other_does_not_vouch(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    assert three.nodes["a"].node.seal(NAMES).standing is Standing.UNCONFIRMED


def test_a_late_answer_that_stands_higher_leaves_the_store_unconfirmed(three: Three) -> None:
    """Nothing is raised by it any more; what the store lacks may be what was put back."""
    a = three.add("a", NodeState.COMPLETE, Watermark(HRS(5, 0, 2)))
    three.add("b", NodeState.COMPLETE, Watermark(HRS(5, 0, 2)))
    three.add("c", NodeState.COMPLETE, Watermark(HRS(9, 0, 2)))
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    three.meet("a", "c")
    three.wait(2.0)
    assert a.node.seal(NAMES).standing is Standing.UNCONFIRMED


def test_a_store_that_has_come_up_to_what_was_read_is_confirmed(three: Three) -> None:
    """The late answer showed a promise that was on its way here: the others are read again until nothing is above the store."""
    a = three.add("a", NodeState.COMPLETE, Watermark(HRS(5, 0, 2)))
    three.add("b", NodeState.COMPLETE, Watermark(HRS(5, 0, 2)))
    c = three.add("c", NodeState.COMPLETE, Watermark(HRS(9, 0, 2)))
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    three.meet("a", "c")
    three.meet("b", "c")
    three.wait(2.0)
    c.lead()
    c.reserve(sign_bytes(10))
    three.wait(2.0)
    assert a.store.mark(0).hrs.height == 10
    assert not a.node.membership.reading
    assert a.node.seal(NAMES).standing is Standing.CONFIRMED


def test_a_recovering_node_that_only_a_sealed_one_keeps_waiting_says_so(three: Three) -> None:
    a, b = three.add("a"), three.add("b")
    three.add("c", NodeState.RECOVERING)
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    a.node.seal(NAMES)
    three.meet_all().wait(2 * START_READ_S)
    why = three.nodes["c"].node.membership.why
    assert "a, which must be read first, is sealed and answers nobody any more" in why
    assert "cmkms recover --min-height" in why
    assert b.store.header.state is NodeState.COMPLETE
    assert three.nodes["c"].store.header.state is NodeState.RECOVERING


def test_a_recovering_node_has_no_seal(three: Three) -> None:
    a = three.add("a", NodeState.RECOVERING)
    with pytest.raises(StateError, match="cannot say what it promised"):
        a.node.seal(NAMES)
    assert a.store.header.state is NodeState.RECOVERING


def test_a_store_that_begins_a_second_time_in_an_epoch_is_found_out_and_recovers(three: Three) -> None:
    """The same seals on another machine: whoever met the first store shows its signature."""
    for name in NAMES:
        three.add(name, unclaimed=True)
    three.meet_all().wait(2 * START_READ_S)
    assert three.ready() == list(NAMES)
    again = three.add("a", unclaimed=True)
    for name in ("b", "c"):
        three.nodes[name].node.on_disconnected("a", closed=True)
    with pytest.raises(BehindError, match="began before"):
        three.meet("a", "b")
    assert again.store.header.state is NodeState.RECOVERING
    assert again.store.header.unclaimed
