"""Decisions on their way to the audit log: both cores write the same bytes, and what
cannot be one is told.
"""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometkms.core import native
from cometkms.core.native.codec import ffi
from cometkms.core.native.queue import RingQueue
from cometkms.core.pure.audit import pack
from cometkms.core.pure.core import CORE as PURE
from cometkms.core.pure.queue import SocketQueue
from cometkms.errors import InvariantError
from cometkms.limits import (
    AUDIT_VALIDATOR_MAX_BYTES,
    QUEUE_SLOT_BYTES,
    QUEUE_SLOTS,
    RAW_UNIQUE_ID_MAX_BYTES,
    SIGN_BYTES_MAX_BYTES,
)
from cometkms.model import BYTES_OUTCOMES, HRS, Decision, Kind, Outcome, Reason
from cometkms.wire.decisions import BytesNote, decode

CORE = native.load()
LIFE = 2**64 - 1
NOTES = st.builds(
    BytesNote,
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**32 - 1),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=RAW_UNIQUE_ID_MAX_BYTES),
)
OF_VOTES = st.builds(
    Decision,
    outcome=st.sampled_from(sorted(set(Outcome) - BYTES_OUTCOMES)),
    reason=st.sampled_from(Reason),
    kind=st.sampled_from(Kind),
    chain=st.integers(0, 2**16 - 1),
    hrs=st.builds(HRS, st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1), st.integers(0, 255)),
    sign_bytes=st.binary(max_size=SIGN_BYTES_MAX_BYTES),
    block_hash=st.binary(max_size=32),
    validator=st.binary(max_size=AUDIT_VALIDATOR_MAX_BYTES),
    identity=st.sampled_from([b"", bytes(range(32))]),
    took_ns=st.integers(0, 2**32 - 1).map(lambda us: us * 1000),
)
OF_BYTES = st.builds(
    Decision,
    outcome=st.sampled_from(sorted(BYTES_OUTCOMES)),
    sign_bytes=NOTES.map(BytesNote.pack),
    validator=st.just(b"v"),
)
DECISIONS = st.one_of(OF_VOTES, OF_BYTES)


@given(NOTES)
def test_what_is_told_of_bytes_reads_back(note: BytesNote) -> None:
    assert BytesNote.unpack(note.pack()) == note


@pytest.mark.parametrize("size", [0, 35, 36 + RAW_UNIQUE_ID_MAX_BYTES + 1])
@pytest.mark.parametrize("outcome", sorted(BYTES_OUTCOMES))
def test_a_decision_about_bytes_of_another_form_is_refused(outcome: Outcome, size: int) -> None:
    with pytest.raises(InvariantError, match="a decision about bytes"):
        decode(pack(LIFE, 1, 1, Decision(outcome, sign_bytes=bytes(size))))


def test_what_cannot_be_printed_of_a_unique_id_is_not_told() -> None:
    note = BytesNote.unpack(bytes(32) + (5).to_bytes(4, "little") + b"a\x1b[2J\xff")
    assert (note.length, note.unique_id) == (5, "a?[2J?")


@given(DECISIONS)
def test_both_cores_write_the_same_and_it_reads_back(decision: Decision) -> None:
    queue = RingQueue()
    CORE.trail(queue, LIFE).note(decision)
    message = queue.pop()
    queue.close()
    assert message is not None
    noted = decode(message)
    assert (noted.life, noted.number, noted.decision) == (LIFE, 1, decision)
    assert message == pack(LIFE, 1, noted.at_ns, decision)


def test_the_outcomes_of_c_are_the_models() -> None:
    of_c = ffi.typeof("enum ck_outcome").elements
    assert {text: number for number, text in of_c.items()} == {f"CK_OUTCOME_{one.name}": one.value for one in Outcome}


@pytest.mark.parametrize("core", [CORE, PURE], ids=["native", "pure"])
def test_a_full_queue_loses_what_it_cannot_hold_and_the_numbers_say_so(core: "native.NativeCore") -> None:
    queue = RingQueue() if core is CORE else SocketQueue()
    trail = core.trail(queue, LIFE)
    for _ in range(2 * QUEUE_SLOTS + 1000):
        trail.note(Decision(Outcome.SIGNED, sign_bytes=bytes(200)))
    numbers = []
    while (message := queue.pop()) is not None:
        numbers.append(decode(message).number)
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) < 2 * QUEUE_SLOTS + 1000
    trail.note(Decision(Outcome.REFUSED))
    assert decode(queue.pop() or b"").number == 2 * QUEUE_SLOTS + 1001
    queue.close()


def test_signatures_wake_the_reader_when_the_queue_is_half_full_and_all_else_at_once() -> None:
    queue = RingQueue()
    trail = CORE.trail(queue, LIFE)
    awake = []
    for _ in range(QUEUE_SLOTS // 2):
        trail.note(Decision(Outcome.SIGNED))
        awake.append(is_awake(queue))
    assert awake == [False] * (QUEUE_SLOTS // 2 - 1) + [True]
    queue.discard()
    trail.note(Decision(Outcome.REFUSED))
    assert is_awake(queue)
    queue.close()


def is_awake(queue: RingQueue) -> bool:
    import select

    return bool(select.select([queue], [], [], 0)[0])


def test_a_ring_whose_other_side_is_broken_stops_no_signer() -> None:
    queue = RingQueue()
    struct.pack_into("<Q", queue._memory, 0, 2**63)  # the consumer's index
    trail = CORE.trail(queue, LIFE)
    for _ in range(3):
        trail.note(Decision(Outcome.SIGNED))
    queue.close()


def test_what_is_too_long_for_a_record_is_left_out() -> None:
    """A block hash of a request that was refused for it."""
    odd = Decision(Outcome.REFUSED, Reason.BAD_BLOCK_ID, block_hash=bytes(1000), sign_bytes=bytes(1000))
    queue = RingQueue()
    CORE.trail(queue, LIFE).note(odd)
    message = queue.pop() or b""
    noted = decode(message)
    assert (noted.decision.block_hash, noted.decision.sign_bytes) == (b"", b"")
    assert message == pack(LIFE, 1, noted.at_ns, odd)
    queue.close()


def test_an_asker_that_does_not_fit_is_a_bug_of_ours() -> None:
    queue = RingQueue()
    for trail in (CORE.trail(queue, LIFE), PURE.trail(queue, LIFE)):
        with pytest.raises(InvariantError):
            trail.note(Decision(Outcome.SIGNED, validator=bytes(AUDIT_VALIDATOR_MAX_BYTES + 1)))
    queue.close()


WHOLE = pack(1, 1, 1, Decision(Outcome.SIGNED, sign_bytes=b"s", identity=bytes(32), validator=b"v"))


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        WHOLE[:49],
        WHOLE[:-1],
        WHOLE + b"x",
        WHOLE[:37] + b"\0" + WHOLE[38:],  # outcome
        WHOLE[:37] + b"\x08" + WHOLE[38:],
        WHOLE[:38] + b"\xff" + WHOLE[39:],  # reason
        WHOLE[:39] + b"\xff" + WHOLE[40:],  # kind
        WHOLE[:42] + b"\xff" + WHOLE[43:] + bytes(254),  # sign bytes
        WHOLE[:43] + b"\x21" + WHOLE[44:] + bytes(33),  # block hash
        WHOLE[:44] + b"\x1f" + WHOLE[45:-1],  # identity
        WHOLE[:45] + b"\xff" + WHOLE[46:] + bytes(254),  # address
    ],
)
def test_what_cannot_be_a_decision_is_told(wrong: bytes) -> None:
    assert len(wrong) <= QUEUE_SLOT_BYTES
    with pytest.raises(InvariantError):
        decode(wrong)
