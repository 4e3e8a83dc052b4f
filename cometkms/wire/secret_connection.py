"""SecretConnection's handshake (PROTOCOL §2), sans-I/O: bytes in, bytes out. Both roles; frames are
the core's.

    HELLO ── remote hello ──▶ AUTH ── remote authentication ──▶ DONE

A signer that does not know the validator's dialect waits for its hello (both sides send theirs
without waiting, so this costs nothing) and answers alike: `22 0a 20 <32>` is v0.34 and later, `21
20 <32>` is v0.33.
"""

from typing import Final

from cometkms.core.interface import Core, Frames
from cometkms.errors import ProtocolError
from cometkms.limits import HANDSHAKE_MESSAGE_MAX_BYTES
from cometkms.model import Dialect
from cometkms.wire.identity import Identity

_HELLO: Final = {Dialect.PROTO: bytes.fromhex("220a20"), Dialect.AMINO: bytes.fromhex("2120")}
# AuthSigMessage: {1 public key, 2 signature}, whole, length first
_AUTH_KEY: Final = {Dialect.PROTO: bytes.fromhex("660a220a20"), Dialect.AMINO: bytes.fromhex("690a251624de6420")}
_AUTH_SIGNATURE: Final = bytes.fromhex("1240")


def _as_read(untrusted: bytes) -> str:
    """Hex, and the text where it is some: HTTP is read, and 48545450 is not."""
    text = untrusted.decode("ascii", "replace")
    return f"{untrusted.hex()} ({text!r})" if text.isascii() and text.isprintable() else untrusted.hex()


class Handshake:
    """One end of a handshake. `done` is False until the other end is authenticated."""

    def __init__(
        self, core: Core, identity: Identity, dialect: Dialect | None = None, *, ephemeral_secret: bytes | None = None
    ) -> None:
        """`dialect` None: learn it from the other end's hello. `ephemeral_secret`: for known-answer
        tests only."""
        self._core = core
        self._identity = identity
        self._dialect = dialect
        self._secret = bytearray(ephemeral_secret or 32)
        self._public = core.ephemeral_public(self._secret, fresh=ephemeral_secret is None)
        self._incoming = b""
        self._hello_sent = False
        self._challenge = b""
        self._frames: Frames | None = None
        self._plain = b""
        self.done = False
        self.remote_identity = b""
        self.leftover = b""

    def __del__(self) -> None:
        """One that never came to its keys leaves no secret behind either."""
        self._secret[:] = bytes(32)

    @property
    def dialect(self) -> Dialect:
        """Raises: ProtocolError before it is known."""
        if self._dialect is None:
            raise ProtocolError("the dialect is not known yet")
        return self._dialect

    @property
    def frames(self) -> Frames:
        """Raises: ProtocolError before the hellos were exchanged."""
        if self._frames is None:
            raise ProtocolError("the handshake has no keys yet")
        return self._frames

    @property
    def hello(self) -> bytes:
        """What to send first, when the dialect was given. Raises: ProtocolError if it is still to
        be learnt."""
        hello = _HELLO[self.dialect] + self._public
        self._hello_sent = True
        return hello

    def feed(self, untrusted: bytes) -> bytes:
        """Take what arrived; return what to send. Raises: ProtocolError: close the connection."""
        if self.done:
            raise ProtocolError("the handshake is over")
        self._incoming += untrusted
        out = b""
        if self._frames is None:
            if not self._take_hello():
                return out
            if not self._hello_sent:
                out += self.hello
            out += self._authenticate()
        self._take_authentication()
        return out

    def _take_hello(self) -> bool:
        """Read the remote hello and derive the keys. False: more bytes are needed."""
        incoming = self._incoming
        for dialect, head in _HELLO.items():
            if self._dialect in (None, dialect) and head.startswith(incoming[: len(head)]):
                if len(incoming) < len(head) + 32:
                    return False
                self._dialect = dialect
                remote = incoming[len(head) : len(head) + 32]
                self._incoming = incoming[len(head) + 32 :]
                self._derive(remote)
                return True
        raise ProtocolError(f"no SecretConnection hello: it begins with {_as_read(incoming[:4])}")

    def _derive(self, remote: bytes) -> None:
        try:
            self._frames, self._challenge = self._core.key_schedule(self._secret, self._public, remote)
        finally:
            self._secret[:] = bytes(32)

    def _authenticate(self) -> bytes:
        message = (
            _AUTH_KEY[self.dialect] + self._identity.public_key + _AUTH_SIGNATURE + self._identity.sign(self._challenge)
        )
        return self.frames.seal(message)

    def _take_authentication(self) -> None:
        self._plain += self.frames.open(self._incoming)
        self._incoming = b""
        head = _AUTH_KEY[self.dialect]
        size = len(head) + 32 + len(_AUTH_SIGNATURE) + 64
        if not head.startswith(self._plain[: len(head)]):
            raise ProtocolError("the authentication is not of an ed25519 identity")
        if len(self._plain) < size:
            if len(self._plain) > HANDSHAKE_MESSAGE_MAX_BYTES:
                raise ProtocolError("the authentication is too long")
            return
        key = self._plain[len(head) : len(head) + 32]
        signature = self._plain[size - 64 : size]
        if self._plain[len(head) + 32 : size - 64] != _AUTH_SIGNATURE:
            raise ProtocolError("the authentication is malformed")
        if not self._core.verify(key, self._challenge, signature):
            raise ProtocolError("the authentication's signature does not verify")
        self.remote_identity = key
        self.leftover = self._plain[size:]
        self._plain = b""
        self.done = True
