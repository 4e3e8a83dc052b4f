"""The critical section of a chain: order, deadlines, stale permits, two validators, a state process
that comes and goes.
"""

import base64
import weakref

import pytest
from nacl.signing import SigningKey

from cometkms.core.interface import Core, Session, SignPath
from cometkms.core.pure.sign import PureSignPath
from cometkms.limits import (
    AUDIT_VALIDATOR_MAX_BYTES,
    FOLD_KINDS_MAX,
    FOLD_MAX_S,
    PERMIT_TIMEOUT_S,
    REFUSAL_WORDS_MAX,
    REFUSALS_KEPT,
)
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
from cometkms.signer.chain import ChainSigner, _cut
from cometkms.signer.fold import Folds
from cometkms.wire.queue_messages import Mark, PermitGranted, QueueMessage, Reserve, ReserveRefused, Signed

NONCE = 7
KEY = SigningKey(bytes(32))


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict]] = []
        self.errors: list[str] = []

    def _add(self, event: str, **fields: object) -> None:
        self.events.append((event, fields))

    def error(self, event: str, **fields: object) -> None:
        self.errors.append(event)
        self._add(event, **fields)

    debug = info = warning = _add


class Trail:
    def __init__(self) -> None:
        self.noted: list[Decision] = []

    def note(self, decision: Decision) -> None:
        self.noted.append(decision)


class Requester:
    """A connection that is open until closed, and remembers its answers."""

    name = "v"
    remote_identity = b""

    def __init__(self, core: Core) -> None:
        self.core, self.open, self.answers = core, True, list[Message]()

    def serves(self, session: Session) -> bool:
        return self.open

    def deliver(self, frame: bytes, *, refused: bool | None = None) -> None:
        self.answers.append(self.core.decode_message(Dialect.PROTO, frame))


class Stage:
    """A chain with a queue that tests read and a clock that tests move."""

    def __init__(self, core: Core, path: SignPath | None = None) -> None:
        self.core, self.sent, self.now_ns, self.full, self.log = core, list[QueueMessage](), 0, False, Log()
        secret = bytearray(base64.b64encode(bytes(KEY) + bytes(KEY.verify_key)))
        self.chain = ChainSigner(
            chain=0,
            chain_id="c",
            slot=core.key_slot(secret, "c"),
            core=core,
            nonce=NONCE,
            send=self._send,
            clock_ns=lambda: self.now_ns,
            log=self.log,
            path=path or PureSignPath(),
        )
        self.chain.on_mark(Mark(NONCE, 0, Watermark()))

    def _send(self, message: QueueMessage) -> bool:
        if not self.full:
            self.sent.append(message)
        return not self.full

    def ask(
        self, requester: Requester, height: int = 5, block: bytes = b"a", second: int = 0, chain: str = "c"
    ) -> None:
        vote = Vote(2, height, 0, BlockID(block * 32, 1, b"p" * 32), Timestamp(1_700_000_000 + second, 0))
        wire = self.core.encode_message(Dialect.PROTO, Message(Kind.SIGN_VOTE_REQUEST, chain, vote=vote))
        session = self.core.session(Dialect.PROTO, "c", None, b"")
        session.inbox[: len(wire)] = wire
        session.received(len(wire))
        request = session.next_request()
        assert request is not None
        self.chain.submit(requester, session, request, self.now_ns)

    def permit(self, number: int = -1) -> None:
        asked = [message for message in self.sent if isinstance(message, Reserve)][number]
        self.chain.on_permit(PermitGranted(asked.nonce, asked.request_id, asked.chain, Permit(asked.sign_bytes)))


@pytest.fixture
def stage(core: Core) -> Stage:
    return Stage(core)


@pytest.fixture
def asker(core: Core) -> Requester:
    return Requester(core)


def test_nothing_is_signed_before_the_permit_and_the_report_follows_the_reply(stage: Stage, asker: Requester) -> None:
    stage.ask(asker)
    assert [type(message) for message in stage.sent] == [Reserve]
    assert (asker.answers, stage.chain.slot.last_signed) == ([], HRS(0, 0, 0))
    stage.permit()
    assert asker.answers[0].vote is not None
    assert asker.answers[0].vote.signature
    assert isinstance(stage.sent[-1], Signed)
    assert stage.chain.counters.signed == 1


class Path(PureSignPath):
    """A path that does nothing, and keeps what it was told, and where the chain stood then."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[HRS, bool]] = []

    def open(self, chain: int, *, opened: bool) -> None:
        self.told.append((self.marks[chain].hrs, opened))


def test_while_somebody_waits_here_the_path_serves_nothing_and_then_it_knows_the_place(
    core: Core, asker: Requester
) -> None:
    path = Path()
    stage = Stage(core, path)
    stage.ask(asker)
    stage.permit()
    assert path.told == [(HRS(0, 0, 0), True), (HRS(0, 0, 0), False), (HRS(5, 0, 3), True)]


def test_after_an_error_the_path_knows_the_place_and_serves_nothing_before_the_next_turn(
    core: Core, asker: Requester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever went wrong in the section: a signature that was made stays made."""
    path = Path()
    stage = Stage(core, path)
    stage.ask(asker)
    with monkeypatch.context() as broken:
        broken.setattr(asker, "deliver", lambda *_, **__: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            stage.permit()
    assert path.told[-1] == (HRS(5, 0, 3), False)
    stage.chain.on_mark(Mark(NONCE, 0, Watermark()))
    assert path.told[-1] == (HRS(5, 0, 3), True)


def test_a_permit_of_an_earlier_signer_or_request_is_not_used(stage: Stage, asker: Requester) -> None:
    stage.ask(asker)
    asked = stage.sent[0]
    assert isinstance(asked, Reserve)
    for stale in ((NONCE + 1, asked.request_id), (NONCE, asked.request_id + 1)):
        stage.chain.on_permit(PermitGranted(*stale, 0, Permit(asked.sign_bytes)))
        stage.chain.on_refused(ReserveRefused(*stale, 0, Reason.CONFLICT, HRS(9, 0, 1)))
    assert asker.answers == []
    stage.permit()
    stage.permit()
    assert len(asker.answers) == 1


def test_a_permit_for_other_bytes_is_not_signed(stage: Stage, asker: Requester) -> None:
    other = Stage(stage.core)
    other.ask(Requester(stage.core), block=b"x")
    wrong = other.sent[0]
    stage.ask(asker)
    assert isinstance(wrong, Reserve)
    stage.chain.on_permit(PermitGranted(NONCE, 1, 0, Permit(wrong.sign_bytes)))
    assert asker.answers == [Message(Kind.PING_RESPONSE)]
    assert stage.chain.slot.last_signed == HRS(0, 0, 0)


def test_the_second_of_two_validators_waits_and_then_the_rule_decides(stage: Stage, core: Core) -> None:
    first, same, conflicting = Requester(core), Requester(core), Requester(core)
    stage.ask(first)
    stage.ask(same, second=9)
    stage.ask(conflicting, block=b"b")
    assert len(stage.sent) == 1
    stage.permit()
    signed, repeated = first.answers[0].vote, same.answers[0].vote
    assert signed is not None
    assert repeated is not None
    assert (repeated.signature, repeated.timestamp) == (signed.signature, signed.timestamp)
    assert conflicting.answers[0].error is not None
    assert conflicting.answers[0].error.description == "conflicting data"
    assert (stage.chain.counters.repeated, stage.chain.counters.refused) == (1, {"conflict": 1})


def test_a_place_below_the_last_one_is_refused_without_an_error_in_the_log(stage: Stage, asker: Requester) -> None:
    """As a validator asks that replays its log: refused, counted and told, and no reason to look
    for a second signer.
    """
    stage.ask(asker)
    stage.permit()
    stage.ask(asker, height=4)
    assert stage.chain.counters.refused == {"height_regression": 1}
    assert (told(stage), stage.log.errors) == ([("refused", None)], [])
    stage.ask(asker, block=b"b")
    assert (told(stage), stage.log.errors) == ([("refused", None)] * 2, ["refused"])


def test_a_refusal_is_kept_with_both_sides(stage: Stage, asker: Requester) -> None:
    """The place and the block asked for, beside those that were signed."""
    stage.ask(asker)
    stage.permit()
    stage.ask(asker, block=b"b")
    (kept,) = stage.chain.refusals
    assert {key: value for key, value in kept.items() if key != "at"} == {
        "reason": "conflict", "why": "conflicting data", "validator": "v", "asked": "5/0/3", "asked_block": (b"b" * 32).hex(),
        "signed": "5/0/3", "signed_block": (b"a" * 32).hex(), "burnt": False,
    }  # fmt: skip


def test_of_a_burnt_place_no_block_is_claimed(stage: Stage, asker: Requester) -> None:
    stage.chain.on_mark(Mark(NONCE, 0, Watermark(HRS(5, 0, 3))))
    stage.ask(asker)
    (kept,) = stage.chain.refusals
    assert (kept["reason"], kept["signed"], kept["signed_block"], kept["burnt"]) == ("burnt", "5/0/3", "", True)


def test_a_wrong_chains_name_is_kept_within_bounds_and_only_the_newest_refusals_are(
    stage: Stage, asker: Requester
) -> None:
    for number in range(REFUSALS_KEPT + 5):
        stage.now_ns += int((FOLD_MAX_S + 1) * 1e9)  # each told on its own
        stage.ask(asker, chain="<b>" * 1000, height=number + 1)
    assert len(stage.chain.refusals) == REFUSALS_KEPT
    words = str(stage.chain.refusals[-1]["why"])
    assert words.startswith("wrong chain; asked for '<b><b>")
    assert len(words) <= REFUSAL_WORDS_MAX
    assert stage.chain.counters.refused == {"wrong_chain": REFUSALS_KEPT + 5}


def told(stage: Stage) -> list[tuple[str, object]]:
    return [(event, fields.get("more")) for event, fields in stage.log.events if event in ("refused", "unanswered")]


def test_refusals_alike_are_told_once_and_then_as_a_number_at_growing_intervals(
    stage: Stage, asker: Requester, core: Core
) -> None:
    """In the log, on the page and in the audit log alike; the counters count every one."""
    stage.chain._trail = trail = Trail()
    for number in range(1000):
        stage.ask(asker, chain="d", height=number + 1)
        stage.chain.tell_folded()
    assert told(stage) == [("refused", None)]
    other = Requester(core)
    other.name = "w"
    stage.ask(other, chain="d")
    stage.chain.on_mark(Mark(NONCE, 0, Watermark(HRS(9, 0, 3))))
    stage.ask(asker, height=8)
    assert told(stage) == [("refused", None)] * 3  # another validator, another reason
    for _ in range(100):
        stage.now_ns += 100_000_000
        stage.ask(asker, chain="d")
        stage.chain.tell_folded()
    # at 1 s, 3 s and 7 s
    assert told(stage)[3:] == [("refused", 1009), ("refused", 20), ("refused", 40)]
    stage.chain.tell_folded(all_of_it=True)
    stage.chain.tell_folded(all_of_it=True)
    assert told(stage)[6:] == [("refused", 30)]
    notes = [(one.outcome, one.count if one.outcome is Outcome.FOLDED else 1) for one in trail.noted]
    assert notes == [
        *[(Outcome.REFUSED, 1)] * 3,
        *[(Outcome.FOLDED, count) for count in (1009, 20, 40, 30)],
    ]
    whys = [str(one["why"]) for one in stage.chain.refusals]
    assert len(whys) == 7
    assert whys[3].startswith("1009 more like one before, the latest: wrong chain")
    assert stage.chain.counters.refused["wrong_chain"] == 1101
    assert len(asker.answers) == 1101


def test_a_signature_that_is_asked_for_again_and_again_is_told_once_a_place_and_then_as_a_number(
    stage: Stage, asker: Requester, core: Core
) -> None:
    """No refusal, and as cheap to ask for.

    What a second validator asks for is news, and so is the next place.
    """
    stage.chain._trail = trail = Trail()
    other = Requester(core)
    other.name = "w"
    for height in (5, 6):
        stage.ask(asker, height=height)
        stage.permit()
        for _ in range(500):
            stage.ask(asker, height=height)
        stage.ask(other, height=height)
    stage.now_ns += int(1.1e9)
    stage.chain.tell_folded()
    stage.chain.tell_folded(all_of_it=True)
    said = [(event, fields["height"], fields.get("more")) for event, fields in stage.log.events if event == "repeated"]
    assert said == [
        *[("repeated", height, None) for height in (5, 5, 6, 6)],
        ("repeated", 5, 499),
        ("repeated", 6, 499),
    ]
    notes = [(one.outcome, one.hrs.height) for one in trail.noted if one.outcome is not Outcome.SIGNED]
    assert notes[:4] == [(Outcome.REPEATED, height) for height in (5, 5, 6, 6)]
    assert [(one.outcome, one.count, one.reason) for one in trail.noted[-2:]] == [
        (Outcome.FOLDED, 499, Reason.NONE)
    ] * 2
    assert stage.chain.counters.repeated == 1002
    assert len(asker.answers) == 1002


def test_every_failure_of_a_validator_counts_in_its_row_whether_it_is_told_or_folded(
    stage: Stage, asker: Requester
) -> None:
    """By the row a node knows that nothing is signed, though its connections stand."""
    for number in range(50):
        stage.ask(asker, chain="d", height=number + 1)
    row = stage.chain.answers.document(asker.name, 0)["failing"]
    assert (row["count"], row["reason"], row["why"]) == (50, "wrong_chain", "wrong chain; asked for 'd'")
    stage.ask(asker)
    stage.permit()
    assert stage.chain.answers.document(asker.name, 0)["failing"] is None
    stage.ask(asker, height=6)
    stage.chain.on_refused(ReserveRefused(NONCE, stage.sent[-1].request_id, 0, Reason.NOT_LEADER, HRS(0, 0, 0)))
    row = stage.chain.answers.document(asker.name, 0)["failing"]
    assert (row["count"], row["reason"]) == (1, "not_leader")


def test_what_was_counted_together_is_told_late_with_the_time_of_the_latest(
    stage: Stage, asker: Requester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a validator that has left would be refused seconds after that."""
    wall = [1000.0]
    monkeypatch.setattr("time.time", lambda: wall[0])
    for wall[0] in (1000.0, 1000.5, 1001.0):
        stage.ask(asker, chain="d")
    wall[0], stage.now_ns = 1060.0, stage.now_ns + 60_000_000_000
    stage.chain.tell_folded()
    assert [one["at"] for one in stage.chain.refusals] == [1000.0, 1001.0]


def test_who_is_told_off_again_after_a_long_silence_is_the_first_again(stage: Stage, asker: Requester) -> None:
    stage.ask(asker, chain="d")
    stage.now_ns += int(FOLD_MAX_S * 1e9) - 1
    stage.ask(asker, chain="d")
    stage.chain.tell_folded()
    assert told(stage) == [("refused", None), ("refused", 1)]
    stage.now_ns += int(FOLD_MAX_S * 1e9)
    stage.ask(asker, chain="d")
    assert told(stage)[2:] == [("refused", None)]


def test_requests_without_an_answer_are_folded_too(core: Core, asker: Requester) -> None:
    stage = Stage(core)
    stage.full = True
    for number in range(10):
        stage.ask(asker, height=number + 1)
    assert told(stage) == [("unanswered", None)]
    assert stage.chain.counters.unanswered == {"no_permit": 10}


def test_kinds_of_refusal_beyond_the_bound_push_out_the_oldest() -> None:
    folds: Folds[int, str] = Folds()
    for kind in range(FOLD_KINDS_MAX + 1):
        assert folds.add(kind, "x", kind)
    assert not folds.add(FOLD_KINDS_MAX, "x", FOLD_KINDS_MAX)
    assert folds.add(0, "x", FOLD_KINDS_MAX + 1)
    assert len(folds._alike) == FOLD_KINDS_MAX


def test_a_permit_that_does_not_come_gets_an_empty_answer_and_the_next_is_served(stage: Stage, core: Core) -> None:
    first, second = Requester(core), Requester(core)
    stage.ask(first)
    stage.ask(second, height=6)
    stage.chain.expire()
    assert first.answers == []
    stage.now_ns = int(PERMIT_TIMEOUT_S * 1e9)
    stage.chain.expire()
    assert first.answers == [Message(Kind.PING_RESPONSE)]
    stage.permit(0)  # too late: it was answered
    assert len(first.answers) == 1
    stage.permit()
    assert second.answers[0].vote is not None
    assert stage.chain.counters.unanswered == {"no_permit": 1}


def test_a_full_queue_and_an_unknown_mark_get_an_empty_answer(stage: Stage, asker: Requester) -> None:
    stage.full = True
    stage.ask(asker)
    assert asker.answers == [Message(Kind.PING_RESPONSE)]
    fresh = Stage(stage.core)
    fresh.chain._knows_mark = False
    fresh.ask(asker)
    assert asker.answers[-1] == Message(Kind.PING_RESPONSE)
    assert fresh.chain.counters.unanswered == {"state_away": 1}
    assert fresh.sent == []


def test_a_state_process_that_comes_back_is_told_and_asked_again(stage: Stage, core: Core) -> None:
    asker = Requester(core)
    stage.ask(asker)
    stage.permit()
    stage.ask(asker, height=6)
    stage.sent.clear()
    stage.chain.on_state_hello()
    assert [type(message) for message in stage.sent] == [Signed, Reserve]
    stage.permit()
    assert len(asker.answers) == 2


def test_a_report_that_found_no_room_is_sent_later(stage: Stage, asker: Requester) -> None:
    stage.ask(asker)
    stage.full = True
    stage.permit()
    stage.full = False
    stage.chain.report()
    assert isinstance(stage.sent[-1], Signed)
    count = len(stage.sent)
    stage.chain.report()
    assert len(stage.sent) == count


def test_the_next_is_served_at_once_when_the_one_under_way_has_gone(stage: Stage, core: Core) -> None:
    gone, stays = Requester(core), Requester(core)
    stage.ask(gone)
    asked = len(stage.sent)
    gone.open = False
    stage.ask(stays)
    assert len(stage.sent) == asked + 1
    assert isinstance(stage.sent[-1], Reserve)


def test_what_was_given_up_while_another_waits_for_its_majority_is_not_kept(stage: Stage, core: Core) -> None:
    """An agent may ask and give up as often as it likes, a megabyte each: while no majority is
    there nothing takes the line's place.
    """
    waits = Requester(core)
    stage.ask(waits)
    given_up = []
    for height in range(6, 106):
        one = Requester(core)
        stage.ask(one, height)
        one.open = False
        given_up.append(weakref.ref(one))
    del one
    stage.ask(waits, 200)
    assert [ref for ref in given_up if ref() is not None] == []
    stage.permit()
    assert waits.answers


def test_a_lease_that_comes_back_finds_nothing_under_way(stage: Stage, core: Core) -> None:
    before, after = Requester(core), Requester(core)
    stage.ask(before)
    late = stage.sent[-1]
    stage.chain.abandon()
    stage.ask(after)
    assert isinstance(late, Reserve)
    assert isinstance(stage.sent[-1], Reserve)
    stage.chain.on_permit(PermitGranted(late.nonce, late.request_id, late.chain, Permit(late.sign_bytes)))
    assert not after.answers
    stage.permit()
    assert after.answers


def test_nobody_is_signed_for_who_has_gone(stage: Stage, core: Core) -> None:
    gone, stays = Requester(core), Requester(core)
    stage.ask(gone)
    stage.ask(stays, height=6)
    gone.open = False
    stage.permit()
    assert (gone.answers, stage.chain.slot.last_signed) == ([], HRS(0, 0, 0))
    stage.permit()
    assert stays.answers[0].vote is not None


def test_a_refusal_of_the_state_process_is_final_and_in_words(stage: Stage, asker: Requester) -> None:
    stage.ask(asker)
    stage.chain.on_refused(ReserveRefused(NONCE, 1, 0, Reason.HEIGHT_REGRESSION, HRS(9, 0, 1)))
    error = asker.answers[0].error
    assert error is not None
    assert error.description == "height regression: asked for 5/0/3, promised up to 9/0/1"


def test_a_mark_never_lowers_what_the_signer_knows(stage: Stage, asker: Requester) -> None:
    stage.ask(asker)
    stage.permit()
    stage.chain.on_mark(Mark(NONCE, 0, Watermark(HRS(1, 0, 1))))
    assert stage.chain.watermark.hrs == HRS(5, 0, 3)


def test_what_is_signed_and_what_is_missed_is_tallied(stage: Stage, asker: Requester) -> None:
    for height in (5, 7):
        stage.ask(asker, height)
        stage.permit()
    stage.ask(asker, 8)
    stage.now_ns += int(PERMIT_TIMEOUT_S * 1e9) + 1
    stage.chain.expire()
    stage.ask(asker, 10)
    stage.permit()
    tally = stage.chain.tally
    precommits = tally.kinds[3]
    assert (precommits.signed, precommits.height, precommits.missed) == (3, 10, 3)
    assert tally.missed == {"unanswered": 1, "validator_away": 0, "not_asked": 2}
    stage.chain.abandon()  # the lease is gone: what follows is another node's
    stage.ask(asker, 20)
    stage.permit()
    assert (precommits.signed, precommits.missed) == (4, 3)


def test_an_address_too_long_for_the_audit_log_ends_in_an_ellipsis() -> None:
    """Between characters: what is written is UTF-8."""
    assert _cut("tcp://a:1") == b"tcp://a:1"
    assert _cut("a" * AUDIT_VALIDATOR_MAX_BYTES) == b"a" * AUDIT_VALIDATOR_MAX_BYTES
    for text in ("a" * 161, "ä" * 100, "a" + "ä" * 100, "ab" + "\u20ac" * 100):
        cut = _cut(text)
        assert len(cut) <= AUDIT_VALIDATOR_MAX_BYTES
        assert cut.decode().endswith("…")
        assert text.startswith(cut.decode()[:-1])
