"""SecretConnection's handshake and the dialect's first byte, sans-I/O."""

import pytest
from nacl.signing import SigningKey

from cometkms.core.interface import Core
from cometkms.errors import ProtocolError
from cometkms.limits import HANDSHAKE_MESSAGE_MAX_BYTES
from cometkms.model import Dialect, Kind, Message
from cometkms.wire.dialect import sniff_dialect
from cometkms.wire.identity import Identity
from cometkms.wire.secret_connection import Handshake

PREFIX = {Dialect.PROTO: bytes.fromhex("220a20"), Dialect.AMINO: bytes.fromhex("2120")}


def pair(core: Core, dialect: Dialect) -> tuple[Handshake, Handshake]:
    """A validator that knows its dialect and a signer that learns it."""
    return Handshake(core, Identity.generate(), dialect), Handshake(core, Identity.generate())


@pytest.mark.parametrize("size", [1, 7, 2000])
@pytest.mark.parametrize("dialect", list(Dialect))
def test_both_ends_agree_whatever_the_segments(core: Core, dialect: Dialect, size: int) -> None:
    validator, signer = pair(core, dialect)
    to_signer, to_validator = validator.hello, b""
    while to_signer or to_validator:
        part, to_signer = to_signer[:size], to_signer[size:]
        if part:
            to_validator += signer.feed(part)
        part, to_validator = to_validator[:size], to_validator[size:]
        if part:
            to_signer += validator.feed(part)
    assert validator.done
    assert signer.done
    assert signer.dialect is dialect
    assert validator.frames.open(signer.frames.seal(b"data")) == b"data"


def test_what_comes_behind_the_authentication_is_not_lost(core: Core) -> None:
    validator, signer = pair(core, Dialect.PROTO)
    sent = validator.feed(signer.feed(validator.hello))
    signer.feed(sent + validator.frames.seal(b"first request"))
    assert signer.leftover == b"first request"


@pytest.mark.parametrize("hello", [b"\x22\x0a\x21", b"GET / HTTP/1.1", b"\x21\x21", b"\0"])
def test_what_is_no_hello_is_refused(core: Core, hello: bytes) -> None:
    with pytest.raises(ProtocolError):
        Handshake(core, Identity.generate()).feed(hello)


@pytest.mark.parametrize(("hello", "told"), [(b"HTTP/1.1 400", "48545450 ('HTTP')"), (b"\0\1\xff\x1b", "0001ff1b")])
def test_what_came_instead_of_a_hello_can_be_read_where_it_is_text(core: Core, hello: bytes, told: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        Handshake(core, Identity.generate()).feed(hello)
    assert str(refused.value) == f"no SecretConnection hello: it begins with {told}"


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31)])
def test_a_low_order_key_is_refused(core: Core, key: bytes) -> None:
    with pytest.raises(ProtocolError):
        Handshake(core, Identity.generate()).feed(PREFIX[Dialect.PROTO] + key)


def test_a_reflected_hello_is_refused(core: Core) -> None:
    own = Handshake(core, Identity.generate(), Dialect.PROTO)
    with pytest.raises(ProtocolError, match="reflected"):
        own.feed(own.hello)


class Liar(Identity):
    """Claims a key whose challenge it cannot sign."""

    @property
    def public_key(self) -> bytes:
        return bytes(SigningKey.generate().verify_key)


def test_an_identity_that_cannot_sign_the_challenge_is_refused(core: Core) -> None:
    validator = Handshake(core, Liar(SigningKey.generate()), Dialect.PROTO)
    signer = Handshake(core, Identity.generate())
    sent = validator.feed(signer.feed(validator.hello))
    with pytest.raises(ProtocolError, match="does not verify"):
        signer.feed(sent)


@pytest.mark.parametrize(
    "message", [b"\x66\x0a\x22\x12\x20" + bytes(98), b"\0", bytes(HANDSHAKE_MESSAGE_MAX_BYTES + 100)]
)
def test_an_authentication_of_another_form_is_refused(core: Core, message: bytes) -> None:
    validator, signer = pair(core, Dialect.PROTO)
    validator.feed(signer.feed(validator.hello)[: 3 + 32])
    with pytest.raises(ProtocolError):
        signer.feed(validator.frames.seal(message))


def test_a_bent_authentication_is_refused(core: Core) -> None:
    validator, signer = pair(core, Dialect.PROTO)
    sent = bytearray(validator.feed(signer.feed(validator.hello)))
    sent[100] ^= 1
    with pytest.raises(ProtocolError):
        signer.feed(bytes(sent))


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("kind", [Kind.PUB_KEY_REQUEST, Kind.PING_REQUEST])
def test_the_first_message_tells_the_dialect_and_not_before_it_can(core: Core, dialect: Dialect, kind: Kind) -> None:
    wire = core.encode_message(dialect, Message(kind, "test-1" if kind is Kind.PUB_KEY_REQUEST else ""))
    assert sniff_dialect(b"") is None
    assert sniff_dialect(wire[:1]) is None
    assert sniff_dialect(wire) is dialect
    assert sniff_dialect(b"\xff" * 20) is Dialect.PROTO  # whose decoder says why not
