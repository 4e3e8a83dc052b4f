"""The signer's hot path against the general path: the same events, the same answers, messages,
watermark and counters.
"""

import base64
import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from cometkms.core import choose, native
from cometkms.core.interface import Request, Session, SignLane, Turn
from cometkms.core.native.queue import RingQueue
from cometkms.core.native.sign import NativeSignPath
from cometkms.core.pure.sign import PureSignPath
from cometkms.errors import ProtocolError
from cometkms.keytypes import BLS12_381, ED25519, SEED_BYTES, KeyType
from cometkms.limits import HEIGHT_MAX
from cometkms.model import (
    HRS,
    BlockID,
    Decision,
    Dialect,
    Kind,
    Message,
    Outcome,
    Permit,
    Reason,
    Timestamp,
    Vote,
    Watermark,
)
from cometkms.signer.chain import ChainSigner
from cometkms.wire import decisions
from cometkms.wire.queue_messages import (
    Mark,
    PermitGranted,
    QueueMessage,
    Reserve,
    ReserveRefused,
    Signed,
    StateHello,
    decode,
    encode,
)
from tests.unit.signer.test_chain import Log

CORE = native.load()
NONCE = 7
KEY = SigningKey(bytes(32))
VALIDATORS = 2


class Connection:
    """A validator's end of a socket, and what ValidatorLink does with ours. A `Requester`."""

    def __init__(self, stage: "Stage", number: int) -> None:
        self.stage, self.number, self.name = stage, number, f"v{number}"
        self.remote_identity = bytes([number]) * 32
        self.answers: list[Message] = []
        self.open()

    def open(self) -> None:
        # an answer a packet
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.setblocking(False)
        self.theirs.setblocking(False)
        self.session: Session | None = CORE.session(Dialect.PROTO, "c", None, b"")
        self.busy = False
        self.lane: SignLane | None = self.stage.chain.lane(self.number, self, self.session, self.ours.fileno())

    def close(self) -> None:
        self.session = None
        if self.lane is not None:
            self.lane.close()
        self.ours.close()
        self.theirs.close()

    def serves(self, session: Session) -> bool:
        return self.session is session

    def deliver(self, frame: bytes, *, refused: bool | None = None) -> None:
        self.busy = False
        self.ours.send(frame)

    def on_answered(self) -> None:
        self.busy = False

    def ask(self, vote: Vote) -> None:
        """As CometBFT does: not before the last answer."""
        if self.busy:
            return
        assert self.session is not None
        self.theirs.send(CORE.encode_message(Dialect.PROTO, Message(Kind.SIGN_VOTE_REQUEST, "c", vote=vote)))
        self.busy = True
        found = self.turn()
        if isinstance(found, Request):
            self.stage.chain.submit(self, self.session, found, time.monotonic_ns())

    def turn(self) -> Request | Turn | None:
        if self.lane is not None:
            return self.lane.turn()
        assert self.session is not None
        self.session.received(self.ours.recv_into(self.session.inbox))
        return self.session.next_request()

    def collect(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                wire = self.theirs.recv(1 << 16)
                if not wire:
                    return
                self.answers.append(CORE.decode_message(Dialect.PROTO, wire))


class Stage:
    """One chain, its queues, two validators; with the hot path or without."""

    def __init__(self, *, hot: bool, key_type: KeyType = ED25519) -> None:
        self.reservations, self.permits, self.log = RingQueue(), RingQueue(), Log()
        self.decisions = RingQueue()
        trail = CORE.trail(self.decisions, NONCE)
        self.offset_ns = 0
        self.sent: list[QueueMessage] = []
        self.asked: list[Reserve] = []
        secret = bytes(KEY) + bytes(KEY.verify_key) if key_type is ED25519 else b"\1" * SEED_BYTES
        self.slot = slot = CORE.key_slot(bytearray(base64.b64encode(secret)), "c", key_type)
        self.path: NativeSignPath | None = None
        if hot:
            self.path = CORE.sign_path(
                nonce=NONCE, reservations=self.reservations, permits=self.permits, slots=[slot], trail=trail
            )
        self.chain = ChainSigner(
            chain=0,
            chain_id="c",
            slot=slot,
            core=CORE,
            nonce=NONCE,
            send=lambda message: self.reservations.push(encode(message)),
            clock_ns=lambda: time.monotonic_ns() + self.offset_ns,
            log=self.log,
            path=self.path or PureSignPath(),
            count_made=self.count,
            trail=trail,
        )
        self.connections = [Connection(self, number) for number in range(VALIDATORS)]

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
        self.reservations.close()
        self.permits.close()
        self.decisions.close()

    def noted(self) -> list[tuple[int, Decision]]:
        """What the audit log gets, in its order; how long it took is not compared."""
        found = []
        while (untrusted := self.decisions.pop()) is not None:
            noted = decisions.decode(untrusted)
            assert abs(noted.at_ns - time.time_ns()) < 60e9
            found.append((noted.number, replace(noted.decision, took_ns=0)))
        return found

    def take_sent(self) -> None:
        while (message := self.reservations.pop()) is not None:
            self.sent.append(decode(message))
            if isinstance(self.sent[-1], Reserve):
                self.asked.append(self.sent[-1])

    def tell(self, message: QueueMessage) -> None:
        assert self.permits.push(encode(message))
        self.take_messages()

    def take_messages(self) -> None:
        if self.path is None:
            while (untrusted := self.permits.pop()) is not None:
                self.on_message(decode(untrusted))
            return
        more = True
        while more:
            untrusted, answered, more = self.path.take()
            for number in answered:
                self.on_answered(number)
            if untrusted is not None:
                self.on_message(decode(untrusted))

    def on_answered(self, number: int) -> None:
        self.connections[number].on_answered()

    def on_message(self, message: QueueMessage) -> None:
        match message:
            case PermitGranted():
                self.chain.on_permit(message)
            case ReserveRefused():
                self.chain.on_refused(message)
            case StateHello():
                self.chain.on_state_hello()
            case Mark():
                self.chain.on_mark(message)
            case _:
                raise AssertionError(message)

    def count(self) -> None:
        for made in self.path.drain() if self.path is not None else ():
            self.chain.on_signature(made)

    # --- events, as the walk draws them ---

    def ask(self, who: int, height: int, block: int, second: int) -> None:
        block_id = BlockID(bytes([block]) * 32, 1, b"p" * 32) if block else BlockID()
        extension = b"e" * 10 if block == 2 else b""
        vote = Vote(2, height, 0, block_id, Timestamp(1_700_000_000 + second, 0), extension=extension)
        self.connections[who].ask(vote)

    def permit(self, back: int, second: int) -> None:
        """The permit of one of the last reservations; maybe for bytes with another timestamp, as
        another node held them.
        """
        self.take_sent()
        if len(self.asked) <= back:
            return
        asked = self.asked[-1 - back]
        sign_bytes = asked.sign_bytes
        if second:
            parsed = CORE.parse_sign_bytes(sign_bytes)
            block_id = BlockID(parsed.block_hash, 1, b"p" * 32) if parsed.block_hash else BlockID()
            vote = Vote(2, *asked.hrs[:2], block_id, Timestamp(1_700_000_000 + second, 0))
            sign_bytes = CORE.check_request(
                Dialect.PROTO, "c", Message(Kind.SIGN_VOTE_REQUEST, "c", vote=vote)
            ).sign_bytes
        self.tell(PermitGranted(asked.nonce, asked.request_id, 0, Permit(sign_bytes)))

    def refuse(self, reason: Reason) -> None:
        self.take_sent()
        if self.asked:
            last = self.asked[-1]
            self.tell(ReserveRefused(last.nonce, last.request_id, 0, reason, HRS(last.hrs.height + 1, 0, 1)))

    def mark(self, height: int) -> None:
        self.tell(Mark(NONCE, 0, Watermark(HRS(height, 0, 1))))

    def expire(self) -> None:
        """What waits is late.

        The clock stands ahead for that look only: C's signatures have the machine's time.
        """
        self.offset_ns = 3_000_000_000
        self.chain.expire()
        self.offset_ns = 0

    def reconnect(self, who: int) -> None:
        self.connections[who].collect()
        self.connections[who].close()
        self.connections[who].open()

    def abandon(self) -> None:
        self.chain.abandon()
        for who in range(VALIDATORS):
            self.reconnect(who)

    def hello(self) -> None:
        self.tell(StateHello(1))

    def outcome(self) -> dict[str, object]:
        """All that anybody can see, request ids by their order."""
        self.take_sent()
        self.count()
        for connection in self.connections:
            connection.collect()
        order: dict[int, int] = {}
        sent = [
            (order.setdefault(one.request_id, len(order)), one.chain, one.hrs, one.sign_bytes)
            if isinstance(one, Reserve)
            else one
            for one in self.sent
        ]
        return {
            "answers": [connection.answers for connection in self.connections],
            "busy": [connection.busy for connection in self.connections],
            "sent": sent,
            "watermark": self.chain.watermark,
            "counters": self.chain.counters,
            "slot": self.chain.slot.last_signed,
            "latencies": self.chain.latency.count,
            "noted": self.noted(),
            "events": sorted(event for event, _ in self.log.events if event != "requester gone before its permit"),
        }


HEIGHTS = st.integers(1, 4)
EVENTS = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, VALIDATORS - 1), HEIGHTS, st.integers(0, 2), st.integers(0, 1)),
    st.tuples(st.just("ask"), st.just(0), HEIGHTS, st.just(1), st.just(0)),
    st.tuples(st.just("permit"), st.integers(0, 2), st.sampled_from([0, 0, 0, 9])),
    st.tuples(st.just("permit"), st.just(0), st.just(0)),
    st.tuples(st.just("refuse"), st.sampled_from([Reason.CONFLICT, Reason.NO_PERMIT, Reason.NOT_LEADER])),
    st.tuples(st.just("mark"), HEIGHTS),
    st.tuples(st.just("expire")),
    st.tuples(st.just("reconnect"), st.integers(0, VALIDATORS - 1)),
    st.tuples(st.just("abandon")),
    st.tuples(st.just("hello")),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(EVENTS, max_size=30))
def test_the_hot_path_and_the_general_path_cannot_be_told_apart(events: list[tuple]) -> None:
    """Whatever is asked, permitted, refused, lost or late, in whatever order."""
    outcomes = []
    for hot in (False, True):
        stage = Stage(hot=hot)
        stage.mark(0)
        for name, *arguments in events:
            getattr(stage, name)(*arguments)
        outcomes.append(stage.outcome())
        stage.close()
    assert outcomes[0] == outcomes[1]


@pytest.fixture
def stage() -> Stage:
    made = Stage(hot=True)
    made.mark(0)
    return made


def test_a_plain_request_is_reserved_and_answered_without_python(stage: Stage) -> None:
    stage.ask(0, 5, 1, 0)
    assert stage.path is not None
    assert stage.path.waits_since_ns(0) is not None
    stage.permit(0, 0)
    assert stage.path.unseen == 1
    outcome = stage.outcome()
    assert stage.chain.watermark.hrs == HRS(5, 0, 3)
    assert outcome["busy"] == [False, False]
    (answer,) = stage.connections[0].answers
    assert answer.vote is not None
    KEY.verify_key.verify(stage.chain.watermark.sign_bytes, answer.vote.signature)
    assert [type(one) for one in stage.sent] == [Reserve, Signed]


def test_a_signature_is_noted_with_the_bytes_that_were_signed_after_its_answer(stage: Stage) -> None:
    stage.ask(0, 5, 1, 0)
    assert stage.noted() == []
    stage.permit(0, 9)  # another node held these bytes: another timestamp
    ((number, decision),) = stage.noted()
    assert number == 1
    assert decision == Decision(
        Outcome.SIGNED,
        kind=Kind.SIGN_VOTE_REQUEST,
        hrs=HRS(5, 0, 3),
        sign_bytes=stage.chain.watermark.sign_bytes,
        block_hash=b"\1" * 32,
        validator=b"v0",
        identity=bytes(32),
    )


def test_before_the_mark_is_known_nothing_is_plain() -> None:
    stage = Stage(hot=True)
    stage.ask(0, 5, 1, 0)
    assert stage.chain.counters.unanswered == {"state_away": 1}
    stage.close()


def test_two_permits_in_one_turn_are_answered_in_their_order_and_a_refusal_between_them_stays_between(
    stage: Stage,
) -> None:
    """A message that is not plain ends the turn: nothing behind it is looked at before it was."""
    stage.ask(0, 5, 1, 0)
    stage.take_sent()
    permit = PermitGranted(NONCE, stage.asked[0].request_id, 0, Permit(stage.asked[0].sign_bytes))
    stage.permits.push(encode(Mark(NONCE, 0, Watermark(HRS(9, 0, 1)))))
    stage.permits.push(encode(permit))
    stage.take_messages()
    stage.connections[0].collect()
    assert stage.connections[0].answers == [Message(Kind.PING_RESPONSE)]
    assert stage.chain.slot.last_signed == HRS(9, 0, 1)


def test_what_the_socket_does_not_take_is_handed_over_and_nothing_overtakes_it(stage: Stage) -> None:
    connection = stage.connections[0]
    stage.ask(0, 5, 1, 0)
    with contextlib.suppress(BlockingIOError):
        while True:
            connection.ours.send(b"\0" * 65536)
    stage.permit(0, 0)
    assert connection.lane is not None
    assert connection.lane.blocked
    unsent = connection.lane.take_unsent()
    assert CORE.decode_message(Dialect.PROTO, unsent).vote is not None
    assert connection.lane.take_unsent() == b""


def test_a_full_queue_takes_the_report_later(stage: Stage) -> None:
    stage.ask(0, 5, 1, 0)
    stage.take_sent()
    while stage.reservations.push(encode(StateHello(1))):
        pass
    stage.tell(PermitGranted(NONCE, stage.asked[-1].request_id, 0, Permit(stage.asked[-1].sign_bytes)))
    connection = stage.connections[0]
    connection.collect()
    assert len(connection.answers) == 1
    while stage.reservations.pop() is not None:
        pass
    stage.chain.report()
    report = decode(stage.reservations.pop() or b"")
    assert isinstance(report, Signed)
    assert report.hrs == HRS(5, 0, 3)
    stage.chain.report()
    assert stage.reservations.pop() is None


def test_a_full_queue_leaves_the_request_to_the_general_path_which_answers_empty(stage: Stage) -> None:
    while stage.reservations.push(encode(StateHello(1))):
        pass
    stage.ask(0, 5, 1, 0)
    assert stage.chain.counters.unanswered == {"no_permit": 1}


def test_with_too_many_signatures_unseen_the_general_path_signs(stage: Stage) -> None:
    assert stage.path is not None
    for height in range(1, 70):
        stage.ask(0, height, 1, 0)
        stage.permit(0, 0)
    assert stage.path.unseen == 64
    outcome = stage.outcome()
    assert stage.chain.counters.signed == 69
    assert len(stage.connections[0].answers) == 69
    assert outcome["latencies"] == 69


def test_the_end_of_the_stream_and_senseless_bytes_are_told_apart(stage: Stage) -> None:
    first, second = stage.connections
    assert first.lane is not None
    assert second.lane is not None
    with pytest.raises(BlockingIOError):
        first.lane.turn()
    first.theirs.close()
    with pytest.raises(EOFError):
        first.lane.turn()
    second.theirs.send(b"\xff" * 20)
    with pytest.raises(ProtocolError):
        second.lane.turn()


def test_half_a_request_is_nothing_yet(stage: Stage) -> None:
    connection = stage.connections[0]
    assert connection.lane is not None
    vote = Vote(2, 5, 0, BlockID(), Timestamp(1_700_000_000, 0))
    wire = CORE.encode_message(Dialect.PROTO, Message(Kind.SIGN_VOTE_REQUEST, "c", vote=vote))
    connection.theirs.send(wire[:10])
    assert connection.lane.turn() is Turn.NOTHING
    connection.theirs.send(wire[10:])
    assert connection.lane.turn() is Turn.RESERVED


def test_traced_hops_are_written_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(choose.TRACE_VARIABLE, str(tmp_path))
    with choose.tracing("signer"):
        stage = Stage(hot=True)
        stage.mark(0)
        stage.ask(0, 5, 1, 0)
        stage.permit(0, 0)
    (path,) = tmp_path.glob("signer-*.trace")
    marks = [line.split() for line in path.read_text().splitlines()]
    assert [mark[1:] for mark in marks] == [[point, "0", "5", "0", "3"] for point in ("1", "2", "11", "12", "13")]
    assert [int(mark[0]) for mark in marks] == sorted(int(mark[0]) for mark in marks)
    stage.ask(0, 6, 1, 0)  # off again: nothing is written, nothing breaks
    stage.close()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda earlier, newer: PermitGranted(NONCE, earlier.request_id, 0, Permit(newer.sign_bytes)),
        lambda earlier, newer: PermitGranted(NONCE + 1, newer.request_id, 0, Permit(newer.sign_bytes)),
    ],
    ids=["request", "signer"],
)
def test_a_permit_of_an_earlier_request_or_signer_counts_for_nothing(
    stage: Stage, wrong: Callable[[Reserve, Reserve], PermitGranted]
) -> None:
    """Even for the same bytes: it may be another life's."""
    stage.ask(0, 5, 1, 0)
    stage.take_sent()
    earlier = stage.asked[0]
    stage.reconnect(0)
    stage.ask(0, 5, 1, 0)
    stage.take_sent()
    newer = stage.asked[1]
    assert newer.sign_bytes == earlier.sign_bytes
    stage.tell(wrong(earlier, newer))
    stage.connections[0].collect()
    assert stage.connections[0].answers == []
    assert stage.chain.slot.last_signed < HRS(5, 0, 0)
    stage.tell(PermitGranted(NONCE, newer.request_id, 0, Permit(newer.sign_bytes)))
    stage.connections[0].collect()
    assert len(stage.connections[0].answers) == 1


def test_no_answer_of_the_path_overtakes_bytes_that_its_owner_holds(stage: Stage) -> None:
    """The owner answers then, behind what it holds."""
    stage.ask(0, 5, 1, 0)
    stage.take_sent()
    connection = stage.connections[0]
    assert connection.lane is not None
    assert stage.path is not None
    connection.lane.blocked = True
    stage.tell(PermitGranted(NONCE, stage.asked[0].request_id, 0, Permit(stage.asked[0].sign_bytes)))
    assert stage.path.c.done_to == 0
    assert stage.chain.watermark.hrs.height == 5
    assert stage.chain.counters.signed == 1


@pytest.mark.parametrize(
    ("height", "words"),
    [
        (HEIGHT_MAX, f"Got {HEIGHT_MAX}, and no more than 1020 is plausible by now"),
        (1000, "Got 1000, which other nodes do not find plausible by now"),
    ],
)
def test_whether_a_height_is_plausible_is_asked_of_the_state_process_and_its_words_are_shown(
    stage: Stage, height: int, words: str
) -> None:
    stage.ask(0, 20, 1, 0)
    stage.permit(0, 0)
    stage.ask(0, height, 1, 0)
    stage.take_sent()
    assert stage.asked[-1].hrs.height == height
    stage.tell(ReserveRefused(NONCE, stage.asked[-1].request_id, 0, Reason.JUMP, HRS(1020, 0, 0)))
    assert stage.chain.counters.refused == {"jump": 1}
    assert stage.chain.refusals[-1]["why"] == f"height jump. {words}"


@pytest.mark.parametrize("hot", [False, True])
@pytest.mark.parametrize("second", [0, 1], ids=["as asked", "another timestamp"])
def test_the_hashes_of_a_bls_vote_and_its_extension_are_made_while_the_majority_is_asked(
    hot: bool, second: int
) -> None:
    """Before there is a permit, on both paths.

    A permit with another timestamp takes the extension's hash only: it has no timestamp.
    """
    stage = Stage(hot=hot, key_type=BLS12_381)
    try:
        stage.mark(1)
        stage.connections[0].ask(
            Vote(2, 5, 0, BlockID(b"a" * 32, 1, b"p" * 32), Timestamp(1_700_000_000, 0), extension=b"e" * 10)
        )
        stage.take_sent()
        extended = CORE.extension_sign_bytes("c", HRS(5, 0, 3), b"e" * 10)
        assert stage.slot.c.prepared.len == len(stage.asked[-1].sign_bytes)
        assert stage.slot.c.prepared_extension.len == len(extended)
        assert stage.connections[0].answers == []
        stage.permit(0, second)
        stage.connections[0].collect()
        vote = stage.connections[0].answers[-1].vote
        assert vote is not None
        assert vote.timestamp == Timestamp(1_700_000_000 + second, 0)
        signed = CORE.check_request(Dialect.PROTO, "c", Message(Kind.SIGN_VOTE_REQUEST, "c", vote=vote)).sign_bytes
        assert CORE.verify(stage.slot.public_key, signed, vote.signature)
        assert CORE.verify(stage.slot.public_key, extended, vote.extension_signature)
    finally:
        stage.close()
