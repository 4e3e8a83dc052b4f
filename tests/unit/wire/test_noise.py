"""noise://'s handshake against listeners that keep to it and such that do not, and its transport
messages, on both cores.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from cometkms.core import native
from cometkms.core.interface import Core
from cometkms.core.pure import core as pure
from cometkms.errors import ConfigError, ProtocolError
from cometkms.limits import NOISE_HANDSHAKE_MAX_BYTES, NOISE_PLAIN_BYTES, NOISE_SEALED_BYTES
from cometkms.model import Dialect, Kind, Message
from cometkms.wire.identity import Identity
from cometkms.wire.noise import NoiseHandshake
from cometkms.wire.peer_id import peer_id, public_key_of
from tests.unit.wire.noise_listener import ED25519, PREFIX, Responder, framed, payload_of

NATIVE, PURE = native.load(), pure.CORE
CORES = st.sampled_from([NATIVE, PURE])
KEYS = (b"r" * 32, b"s" * 32)
VALIDATOR = SigningKey(bytes(range(32)))
SIGNER = Identity(SigningKey(bytes(range(1, 33))))
LOW_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]


def begun(core: Core) -> tuple[NoiseHandshake, Responder]:
    return NoiseHandshake(core, SIGNER, bytes(VALIDATOR.verify_key)), Responder(VALIDATOR)


@pytest.mark.parametrize("size", [1, 7, 33, 500])
def test_both_ends_agree_whatever_the_segments(core: Core, size: int) -> None:
    signer, validator = begun(core)
    wire = framed(validator.message_2(signer.hello[2:]))
    sent = b""
    for at in range(0, len(wire), size):
        assert not signer.done
        sent += signer.feed(wire[at : at + size])
        assert signer.begun or signer.done
    assert signer.done
    assert signer.remote_identity == bytes(VALIDATOR.verify_key)
    validator.take_3(sent[2:])
    assert validator.signer == SIGNER.public_key
    theirs = validator.frames(core)
    assert theirs.open(signer.frames.seal(b"to the validator")) == b"to the validator"
    assert signer.frames.open(theirs.seal(b"to the signer")) == b"to the signer"
    with pytest.raises(ProtocolError):
        signer.feed(b"")


def test_the_hello_is_the_ephemeral_key_and_another_each_time(core: Core) -> None:
    hellos = {begun(core)[0].hello for _ in range(3)}
    assert len(hellos) == 3
    assert {(hello[:2], len(hello)) for hello in hellos} == {(b"\x00\x20", 34)}


@pytest.mark.parametrize("key", LOW_ORDER, ids=["zero", "one", "p-1"])
def test_a_low_order_ephemeral_key_is_refused(core: Core, key: bytes) -> None:
    signer, _ = begun(core)
    assert signer.hello
    with pytest.raises(ProtocolError, match="low-order"):
        signer.feed(framed(key + bytes(170)))


@pytest.mark.parametrize("key", LOW_ORDER, ids=["zero", "one", "p-1"])
def test_a_low_order_static_key_is_refused(core: Core, key: bytes) -> None:
    """The listener can seal its payload: the result that both ends would come to is no secret."""
    signer, validator = begun(core)
    validator.static_public = key
    validator.static = bytes(32)

    def all_zero(_: bytes) -> None:
        validator.ck, validator.k = validator._hkdf(bytes(32))
        validator.n = 0

    whole = validator._mix_key
    validator._mix_key = lambda data: whole(data) if validator.k == b"" else all_zero(data)  # type: ignore[method-assign]
    import tests.unit.wire.noise_listener as listener

    multiply = listener.crypto_scalarmult
    listener.crypto_scalarmult = lambda secret, public: bytes(32) if secret == bytes(32) else multiply(secret, public)
    try:
        message = validator.message_2(signer.hello[2:])
    finally:
        listener.crypto_scalarmult = multiply
    with pytest.raises(ProtocolError, match="low-order"):
        signer.feed(framed(message))
    assert not signer.done


def test_another_identity_is_refused_before_message_3_with_both_ids(core: Core) -> None:
    other = SigningKey(bytes(32))
    signer = NoiseHandshake(core, SIGNER, bytes(VALIDATOR.verify_key))
    message = Responder(other).message_2(signer.hello[2:])
    with pytest.raises(
        ProtocolError, match=f"{peer_id(bytes(other.verify_key))} listens.*{peer_id(bytes(VALIDATOR.verify_key))}"
    ):
        signer.feed(framed(message))
    assert not signer.done
    with pytest.raises(ProtocolError):
        _ = signer.frames


_STATIC = Responder(VALIDATOR, b"e" * 32, b"s" * 32).static_public
_SIGNATURE = VALIDATOR.sign(PREFIX + _STATIC).signature
_OTHERS = VALIDATOR.sign(PREFIX + bytes(32)).signature
_OWN = ED25519 + bytes(VALIDATOR.verify_key)
LIES = {
    "nothing": b"",
    "no signature": b"\x0a\x24" + _OWN,
    "no key": b"\x12\x40" + _SIGNATURE,
    "a signature over another static key": b"\x0a\x24" + _OWN + b"\x12\x40" + _OTHERS,
    "another's key": b"\x0a\x24" + ED25519 + bytes(SigningKey(bytes(32)).verify_key) + b"\x12\x40" + _SIGNATURE,
    "a signature cut short": b"\x0a\x24" + _OWN + b"\x12\x3f" + _SIGNATURE[:63],
    "a secp256k1 key": b"\x0a\x25\x08\x02\x12\x21" + b"\x02" * 33 + b"\x12\x40" + _SIGNATURE,
    "a key of 31 bytes": b"\x0a\x23\x08\x01\x12\x1f" + bytes(31) + b"\x12\x40" + _SIGNATURE,
    "a key without its type": b"\x0a\x22" + _OWN[2:] + b"\x12\x40" + _SIGNATURE,
    "bytes that are no fields": b"\xff" * 20,
    "a number where bytes belong": b"\x08\x01",
}


@pytest.mark.parametrize("payload", LIES.values(), ids=LIES.keys())
def test_a_payload_that_proves_nothing_is_refused(core: Core, payload: bytes) -> None:
    signer = NoiseHandshake(core, SIGNER, bytes(VALIDATOR.verify_key))
    validator = Responder(VALIDATOR, b"e" * 32, b"s" * 32)
    validator.payload = payload
    with pytest.raises(ProtocolError):
        signer.feed(framed(validator.message_2(signer.hello[2:])))
    assert not signer.done


def test_unknown_fields_and_extensions_of_a_payload_are_passed_over(core: Core) -> None:
    signer, validator = begun(core)
    validator.payload = payload_of(VALIDATOR, validator.static_public, b"\x22\x05\x12\x03abc" + b"\xfa\x07\x02xy")
    assert signer.feed(framed(validator.message_2(signer.hello[2:])))
    assert signer.done


@pytest.mark.parametrize("size", [0, 1, 95, NOISE_HANDSHAKE_MAX_BYTES + 1, 65535])
def test_a_message_2_of_another_size_is_refused_at_its_length(core: Core, size: int) -> None:
    signer, _ = begun(core)
    assert signer.hello
    assert signer.feed(size.to_bytes(2, "big")[:1]) == b""
    with pytest.raises(ProtocolError, match=f"announces {size} bytes"):
        signer.feed(size.to_bytes(2, "big")[1:])


@pytest.mark.parametrize("at", [0, 31, 32, 79, 80, 201])
def test_a_bent_message_2_is_refused(core: Core, at: int) -> None:
    signer, validator = begun(core)
    message = bytearray(validator.message_2(signer.hello[2:]))
    message[at] ^= 1
    with pytest.raises(ProtocolError):
        signer.feed(framed(bytes(message)))


def test_bytes_behind_message_2_are_refused(core: Core) -> None:
    signer, validator = begun(core)
    with pytest.raises(ProtocolError, match="behind message 2"):
        signer.feed(framed(validator.message_2(signer.hello[2:])) + b"\0")


@given(CORES, st.binary(max_size=300), st.integers(0, 400))
@settings(max_examples=200, deadline=None)
def test_a_listener_that_says_anything_gets_a_protocol_error_or_waits(core: Core, said: bytes, cut: int) -> None:
    signer, validator = begun(core)
    honest = framed(validator.message_2(signer.hello[2:]))
    try:
        answer = signer.feed(honest[:cut] + said)
    except ProtocolError:
        return
    assert signer.done == bool(answer)
    assert not signer.done or honest == honest[:cut] + said


# --- transport messages ---


@given(CORES, CORES, st.lists(st.binary(max_size=5000), max_size=5), st.data())
@settings(max_examples=100, deadline=None)
def test_any_segmentation_opens_what_was_sealed(one: Core, two: Core, sent: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(map(one.noise(*KEYS).seal, sent))
    opening, got = two.noise(KEYS[1], KEYS[0]), b""
    sealer = two.noise(*KEYS)
    assert wire == b"".join(map(sealer.seal, sent))
    while wire:
        size = data.draw(st.integers(1, len(wire)))
        got += opening.open(wire[:size])
        wire = wire[size:]
    assert got == b"".join(sent)


@pytest.mark.parametrize("size", [0, 1, NOISE_PLAIN_BYTES, NOISE_PLAIN_BYTES + 1, 3 * NOISE_PLAIN_BYTES])
def test_data_is_cut_into_messages_as_libp2p_cuts_it(core: Core, size: int) -> None:
    sealed = core.noise(*KEYS).seal(bytes(size))
    lengths, rest = [], sealed
    while rest:
        lengths.append(int.from_bytes(rest[:2], "big"))
        rest = rest[2 + lengths[-1] :]
    whole, part = divmod(size, NOISE_PLAIN_BYTES)
    assert lengths == [65535] * whole + ([part + 16] if part else [])
    assert core.noise(KEYS[1], KEYS[0]).open(sealed) == bytes(size)


@pytest.mark.parametrize("damage", [2, 10, 21])
def test_a_bent_message_is_refused(core: Core, damage: int) -> None:
    sealed = bytearray(core.noise(*KEYS).seal(b"data"))
    sealed[damage] ^= 1
    with pytest.raises(ProtocolError, match="authentication failed"):
        core.noise(KEYS[1], KEYS[0]).open(bytes(sealed))


@pytest.mark.parametrize("size", [0, 1, 15])
def test_a_message_without_room_for_its_tag_is_refused(core: Core, size: int) -> None:
    with pytest.raises(ProtocolError, match="malformed"):
        core.noise(*KEYS).open(framed(bytes(size)))


def test_messages_in_another_order_or_twice_are_refused(core: Core) -> None:
    sealer = core.noise(*KEYS)
    first, second = sealer.seal(b"one"), sealer.seal(b"two")
    for wrong in (second, first + first):
        with pytest.raises(ProtocolError):
            core.noise(KEYS[1], KEYS[0]).open(wrong)


def test_an_answer_is_one_message_and_the_empty_one_is_a_pong(core: Core) -> None:
    """libp2p's reader takes what follows a message that was used up for a byte 0, so an answer is
    one message, and never that byte.
    """
    wire = core.encode_message(Dialect.PROTO, Message(Kind.PUB_KEY_REQUEST, "c"))
    session = core.session(Dialect.PROTO, "c", core.noise(*KEYS), b"")
    theirs = core.noise(KEYS[1], KEYS[0])
    opened = []
    for answer in (
        lambda: session.answer_pub_key(bytes(32)),
        session.answer_empty,
        lambda: session.answer_error(1, "x" * 1024),
    ):
        sealed = theirs.seal(wire)
        for at in range(0, len(sealed), 9):
            part = sealed[at : at + 9]
            assert session.next_request() is None
            session.inbox[: len(part)] = part
            session.received(len(part))
            assert session.partial
        assert session.next_request() is not None
        sent = answer()
        assert int.from_bytes(sent[:2], "big") == len(sent) - 2
        opened.append(theirs.open(sent))
    assert opened[1] == bytes.fromhex("024200")
    kinds = [core.decode_message(Dialect.PROTO, one).kind for one in opened]
    assert kinds == [Kind.PUB_KEY_RESPONSE, Kind.PING_RESPONSE, Kind.PUB_KEY_RESPONSE]


def test_the_largest_message_a_validator_sends_arrives_in_messages_of_65535_bytes(core: Core) -> None:
    from cometkms.limits import VOTE_EXTENSION_MAX_BYTES
    from cometkms.operator.standin.ballots import block_of, vote_request

    asked = vote_request("c", 2, (1, 0), block_of("c", 1, 0), extension=bytes(VOTE_EXTENSION_MAX_BYTES))
    theirs = core.noise(KEYS[1], KEYS[0])
    wire = theirs.seal(core.encode_message(Dialect.PROTO, asked))
    assert int.from_bytes(wire[:2], "big") == NOISE_SEALED_BYTES - 2
    session = core.session(Dialect.PROTO, "c", core.noise(*KEYS), b"")
    request = None
    while wire:
        assert request is None
        part, wire = wire[: len(session.inbox)], wire[len(session.inbox) :]
        session.inbox[: len(part)] = part
        session.received(len(part))
        request = session.next_request()
    assert request is not None
    assert request.kind is Kind.SIGN_VOTE_REQUEST


# --- peer ids ---


@given(st.binary(min_size=32, max_size=32))
def test_a_peer_id_is_its_keys(key: bytes) -> None:
    assert public_key_of(peer_id(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12D3KooW",
        "1",
        "12D3KooWPeuigMJXMh8hCPQxjaB5b9Gu6vBisyyeF6AbP9NkFqS",
        "12D3KooWPeuigMJXMh8hCPQxjaB5b9Gu6vBisyyeF6AbP9NkFqSXX",
        "12D3KooWPeuigMJXMh8hCPQxjaB5b9Gu6vBisyyeF6AbP9NkFqS0",
        " 12D3KooWPeuigMJXMh8hCPQxjaB5b9Gu6vBisyyeF6AbP9NkFqSX",
        "16Uiu2HAmGwDLcaogDHmTCyhCQChXgzFCwHTs3bQGzM4nGYn8xY9C",
        "z" * 5000,
    ],
)
def test_what_is_no_peer_id_of_an_ed25519_key_is_refused_with_the_cure(text: str) -> None:
    with pytest.raises(ConfigError, match="show-node-id --libp2p"):
        public_key_of(text)
