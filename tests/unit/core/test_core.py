"""Session, key slot, frames and Merlin: what each refuses, on both cores."""

import base64
import copy
import dataclasses
import os
import pickle
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from nacl.signing import SigningKey

from cometkms.core.interface import Core, KeySlot, Session
from cometkms.core.native import crypto as native_crypto
from cometkms.core.pure import crypto as pure_crypto
from cometkms.core.pure.merlin import Merlin
from cometkms.errors import InvariantError, KeyFileError, ProtocolError
from cometkms.limits import ERROR_TEXT_MAX_BYTES, MESSAGE_MAX_BYTES, RESPONSE_MAX_BYTES, VOTE_EXTENSION_MAX_BYTES
from cometkms.model import HRS, BlockID, Dialect, Kind, Line, Message, Permit, Reason, Timestamp, Vote

CHAIN = "test-1"
SEED = bytes(range(32))
PUBLIC = bytes(SigningKey(SEED).verify_key)
BLOCK = BlockID(b"a" * 32, 1, b"b" * 32)


def slot_of(core: Core, chain: str = CHAIN) -> KeySlot:
    return core.key_slot(bytearray(base64.b64encode(SEED + PUBLIC)), chain)


def vote(height: int = 5, block: BlockID = BLOCK, step: int = 2, extension: bytes = b"", second: int = 0) -> Message:
    ballot = Vote(step, height, 0, block, Timestamp(1_700_000_000 + second, 0), b"v" * 20, 0, b"", extension)
    return Message(Kind.SIGN_VOTE_REQUEST, CHAIN, vote=ballot)


def asked(core: Core, message: Message, dialect: Dialect = Dialect.PROTO) -> Session:
    session = core.session(dialect, CHAIN, None, b"")
    wire = core.encode_message(dialect, message)
    for at in range(0, len(wire), len(session.inbox)):
        part = wire[at : at + len(session.inbox)]
        session.inbox[: len(part)] = part
        session.received(len(part))
    assert session.next_request() is not None
    return session


def sign_bytes(core: Core, message: Message) -> bytes:
    return core.check_request(Dialect.PROTO, CHAIN, message).sign_bytes


# --- key slot ---


def test_the_slot_wipes_what_it_was_given(core: Core) -> None:
    secret = bytearray(base64.b64encode(SEED + PUBLIC))
    slot = core.key_slot(secret, CHAIN)
    assert slot.public_key == PUBLIC
    assert not any(secret)


@pytest.mark.parametrize(
    "text", [b"", b"!!!!", base64.b64encode(SEED), base64.b64encode(SEED + SEED), base64.b64encode(bytes(80))]
)
def test_a_secret_that_is_no_key_is_refused_and_wiped(core: Core, text: bytes) -> None:
    secret = bytearray(text)
    with pytest.raises(KeyFileError):
        core.key_slot(secret, CHAIN)
    assert not any(secret)


def test_the_slot_signs_once_at_a_place_and_the_same_again(core: Core) -> None:
    slot, data = slot_of(core), sign_bytes(core, vote())
    signature = slot.sign(Permit(data))
    assert core.verify(PUBLIC, data, signature)
    assert slot.sign(Permit(data)) == signature
    assert slot.last_signed == HRS(5, 0, 3)


@pytest.mark.parametrize(
    "other",
    [vote(block=BlockID(b"x" * 32, 1, b"b" * 32)), vote(second=1), vote(height=4), vote(step=1), vote(block=BlockID())],
    ids=["block", "timestamp", "height", "step", "nil"],
)
def test_the_slot_signs_nothing_else_at_or_below_its_mark(core: Core, other: Message) -> None:
    slot = slot_of(core)
    slot.sign(Permit(sign_bytes(core, vote())))
    with pytest.raises(InvariantError):
        slot.sign(Permit(sign_bytes(core, other)))
    assert slot.last_signed == HRS(5, 0, 3)


def test_the_slot_refuses_another_chain_and_what_is_not_canonical(core: Core) -> None:
    other = core.key_slot(bytearray(base64.b64encode(SEED + PUBLIC)), "other")
    with pytest.raises(InvariantError):
        other.sign(Permit(sign_bytes(core, vote())))
    for data in (b"", b"hello", sign_bytes(core, vote()) + b"\0", sign_bytes(core, vote())[:-1]):
        with pytest.raises(InvariantError):
            slot_of(core).sign(Permit(data))


def test_a_raised_mark_never_falls_and_a_burnt_one_signs_nothing(core: Core) -> None:
    slot, data = slot_of(core), sign_bytes(core, vote())
    slot.raise_mark(HRS(5, 0, 3), b"")
    slot.raise_mark(HRS(1, 0, 1), b"")
    assert slot.last_signed == HRS(5, 0, 3)
    with pytest.raises(InvariantError):
        slot.sign(Permit(data))


def test_different_bytes_raised_at_one_place_burn_it(core: Core) -> None:
    slot, data = slot_of(core), sign_bytes(core, vote())
    slot.raise_mark(HRS(5, 0, 3), data)
    slot.raise_mark(HRS(5, 0, 3), sign_bytes(core, vote(second=9)))
    with pytest.raises(InvariantError):
        slot.sign(Permit(data))


def test_a_closed_slot_signs_nothing(core: Core) -> None:
    slot = slot_of(core)
    slot.close()
    slot.close()
    with pytest.raises(InvariantError):
        slot.sign(Permit(sign_bytes(core, vote())))


def test_a_slot_cannot_be_copied_pickled_or_printed(core: Core) -> None:
    slot = slot_of(core)
    for copier in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            copier(slot)
    assert SEED.hex() not in repr(slot)


def extension_signature(core: Core, slot: Any, held: bytes, content: bytes) -> bytes | None:
    """What the slot gives who asks it directly, past the session; None: it refuses."""
    if isinstance(slot, pure_crypto.PureKeySlot):
        try:
            return slot.sign_extension(held, content)
        except InvariantError:
            return None
    ffi, lib = native_crypto.ffi, native_crypto.lib
    scratch, signature = ffi.new("uint8_t[]", len(content) + 200), ffi.new("uint8_t[64]")
    at = ffi.new("uint8_t[]", content)
    status = lib.ck_slot_sign_extension(slot.c, held, len(held), (at, len(content)), scratch, len(scratch), signature)
    return bytes(ffi.buffer(signature)) if status == lib.CK_OK else None


def test_beside_a_precommit_nothing_but_an_extension_of_its_own_place_is_signed(core: Core) -> None:
    """Whoever calls the slot directly offers a vote's sign bytes as the "extension": they are
    wrapped, never signed as they are.
    """
    slot, held = slot_of(core), sign_bytes(core, vote())
    slot.sign(Permit(held))
    for wanted in (
        sign_bytes(core, vote(height=9)),
        sign_bytes(core, vote(block=BlockID(b"x" * 32, 1, b"b" * 32))),
        b"",
    ):
        made = extension_signature(core, slot, held, wanted)
        assert made is not None
        assert not core.verify(PUBLIC, wanted, made)
        assert core.verify(PUBLIC, core.extension_sign_bytes(CHAIN, HRS(5, 0, 3), wanted), made)
    assert extension_signature(core, slot, sign_bytes(core, vote(height=6)), b"x") is None, "not the one at the mark"
    assert slot.last_signed == HRS(5, 0, 3)


# --- session ---


@pytest.mark.parametrize("given", [b"bytes", None, SimpleNamespace(sign_bytes=b"x")], ids=["bytes", "none", "alike"])
def test_nothing_is_signed_for_what_is_no_permit(core: Core, given: object) -> None:
    """Not even canonical bytes: they are a vote, and nobody promised it."""
    slot, message = slot_of(core), vote()
    for wrong in (given, sign_bytes(core, message)):
        with pytest.raises(InvariantError, match="for a permit only"):
            slot.sign(wrong)  # type: ignore[arg-type]
        with pytest.raises(InvariantError, match="for a permit only"):
            asked(core, message).answer_sign(slot, wrong)  # type: ignore[arg-type]
    assert slot.last_signed == HRS(0, 0, 0)


def test_only_the_permits_bytes_are_signed_and_they_must_be_the_requests(core: Core) -> None:
    slot, session = slot_of(core), asked(core, vote())
    with pytest.raises(InvariantError):
        session.answer_sign(slot, Permit(sign_bytes(core, vote(height=6))))
    assert slot.last_signed == HRS(0, 0, 0)
    held = sign_bytes(core, vote(second=77))
    signature, answer = session.answer_sign(slot, Permit(held))
    signed = core.decode_message(Dialect.PROTO, answer).vote
    assert signed is not None
    assert signed.timestamp == Timestamp(1_700_000_077, 0)
    assert core.verify(PUBLIC, held, signature)


def test_a_repeat_needs_a_signature_that_verifies(core: Core) -> None:
    slot, data = slot_of(core), sign_bytes(core, vote())
    signature = slot.sign(Permit(data))
    session = asked(core, vote(second=5))
    with pytest.raises(InvariantError):
        session.answer_repeat(slot, data, bytes(64))
    answer = core.decode_message(Dialect.PROTO, session.answer_repeat(slot, data, signature))
    assert answer.vote is not None
    assert (answer.vote.signature, answer.vote.timestamp.seconds) == (signature, 1_700_000_000)


@pytest.mark.parametrize("size", [0, 1, 5000, VOTE_EXTENSION_MAX_BYTES])
def test_extensions_are_signed_and_never_sent_back(core: Core, size: int) -> None:
    slot, message = slot_of(core), vote(extension=bytes(size))
    _, answer = asked(core, message).answer_sign(slot, Permit(sign_bytes(core, message)))
    assert len(answer) < RESPONSE_MAX_BYTES
    signed = core.decode_message(Dialect.PROTO, answer).vote
    assert signed is not None
    assert signed.extension == b""
    expected = core.extension_sign_bytes(CHAIN, HRS(5, 0, 3), bytes(size))
    assert core.verify(PUBLIC, expected, signed.extension_signature)


@pytest.mark.parametrize("message", [vote(step=1), vote(block=BlockID())], ids=["prevote", "nil precommit"])
def test_no_extension_signature_where_none_belongs(core: Core, message: Message) -> None:
    _, answer = asked(core, message).answer_sign(slot_of(core), Permit(sign_bytes(core, message)))
    signed = core.decode_message(Dialect.PROTO, answer).vote
    assert signed is not None
    assert signed.extension_signature == b""


@pytest.mark.parametrize("second", [0, 9], ids=["the same", "another timestamp"])
def test_a_repeat_signs_the_extension_that_the_first_answer_lacked(core: Core, second: int) -> None:
    """v1.x: skip_extension_signing may change between repeats; the recorded signature and timestamp
    come back either way.
    """
    slot, first = slot_of(core), dataclasses.replace(vote(extension=b"x"), skip_extension=True)
    held = sign_bytes(core, first)
    signature, answer = asked(core, first).answer_sign(slot, Permit(held))
    signed = core.decode_message(Dialect.PROTO, answer).vote
    assert signed is not None
    assert signed.extension_signature == b""
    again = vote(extension=b"x", second=second)
    repeated = core.decode_message(Dialect.PROTO, asked(core, again).answer_repeat(slot, held, signature)).vote
    assert repeated is not None
    assert (repeated.signature, repeated.timestamp) == (signature, signed.timestamp)
    wanted = core.extension_sign_bytes(CHAIN, HRS(5, 0, 3), b"x")
    assert core.verify(PUBLIC, wanted, repeated.extension_signature)
    skipped = dataclasses.replace(again, skip_extension=True)
    last = core.decode_message(Dialect.PROTO, asked(core, skipped).answer_repeat(slot, held, signature)).vote
    assert last == signed


@pytest.mark.parametrize(
    ("messages", "line"),
    [
        ([Message(Kind.PING_REQUEST), vote(), vote(block=BlockID())], Line.UNKNOWN),
        ([vote(step=1)], Line.V0),
        ([dataclasses.replace(vote(step=1), skip_extension=True), vote()], Line.V1),
        ([dataclasses.replace(vote(), skip_extension=True)], Line.V1),
        ([Message(Kind.SIGN_BYTES_REQUEST, value=b"v")], Line.UNKNOWN),
    ],
    ids=["nothing that tells", "a prevote without skip", "and a precommit without it", "a precommit", "bytes"],
)
def test_the_line_is_known_from_the_first_vote_that_tells(core: Core, messages: list[Message], line: Line) -> None:
    session = core.session(Dialect.PROTO, CHAIN, None, b"")
    for message in messages:
        assert session.line in (Line.UNKNOWN, line)
        wire = core.encode_message(Dialect.PROTO, message)
        session.inbox[: len(wire)] = wire
        session.received(len(wire))
        assert session.next_request() is not None
        session.answer_empty()
    assert session.line is line


def test_v033_is_of_no_line(core: Core) -> None:
    assert asked(core, vote(step=1), Dialect.AMINO).line is Line.UNKNOWN


def test_an_announced_length_over_the_bound_is_refused_at_once(core: Core) -> None:
    session = core.session(Dialect.PROTO, CHAIN, None, b"")
    session.inbox[:4] = b"\x81\x80\x80\x01"  # 2 MiB and one
    session.received(4)
    with pytest.raises(ProtocolError):
        session.next_request()
    assert MESSAGE_MAX_BYTES < 1 << 21


def test_one_answer_for_one_request(core: Core) -> None:
    session = asked(core, Message(Kind.PING_REQUEST))
    with pytest.raises(InvariantError):
        session.next_request()
    session.answer_pong()
    with pytest.raises(InvariantError):
        session.answer_pong()


def test_errors_carry_words_cut_at_a_character(core: Core) -> None:
    answer = asked(core, vote()).answer_error(7, "ü" * ERROR_TEXT_MAX_BYTES)
    error = core.decode_message(Dialect.PROTO, answer).error
    assert error is not None
    assert error.code == 7
    assert error.description == "ü" * (ERROR_TEXT_MAX_BYTES // 2)


def test_the_empty_answer_is_one_that_validators_ask_again_after(core: Core) -> None:
    """A pong; over noise:// the one byte of an empty message is lost, and every later answer is
    taken for another request's.
    """
    assert asked(core, vote()).answer_empty() == bytes.fromhex("024200")
    v033 = core.decode_message(Dialect.AMINO, asked(core, vote(), Dialect.AMINO).answer_empty())
    assert v033.kind is Kind.PING_RESPONSE


def test_a_senseless_request_is_judged_and_not_signed(core: Core) -> None:
    session = asked(core, Message(Kind.SIGN_VOTE_REQUEST, CHAIN))
    with pytest.raises(InvariantError):
        session.answer_sign(slot_of(core), Permit(sign_bytes(core, vote())))
    request = core.check_request(Dialect.PROTO, CHAIN, Message(Kind.SIGN_VOTE_REQUEST, CHAIN))
    assert request.reason is Reason.MISSING_PAYLOAD


# --- crypto ---


def test_merlins_published_vector() -> None:
    transcript = Merlin(b"test protocol")
    transcript.append(b"some label", b"some data")
    expected = "d5a21972d0d5fe320c0d263fac7fffb8145aa640af6e9bca177c03c7efcf0615"
    assert transcript.challenge(b"challenge", 32).hex() == expected
    ffi, lib = native_crypto.ffi, native_crypto.lib
    state, out = ffi.new("ck_merlin *"), ffi.new("uint8_t[32]")
    lib.ck_merlin_init(state, b"test protocol", 13)
    lib.ck_merlin_append(state, b"some label", b"some data", 9)
    lib.ck_merlin_challenge(state, b"challenge", out, 32)
    assert bytes(ffi.buffer(out)).hex() == expected


def test_hkdf_rfc5869_case_3() -> None:
    """No salt, no info: 22 bytes of 0x0b, 42 bytes out."""
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    assert pure_crypto.hkdf_sha256(b"\x0b" * 22, b"", 42).hex() == expected
    ffi, lib = native_crypto.ffi, native_crypto.lib
    out = ffi.new("uint8_t[42]")
    lib.ck_hkdf_sha256(b"\x0b" * 22, 22, b"", 0, out, 42)
    assert bytes(ffi.buffer(out)).hex() == expected


def test_a_low_order_key_and_a_reflected_key_are_refused(core: Core) -> None:
    own = bytes(SigningKey(SEED).to_curve25519_private_key().public_key)
    for remote in (bytes(32), b"\x01" + bytes(31), own):
        with pytest.raises(ProtocolError):
            core.key_schedule(SEED, own, remote)


@pytest.mark.parametrize("damage", [0, 500, 1043])
def test_a_bent_frame_is_refused(core: Core, damage: int) -> None:
    sealed = bytearray(core.frames(b"1" * 32, b"2" * 32).seal(b"data"))
    sealed[damage] ^= 1
    with pytest.raises(ProtocolError):
        core.frames(b"2" * 32, b"1" * 32).open(bytes(sealed))


def test_frames_in_another_order_or_twice_are_refused(core: Core) -> None:
    sealer = core.frames(b"1" * 32, b"2" * 32)
    first, second = sealer.seal(b"one"), sealer.seal(b"two")
    for wrong in (second, first + first):
        with pytest.raises(ProtocolError):
            core.frames(b"2" * 32, b"1" * 32).open(wrong)


def test_verify_refuses_what_has_the_wrong_size(core: Core) -> None:
    assert not core.verify(PUBLIC, b"m", os.urandom(63))
    assert not core.verify(PUBLIC[:31], b"m", bytes(64))


_IN_A_CYCLE = """
import gc
from cometkms.core import choose
from cometkms.errors import ProtocolError

core, key, kept = choose.load(), b"k" * 32, []
cipher = core.{kind}(key, key)
with memoryview(bytearray(1 << 14)) as view:
    try:
        cipher.open(view[:1044])
    except ProtocolError as error:
        kept += [kept, error]
del view, kept
gc.collect()
print("collected")
"""


@pytest.mark.parametrize("kind", ["frames", "noise"])
def test_a_frame_that_does_not_check_lends_nothing_beyond_its_refusal(core: Core, kind: str) -> None:
    """Where the refusal's traceback is found by the collector, a view that C may still look at ends
    the process (CPython 3.11, cffi 2).
    """
    program = _IN_A_CYCLE.format(kind=kind)
    chosen = {"COMETKMS_PURE": "1"} if core.name == "pure" else {}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **chosen},
    )
    assert (done.returncode, done.stdout) == (0, "collected\n"), done.stderr
