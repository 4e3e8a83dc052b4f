"""Bytes that are no vote at a chain's signer: allowed or refused, by the leader only, counted,
audited, told once where they are many.
"""

import pytest

from cometkms.core.interface import Core
from cometkms.errors import InvariantError
from cometkms.limits import FOLD_FIRST_S, REFUSAL_WORDS_MAX
from cometkms.model import HRS, AllowedBytes, Dialect, Kind, Message, Outcome, Reason
from cometkms.wire.decisions import BytesNote
from tests.unit.signer.test_chain import Requester, Stage, Trail

VALUE = b"\x5a" * 32
VOTE = bytes.fromhex("24080111e8030000000000001902000000000000002a060880e2cfaa063206746573742d31")
BOTH = AllowedBytes(values=True, unique_ids=("fiber-commitment",))


@pytest.fixture
def stage(core: Core) -> Stage:
    """A leader that signs nothing but votes."""
    stage = Stage(core)
    stage.trail = stage.chain._trail = Trail()
    stage.chain.leads = True
    return stage


def ask(stage: Stage, asker: Requester, value: bytes = VALUE, unique_id: str | None = None, chain: str = "c") -> None:
    kind = Kind.SIGN_BYTES_REQUEST if unique_id is None else Kind.SIGN_RAW_BYTES_REQUEST
    message = Message(kind, chain if unique_id is not None else "", value=value, unique_id=unique_id or "")
    session = stage.core.session(Dialect.PROTO, "c", None, stage.core.encode_message(Dialect.PROTO, message))
    request = session.next_request()
    assert request is not None
    stage.chain.sign_bytes(asker, session, request, stage.now_ns)


def test_nothing_is_signed_where_the_settings_allow_nothing(stage: Stage) -> None:
    asker = Requester(stage.core)
    ask(stage, asker)
    ask(stage, asker, unique_id="fiber-commitment")
    assert [(one.kind, one.value) for one in asker.answers] == [(Kind.SIGN_BYTES_RESPONSE, b"")] * 2
    assert all(one.error is not None and one.error.code == Reason.BYTES_NOT_ALLOWED for one in asker.answers)
    assert stage.chain.counters.refused == {"bytes_not_allowed": 2}


def test_a_value_and_raw_bytes_are_signed_and_no_watermark_moves(stage: Stage) -> None:
    asker = Requester(stage.core)
    stage.chain.allow_bytes(BOTH)
    ask(stage, asker)
    ask(stage, asker, unique_id="fiber-commitment")
    public_key = stage.chain.slot.public_key
    texts = (VALUE, stage.core.raw_bytes("c", VALUE, "fiber-commitment"))
    for text, answer in zip(texts, asker.answers, strict=True):
        assert answer.error is None
        assert stage.core.verify(public_key, text, answer.value)
    assert stage.chain.counters.signed_values == 1
    assert stage.chain.counters.signed_raw == {"fiber-commitment": 1}
    assert (stage.chain.watermark.hrs, stage.chain.slot.last_signed) == (HRS(0, 0, 0), HRS(0, 0, 0))
    assert stage.sent == []  # the state process is not asked, and learns nothing


@pytest.mark.parametrize(
    ("value", "unique_id", "chain", "reason"),
    [
        (VOTE, None, "c", Reason.BYTES_ARE_A_VOTE),
        (VOTE[1:], None, "c", Reason.BYTES_ARE_A_VOTE),
        (b"", None, "c", Reason.BAD_BYTES),
        (VALUE, "fiber", "c", Reason.BYTES_NOT_ALLOWED),
        (VALUE, "fiber-commitment", "other", Reason.WRONG_CHAIN),
        (VALUE, "fiber-commitment", "", Reason.EMPTY_CHAIN),
        (b"", "fiber-commitment", "c", Reason.BAD_BYTES),
    ],
)
def test_what_must_not_be_signed_is_refused_for_good_and_audited(
    stage: Stage, value: bytes, unique_id: str | None, chain: str, reason: Reason
) -> None:
    asker = Requester(stage.core)
    stage.chain.allow_bytes(BOTH)
    ask(stage, asker, value, unique_id, chain)
    [answer] = asker.answers
    assert answer.value == b""
    assert answer.error is not None
    assert answer.error.code == reason
    assert stage.chain.counters.refused == {reason.name.lower(): 1}
    [noted] = stage.trail.noted
    assert (noted.outcome, noted.reason) == (Outcome.REFUSED_BYTES, reason)
    told = BytesNote.unpack(noted.sign_bytes)
    assert (told.length, told.unique_id) == (len(value), unique_id or "")
    event, fields = stage.log.events[-1]
    assert (event, fields["sha256"], fields["length"]) == ("refused", told.digest, len(value))
    assert stage.chain.refusals[-1]["reason"] == reason.name.lower()


def test_a_node_that_does_not_lead_signs_none(stage: Stage) -> None:
    """Its connections are closed when it loses the lead; what is read before they are is answered
    empty, and asked again elsewhere.
    """
    asker = Requester(stage.core)
    stage.chain.allow_bytes(BOTH)
    stage.chain.abandon()
    ask(stage, asker)
    assert [one.kind for one in asker.answers] == [Kind.PING_RESPONSE]
    assert stage.chain.counters.unanswered == {"not_leader": 1}
    assert stage.chain.counters.signed_values == 0


def test_what_the_key_slot_refuses_is_not_signed_whatever_the_rule_says(stage: Stage) -> None:
    asker = Requester(stage.core)
    stage.chain.allow_bytes(BOTH)
    stage.chain.slot.allow_bytes(values=False, unique_ids=())
    ask(stage, asker)
    assert [one.kind for one in asker.answers] == [Kind.PING_RESPONSE]
    assert ("bytes not signed", "c") in [(event, fields["chain"]) for event, fields in stage.log.events]


def test_settings_that_no_slot_takes_leave_nothing_allowed(stage: Stage) -> None:
    stage.chain.allow_bytes(BOTH)
    with pytest.raises(InvariantError):
        stage.chain.allow_bytes(AllowedBytes(values=True, unique_ids=("",)))
    asker = Requester(stage.core)
    ask(stage, asker)
    assert asker.answers[0].value == b""


def test_many_alike_are_told_once_and_counted_and_audited_each(stage: Stage) -> None:
    asker = Requester(stage.core)
    stage.chain.allow_bytes(BOTH)
    for _ in range(50):
        ask(stage, asker)
    told = [fields for event, fields in stage.log.events if event == "signed bytes"]
    assert len(told) == 1
    stage.now_ns += int(FOLD_FIRST_S * 1e9)
    stage.chain.tell_folded()
    told = [fields for event, fields in stage.log.events if event == "signed bytes"]
    assert [fields.get("more") for fields in told] == [None, 49]
    assert told[-1]["sha256"] == BytesNote.unpack(stage.trail.noted[-1].sign_bytes).digest
    assert stage.chain.counters.signed_values == 50
    assert [one.outcome for one in stage.trail.noted] == [Outcome.SIGNED_BYTES] * 50


def test_an_id_that_is_taken_back_is_refused_and_its_count_goes_with_it(stage: Stage) -> None:
    """So that no number of reloads makes the board's section larger."""
    asker = Requester(stage.core)
    stage.chain.allow_bytes(BOTH)
    ask(stage, asker, unique_id="fiber-commitment")
    stage.chain.allow_bytes(AllowedBytes(values=True, unique_ids=("other",)))
    ask(stage, asker, unique_id="fiber-commitment")
    assert [bool(one.value) for one in asker.answers] == [True, False]
    assert stage.chain.counters.signed_raw == {}


def test_what_is_left_untold_is_told_at_the_end(stage: Stage) -> None:
    asker = Requester(stage.core)
    stage.chain.allow_bytes(BOTH)
    for _ in range(3):
        ask(stage, asker, unique_id="fiber-commitment")
    stage.chain.tell_folded(all_of_it=True)
    assert [fields.get("more") for event, fields in stage.log.events if event == "signed bytes"] == [None, 2]


def test_a_hostile_id_bursts_no_bound(stage: Stage) -> None:
    asker = Requester(stage.core)
    ask(stage, asker, unique_id="\n\x1b[2J\u202e" * 100_000)
    assert len(str(stage.chain.refusals[-1]["why"])) <= REFUSAL_WORDS_MAX
    told = BytesNote.unpack(stage.trail.noted[-1].sign_bytes)
    assert told.unique_id.isprintable()
    assert stage.log.events[-1][1]["unique_id"] == told.unique_id
