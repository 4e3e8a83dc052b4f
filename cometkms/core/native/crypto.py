"""Frames, key schedule and key slot over the C core."""

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from cometkms._native import ffi, lib
from cometkms.core.interface import Buffer
from cometkms.core.native.keytypes import require
from cometkms.core.native.seam import borrowed, check, to_wire
from cometkms.errors import InvariantError, KeyFileError, OperatorError, ProtocolError, said
from cometkms.keytypes import ED25519, KeyType, no_such_key, raw_of, type_of, typed
from cometkms.model import HRS, Permit, SealedKey


def load_sodium() -> None:
    """Resolve libsodium's symbols from PyNaCl's extension file.

    Raises: OperatorError naming the file or symbol.
    """
    spec = find_spec("nacl._sodium")
    if spec is None or spec.origin is None:
        raise OperatorError("PyNaCl's extension nacl/_sodium is not installed", cure="pip install 'pynacl>=1.6'")
    error = ffi.new("char[]", 512)
    if lib.ck_sodium_load(spec.origin.encode(), error, len(error)) != lib.CK_OK:
        words = ffi.string(error).decode("utf-8", "replace")
        raise OperatorError(f"libsodium cannot be used: {words}", cure="pip install --force-reinstall 'pynacl>=1.6'")


class NativeFrames:
    """Hold a connection's two ciphers and counters in C until close() wipes them."""

    __slots__ = ("c",)

    def __init__(self, c: Any) -> None:
        """`c`: a filled ck_frames."""
        self.c = c

    def seal(self, data: Buffer) -> bytes:
        """Cut the data into pieces and seal each."""
        out, size = ffi.new("uint8_t[]", lib.ck_sealed_size(len(data))), ffi.new("size_t *")
        with ffi.from_buffer("uint8_t[]", data) as view:
            status = lib.ck_frames_seal(self.c, view, len(data), out, len(out), size)
        check(status, "frame")
        return bytes(ffi.buffer(out, size[0]))

    def open(self, untrusted: Buffer) -> bytes:
        """Take any number of ciphertext bytes and return the data of the whole frames."""
        out, size = ffi.new("uint8_t[]", lib.ck_opened_max(len(untrusted))), ffi.new("size_t *")
        with ffi.from_buffer("uint8_t[]", untrusted) as view:
            status = lib.ck_frames_open(self.c, view, len(untrusted), out, len(out), size)
        check(status, "frame")
        return bytes(ffi.buffer(out, size[0]))

    def close(self) -> None:
        """Wipe the ciphers."""
        lib.ck_frames_wipe(self.c)


def frames(recv_key: bytes, send_key: bytes) -> NativeFrames:
    """Make the frames of a connection from the two keys of its handshake."""
    c = ffi.new("ck_frames *")
    ffi.memmove(c.recv_key, recv_key, 32)
    ffi.memmove(c.send_key, send_key, 32)
    return NativeFrames(c)


class NativeNoise:
    """Noise transport messages; see interface.Frames and csrc/noise.h."""

    __slots__ = ("c",)

    def __init__(self, c: Any) -> None:
        """`c`: a filled ck_noise."""
        self.c = c

    def seal(self, data: Buffer) -> bytes:
        """Cut the data into pieces and seal each."""
        out, size = ffi.new("uint8_t[]", lib.ck_noise_sealed_size(len(data))), ffi.new("size_t *")
        with ffi.from_buffer("uint8_t[]", data) as view:
            status = lib.ck_noise_seal(self.c, view, len(data), out, len(out), size)
        check(status, "frame")
        return bytes(ffi.buffer(out, size[0]))

    def open(self, untrusted: Buffer) -> bytes:
        """Take any number of ciphertext bytes and return the data of the whole frames."""
        out, size = ffi.new("uint8_t[]", lib.ck_noise_opened_max(self.c, len(untrusted))), ffi.new("size_t *")
        with ffi.from_buffer("uint8_t[]", untrusted) as view:
            status = lib.ck_noise_open(self.c, view, len(untrusted), out, len(out), size)
        check(status, "frame")
        return bytes(ffi.buffer(out, size[0]))

    def close(self) -> None:
        """Wipe the ciphers."""
        lib.ck_noise_wipe(self.c)


def noise(recv_key: bytes, send_key: bytes) -> NativeNoise:
    """Frame Noise transport messages behind their lengths, as libp2p's secure sessions do."""
    c = ffi.new("ck_noise *")
    ffi.memmove(c.recv_key, recv_key, 32)
    ffi.memmove(c.send_key, send_key, 32)
    return NativeNoise(c)


def shared_secret(secret: Buffer, remote_public: bytes) -> bytearray:
    """Compute X25519 of a secret and a remote public key, for the caller to wipe."""
    if not len(secret) == len(remote_public) == 32:
        raise ProtocolError("an X25519 key has 32 bytes")
    shared = bytearray(32)
    with (
        ffi.from_buffer("uint8_t[]", shared, require_writable=True) as into,
        ffi.from_buffer("uint8_t[]", secret) as own,
    ):
        if lib.ck_sodium.scalarmult(into, own, remote_public) != 0:
            check(lib.CK_LOW_ORDER, "ephemeral key")
    return shared


def ephemeral_public(secret: bytearray, *, fresh: bool = True) -> bytes:
    """Compute the X25519 public key of a secret, which is made here where it is to be fresh."""
    if len(secret) != 32:
        raise ProtocolError("an X25519 key has 32 bytes")
    public = ffi.new("uint8_t[32]")
    with ffi.from_buffer("uint8_t[]", secret, require_writable=True) as view:
        if fresh:
            lib.ck_sodium.random(view, 32)
        lib.ck_sodium.scalarmult_base(public, view)
    return bytes(ffi.buffer(public))


def key_schedule(
    ephemeral_secret: Buffer, ephemeral_public: bytes, remote_ephemeral_public: bytes
) -> tuple[NativeFrames, bytes]:
    """Derive the connection's frames and the challenge to sign from the shared secret."""
    if not len(ephemeral_secret) == len(ephemeral_public) == len(remote_ephemeral_public) == 32:
        raise ProtocolError("an X25519 key has 32 bytes")
    c, challenge = ffi.new("ck_frames *"), ffi.new("uint8_t[32]")
    with ffi.from_buffer("uint8_t[]", ephemeral_secret) as secret:
        status = lib.ck_key_schedule(secret, ephemeral_public, remote_ephemeral_public, c, challenge)
    if status == lib.CK_MALFORMED:
        raise ProtocolError("the peer's ephemeral key is our own, reflected")
    check(status, "ephemeral key")
    return NativeFrames(c), bytes(ffi.buffer(challenge))


class NativeKeySlot:
    """Hold one validator key for one chain in locked memory, with the last place it signed."""

    __slots__ = ("_keep", "c", "chain_id", "key_type", "public_key")

    def __init__(self, c: Any, key_type: KeyType, chain_id: str, keep: Any = None) -> None:
        """`c`: an opened ck_slot of that type. `keep`: what it points to."""
        self.c = c
        self._keep = keep
        self.chain_id = chain_id
        self.key_type = key_type
        self.public_key = typed(key_type, bytes(ffi.buffer(c.public_key, key_type.public_bytes)))

    def __repr__(self) -> str:
        return f"<key slot of {self.chain_id!r}>"

    def __reduce__(self) -> str:
        raise TypeError("a key slot cannot be copied or pickled")

    @property
    def last_signed(self) -> HRS:
        """Return the last place that the slot signed."""
        return HRS(self.c.height, self.c.round, self.c.step)

    def raise_mark(self, hrs: HRS, sign_bytes: bytes) -> None:
        """Move the last signed place up, and never down."""
        keep: list[Any] = []
        lib.ck_slot_raise(self.c, hrs.height, hrs.round, hrs.step, borrowed(sign_bytes, keep))

    def sign(self, permit: Permit) -> bytes:
        """Sign the permit's bytes and move the mark."""
        sign_bytes = permitted(permit)
        signature = ffi.new("uint8_t[]", lib.CK_SIGNATURE_MAX)
        if lib.ck_slot_sign(self.c, sign_bytes, len(sign_bytes), signature) != lib.CK_OK:
            raise InvariantError(slot_refusal(self.last_signed, sign_bytes))
        return bytes(ffi.buffer(signature, self.key_type.signature_bytes))

    def prepare(self, sign_bytes: bytes) -> None:
        """Work out what signing these bytes will need, while a majority is asked for them."""
        lib.ck_slot_prepare(self.c, sign_bytes, len(sign_bytes))

    def allow_bytes(self, *, values: bool, unique_ids: Sequence[str]) -> None:
        """Set what the chain's settings allow to be signed besides votes from now on."""
        keep: list[Any] = []
        ids = ffi.new("ck_bytes[]", [borrowed(to_wire(one), keep) for one in unique_ids])
        if lib.ck_slot_allow_bytes(self.c, values, ids, len(unique_ids)) != lib.CK_OK:
            raise InvariantError(
                f"{len(unique_ids)} unique ids of raw bytes; a slot takes {lib.CK_RAW_UNIQUE_IDS_MAX} at most, of 1 to "
                f"{lib.CK_RAW_UNIQUE_ID_MAX} bytes each"
            )

    def sign_value(self, value: bytes) -> bytes:
        """Sign a value of v1.x's SignBytes without a mark."""
        keep: list[Any] = []
        signature = ffi.new("uint8_t[]", lib.CK_SIGNATURE_MAX)
        if lib.ck_slot_sign_value(self.c, borrowed(value, keep), signature) != lib.CK_OK:
            raise InvariantError(bytes_refusal(value))
        return bytes(ffi.buffer(signature, self.key_type.signature_bytes))

    def sign_raw(self, raw: bytes, unique_id: str) -> bytes:
        """Sign Celestia's raw bytes, built here for the slot's own chain, without a mark."""
        keep: list[Any] = []
        signature, room = (
            ffi.new("uint8_t[]", lib.CK_SIGNATURE_MAX),
            len(raw) + len(to_wire(unique_id)) + _RAW_ENVELOPE_BYTES,
        )
        scratch = ffi.new("uint8_t[]", room)
        untrusted = borrowed(raw, keep), borrowed(to_wire(unique_id), keep)
        if lib.ck_slot_sign_raw(self.c, *untrusted, scratch, room, signature) != lib.CK_OK:
            raise InvariantError(bytes_refusal(raw, unique_id))
        return bytes(ffi.buffer(signature, self.key_type.signature_bytes))

    def cluster_secret(self) -> bytes:
        """Derive the 32 bytes that the nodes of a cluster know each other by from the key's seed."""
        out = ffi.new("uint8_t[32]")
        if lib.ck_slot_cluster_secret(self.c, out) != lib.CK_OK:
            raise KeyFileError(_NO_SEED, cure="put one into priv/cluster.key")
        return bytes(ffi.buffer(out))

    def close(self) -> None:
        """Wipe the key; sign() raises from then on."""
        lib.ck_slot_close(self.c)


def permitted(permit: Permit) -> bytes:
    """The bytes that may be signed.

    Raises: InvariantError for anything but a permit, whoever calls without types.
    """
    if type(permit) is not Permit:
        raise InvariantError(f"a key slot signs for a permit only, and not for {type(permit).__name__}")
    return permit.sign_bytes


def slot_refusal(last_signed: HRS, sign_bytes: bytes) -> str:
    """Return both sides of what the slot compared."""
    return f"the key slot, at {tuple(last_signed)}, refuses to sign {sign_bytes.hex()}"


def bytes_refusal(value: bytes, unique_id: str = "") -> str:
    """What the slot refuses to sign; of the bytes, which are no vote, their number only."""
    what = f" with the unique id {unique_id!r}" if unique_id else ""
    return f"the key slot refuses to sign {len(value)} bytes{what} that are no vote"


_RAW_ENVELOPE_BYTES = 256  # Celestia's domain, a chain's id, tags and lengths
_NO_SEED = "the cluster's secret cannot be derived: the key is not here"
_REFUSED = {
    lib.CK_BAD_TAG: (
        "the passphrase does not open it, or the file was changed",
        "the passphrase it was sealed with, and the file as it was",
    ),
    lib.CK_TOO_LARGE: ("it asks for more passes or memory than any key that is sealed here", "the file as it was"),
}


def key_slot(base64_secret: bytearray, chain_id: str, key_type: KeyType = ED25519) -> NativeKeySlot:
    """Decode the secret of a key file into locked memory and wipe the text."""
    keep: list[Any] = []
    slot = ffi.new("ck_slot *")
    require(key_type)
    with ffi.from_buffer("char[]", base64_secret, require_writable=True) as text:
        status = lib.ck_slot_open(slot, key_type.number, text, len(base64_secret), borrowed(to_wire(chain_id), keep))
    no_room = KeyFileError(
        "the private key's memory cannot be locked", cure="raise the limit of locked memory (ulimit -l)"
    )
    _check_key(status, key_type, no_room)
    return NativeKeySlot(slot, key_type, chain_id)


def sealed_slot(sealed: SealedKey, passphrase: Buffer, chain_id: str) -> NativeKeySlot:
    """Open a sealed key straight into locked memory."""
    keep: list[Any] = []
    slot = ffi.new("ck_slot *")
    secret = borrowed(passphrase, keep)
    c, key_type = _c_sealed(sealed)
    status = lib.ck_slot_open_sealed(slot, c, secret, borrowed(to_wire(chain_id), keep))
    _let_go(keep)
    _check_key(status, key_type, no_memory(sealed))
    return NativeKeySlot(slot, key_type, chain_id)


def outside_slot(public_key: bytes, sign: Callable[[bytes], bytes], chain_id: str) -> NativeKeySlot:
    """Open a slot whose key is elsewhere, and verify each signature from there before it leaves."""
    try:
        key_type = type_of(public_key)
    except ValueError as error:
        raise KeyFileError(f"a signer outside: {error}") from None
    require(key_type)
    keep: list[Any] = []
    slot, handle = ffi.new("ck_slot *"), ffi.new_handle((sign, key_type))
    chain = borrowed(to_wire(chain_id), keep)
    raw = raw_of(public_key)
    check(lib.ck_slot_open_outside(slot, key_type.number, raw, lib.ck_sign_in_python, handle, chain), "key slot")
    return NativeKeySlot(slot, key_type, chain_id, handle)


@ffi.def_extern(error=-1)  # type: ignore[untyped-decorator]  # cffi has no types
def ck_sign_in_python(context: Any, data: Any, size: int, signature: Any) -> int:
    """The C slot asks the signer outside."""
    sign, key_type = ffi.from_handle(context)
    try:
        made = sign(bytes(ffi.buffer(data, size)))
    except Exception as error:  # noqa: BLE001 - C code is between here and who can handle it: the slot refuses
        print(f"the signer outside failed: {type(error).__name__}: {said(error)}", file=sys.stderr)
        return -1
    if len(made) != key_type.signature_bytes:
        return -1
    ffi.memmove(signature, made, len(made))
    return 0


def seal_key(base64_secret: bytearray, passphrase: Buffer, blank: SealedKey) -> SealedKey:
    """Seal a key file's secret with the cost, salt and nonce of the blank."""
    keep: list[Any] = []
    c, key_type = _c_sealed(blank)
    with ffi.from_buffer("char[]", base64_secret, require_writable=True) as text:
        status = lib.ck_seal(c, text, len(base64_secret), borrowed(passphrase, keep))
    _let_go(keep)
    _check_key(status, key_type, no_memory(blank))
    public_key = typed(key_type, bytes(ffi.buffer(c.public_key, key_type.public_bytes)))
    ciphertext = bytes(ffi.buffer(c.ciphertext))
    return SealedKey(public_key, blank.passes, blank.memory_bytes, blank.salt, blank.nonce, ciphertext)


def unseal_key(sealed: SealedKey, passphrase: Buffer) -> bytearray:
    """Open a sealed key for an operator's command, which wipes the text it gets."""
    keep: list[Any] = []
    out = bytearray(lib.CK_SEED_BASE64)
    c, key_type = _c_sealed(sealed)
    with ffi.from_buffer("char[]", out, require_writable=True) as text:
        status = lib.ck_unseal_base64(c, borrowed(passphrase, keep), text)
    _let_go(keep)
    _check_key(status, key_type, no_memory(sealed))
    text_only = out[: 4 * -(-key_type.secret_bytes // 3)]  # behind it is C's zero byte
    out[:] = bytes(len(out))
    return text_only


def no_memory(sealed: SealedKey) -> KeyFileError:
    """Why Argon2id could not work, with the cure."""
    return KeyFileError(
        f"the {sealed.memory_bytes >> 20} MiB of memory that opening it takes cannot be had",
        cure="give the process more, or seal the key with `cmkms keys encrypt --memory-mib` less",
    )


def _c_sealed(sealed: SealedKey) -> tuple[Any, KeyType]:
    """A ck_sealed, and the type of its key, whose library is there.

    Raises: KeyFileError, OperatorError.
    """
    try:
        key_type, raw = type_of(sealed.public_key), raw_of(sealed.public_key)
    except ValueError as error:
        raise KeyFileError(f"a sealed key's public_key: {error}") from None
    require(key_type)
    c = ffi.new("ck_sealed *", {"type": key_type.number, "passes": sealed.passes, "memory": sealed.memory_bytes})
    ffi.memmove(c.public_key, raw, len(raw))
    for name in ("salt", "nonce", "ciphertext"):
        field, value = getattr(c, name), getattr(sealed, name)
        if value and len(value) != len(field):
            raise KeyFileError(f"a sealed key's {name} has {len(field)} bytes, not {len(value)}")
        ffi.memmove(field, value, len(value))
    return c, key_type


def _let_go(keep: list[Any]) -> None:
    """Python refuses to resize what C may still look at."""
    for view in keep:
        ffi.release(view)


def _check_key(status: int, key_type: KeyType, no_room: KeyFileError) -> None:
    """Raises: KeyFileError, InvariantError."""
    if status in _REFUSED:
        what, cure = _REFUSED[status]
        raise KeyFileError(what, cure=cure)
    if status in (lib.CK_MALFORMED, lib.CK_NO_ROOM):
        raise no_room if status == lib.CK_NO_ROOM else no_such_key(key_type)
    check(status, "key slot")
