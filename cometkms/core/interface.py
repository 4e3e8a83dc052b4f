"""The one interface that `cometkms.core.native` (C) and `cometkms.core.pure` (Python)
both implement.

Every test of codec, sign bytes, frames, key slot and queue runs on both.
`cometkms.core.choose.load()` chooses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol, TypeAlias

from cometkms.keytypes import ED25519, KeyType
from cometkms.model import (
    HRS,
    Decision,
    Dialect,
    Incarnation,
    Line,
    Message,
    Permit,
    Request,
    Row,
    SealedKey,
    SignBytes,
    Watermark,
)

Buffer: TypeAlias = bytes | bytearray | memoryview


class Frames(Protocol):
    """A connection's two ciphers and counters, SecretConnection's (PROTOCOL §2) or Noise's.

    Owned by one connection, wiped by close().
    """

    def seal(self, data: Buffer) -> bytes:
        """Cut `data` into pieces and seal each.

        SecretConnection: frames of at most 1024 bytes of data, 1044 bytes each on the wire, at
        least one. Noise: messages of at most NOISE_PLAIN_BYTES, none for no data.
        """
        ...

    def open(self, untrusted: Buffer) -> bytes:
        """Take any number of ciphertext bytes (kept until a frame is whole); return the data of the
        whole frames.

        Raises: ProtocolError on a bad tag, a chunk length over 1024, or a counter about to wrap.
        """
        ...

    def close(self) -> None: ...


class KeySlot(Protocol):
    """One validator key for one chain, in locked memory, with the last place it signed.

    The last line of defence: whatever the caller does, no two different sign bytes are ever signed
    at one place, and none below the last signed place, within the life of this slot.
    """

    @property
    def public_key(self) -> bytes:
        """Return the public key as keytypes.typed() makes it."""
        ...

    @property
    def chain_id(self) -> str: ...

    @property
    def last_signed(self) -> HRS: ...

    def raise_mark(self, hrs: HRS, sign_bytes: bytes) -> None:
        """Move the last signed place up (never down: a lower `hrs` is ignored).
        sign_bytes b"" = burnt.
        """
        ...

    def sign(self, permit: Permit) -> bytes:
        """Sign the permit's bytes, canonical ones of a vote or proposal, and move the mark.

        The signature has the size of the key's type.

        Raises: InvariantError if it is no permit, or if the bytes are not strictly canonical, of
        another chain, below the mark, or at the mark with other bytes. The slot is then unchanged.
        """
        ...

    def prepare(self, sign_bytes: bytes) -> None:
        """Work out what signing these bytes will need and no key is needed for, while a majority is
        asked for them.

        Nothing is decided by it, and sign() gives the same without it. Most types of
        key have no such work.
        """
        ...

    def allow_bytes(self, *, values: bool, unique_ids: Sequence[str]) -> None:
        """What the chain's settings allow from now on: v1.x's SignBytes, and Celestia's
        SignRawBytes with these ids. A new slot allows nothing.

        Raises: InvariantError for more than RAW_UNIQUE_IDS_MAX ids, or one that is empty or over
        RAW_UNIQUE_ID_MAX_BYTES; nothing is allowed then.
        """
        ...

    def sign_value(self, value: bytes) -> bytes:
        """Sign a value of v1.x's SignBytes. No mark is looked at and none moves.

        Raises: InvariantError, with nothing signed, unless it is allowed, has 1 to
        RAW_VALUE_MAX_BYTES bytes, and neither is nor reads as what is signed of a vote, a proposal,
        an extension, or of Celestia's raw bytes.
        """
        ...

    def sign_raw(self, raw: bytes, unique_id: str) -> bytes:
        """Sign Celestia's raw bytes: what is signed is built here, for the slot's own chain.

        No mark is looked at and none moves.

        Raises: InvariantError, with nothing signed, unless that id is allowed and the raw bytes are
        1 to RAW_VALUE_MAX_BYTES.
        """
        ...

    def cluster_secret(self) -> bytes:
        """32 bytes, HKDF-SHA256 of the seed: what the nodes of a cluster know each other by.

        Raises: KeyFileError where the seed is not here (outside_slot).
        """
        ...

    def close(self) -> None:
        """Wipe the key. sign() raises from then on."""
        ...


@dataclass(frozen=True, slots=True)
class Relayed:
    """An answer that another signer gave, judged.

    `frame`: bytes to write; `refused`: a final no, and not a signature.
    """

    refused: bool
    frame: bytes


class Session(Protocol):
    """A privval session after the handshake: ciphertext in, requests out; outcomes in, ciphertext
    out. No I/O.

    One request at a time: after next_request() gave one, exactly one answer_* call must follow
    before the next. For unix:// the frames are None and the bytes plain.
    """

    @property
    def inbox(self) -> memoryview:
        """Where the shell receives into: INBOX_BYTES writable bytes."""
        ...

    def received(self, size: int) -> None:
        """The first `size` bytes of the inbox were filled.

        Raises: ProtocolError (close the connection).
        """
        ...

    def next_request(self) -> Request | None:
        """The next whole request, or None: receive more.

        Raises: ProtocolError (close the connection).

        An announced length over MESSAGE_MAX_BYTES raises before memory is spent for it.
        """
        ...

    @property
    def partial(self) -> bool:
        """Whether part of a frame or message has arrived (a deadline must run)."""
        ...

    @property
    def line(self) -> Line:
        """The validator's release line, as far as its votes on this connection have told."""
        ...

    def answer_pong(self) -> bytes: ...

    def answer_pub_key(self, public_key: bytes) -> bytes:
        """The key, as keytypes.typed() makes it, in one response that v0.x and v1.x
        each read as their own.

        v0.33 has no form for most types: it is answered with a RemoteSignerError that says so.
        """
        ...

    def answer_error(self, code: int, description: str) -> bytes:
        """The response type of the pending request with a RemoteSignerError (for a ping or unknown
        kind: answer_empty()).
        """
        ...

    def answer_empty(self) -> bytes:
        """A pong in place of the answer: the validator takes it for a passing trouble
        and asks again.
        """
        ...

    def prepare(self, slot: KeySlot) -> None:
        """KeySlot.prepare for what the pending request asks to be signed, the extension of a
        precommit with it.
        """
        ...

    def answer_sign(self, slot: KeySlot, permit: Permit) -> tuple[bytes, bytes]:
        """Sign exactly the permit's bytes; return (signature, bytes to write).

        The response echoes the pending vote or proposal with the permit's timestamp, the signature,
        and for a non-nil precommit (PROTO dialect, without skip_extension) the extension signature;
        never the extension itself. Raises: InvariantError, with nothing signed, unless they equal
        the pending request's sign bytes in all but the timestamp; and whatever KeySlot.sign raises.
        """
        ...

    def answer_repeat(self, slot: KeySlot, sign_bytes: bytes, signature: bytes) -> bytes:
        """Answer as answer_sign does, with a signature already known for `sign_bytes` (recorded
        timestamp). The extension is signed anew, also where the answer before this one had none
        because it was asked with skip_extension.

        Raises: InvariantError unless `sign_bytes` equals the pending ones in all but the timestamp,
        or the signature does not verify.
        """
        ...

    def answer_bytes(self, slot: KeySlot) -> tuple[bytes, bytes]:
        """Sign what the pending SignBytes or SignRawBytes asks for; return (signature,
        bytes to write).

        Raises: InvariantError, with nothing signed, unless such a request with reason NONE is
        pending; and whatever KeySlot.sign_value and sign_raw raise.
        """
        ...

    def pending_wire(self) -> bytes:
        """The pending request as it came, with its length; b"": there is none."""
        ...

    def answer_relayed(self, public_key: bytes, untrusted_answer: bytes) -> Relayed | None:
        """Answer the pending vote or proposal as another signer did; None, and it is still pending,
        unless that is an answer to it.

        `untrusted_answer`, with its length, is one if it is the vote or proposal that
        was asked for, changed in nothing but the timestamp, with a signature of
        `public_key` over exactly that, and one over its extension where the signer
        makes one; or a refusal. It is encoded anew, so that nothing else comes along.
        Raises: InvariantError where no vote or proposal is pending.
        """
        ...

    def close(self) -> None:
        """Wipe the ciphers."""
        ...


class Queue(Protocol):
    """One end of a single-producer single-consumer queue between two processes.

    Messages: 1..QUEUE_SLOT_BYTES-8 bytes.
    """

    def fileno(self) -> int:
        """Readable when there may be something to pop (consumer's side)."""
        ...

    def push(self, message: bytes, *, wake: bool = True) -> bool:
        """Append and wake the consumer (or leave it to find the message by itself).

        False, with nothing written, when full.
        """
        ...

    def wake(self) -> None:
        """Wake the consumer."""
        ...

    def pop(self) -> bytes | None:
        """Take the oldest message, or None when empty (then the wake-up is cleared: safe to sleep
        on fileno()).

        Raises: InvariantError when the other side wrote something impossible.
        """
        ...

    def spin(self, ns: int) -> bool:
        """Wait up to `ns` nanoseconds without giving up the CPU; whether there is something to pop."""
        ...

    def depth(self) -> int:
        """How many messages wait. Any process may ask; it says how things were a moment ago."""
        ...

    def discard(self) -> int:
        """Drop everything queued (a restarted consumer); return how many."""
        ...

    def close(self) -> None:
        """Give back this process's memory and descriptors: what it inherited and has no part in.

        The others keep theirs.
        """
        ...


@dataclass(frozen=True, slots=True)
class RowRecord:
    """A row's newest record in the promise store.

    `opened`: False until every member's mark for a new row was seen (rule 9).

    `count`: promises written so far; `sequence`, `newest`: of its pair of slots, where the first
    write goes to slot 0.
    """

    mark: Watermark
    count: int = 0
    opened: bool = True
    sequence: int = 0
    newest: int = 1


class Records(Protocol):
    """The promise store's records by the rows' numbers: the one place where they stand, in the fast
    path's own memory where there is one.

    Whoever reads gets the record as it is now, whoever wrote it.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> RowRecord: ...

    def __setitem__(self, number: int, record: RowRecord, /) -> None:
        """The store wrote a record, and synced it."""
        ...

    def append(self, record: RowRecord, /) -> None: ...

    def set_header(self, seq_base: int, incarnation: Incarnation) -> None:
        """The store's header says where its seq begins, and which of its member's stores it is."""
        ...

    @property
    def seq(self) -> int:
        """Where the seq begins, and every promise since."""
        ...


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A reservation that the hot path gives back: the members were asked, and no majority has
    answered yet.
    """

    nonce: int
    request_id: int
    chain: int
    hrs: HRS
    sign_bytes: bytes


class Lane(Protocol):
    """One established connection, its hot messages handled as they arrive."""

    blocked: bool
    """Set by the owner while it holds bytes that the socket did not take, and by the lane when it
    leaves such bytes.
    """

    @property
    def served(self) -> int:
        """Messages that were handled here, both ways."""
        ...

    def turn(self, *, serve: bool) -> bytes:
        """Receive once; with `serve`, handle the plain messages in front; return the rest,
        decrypted, for the owner.

        Raises: BlockingIOError when nothing had arrived, EOFError at the stream's end, OSError,
        ProtocolError; StoreFailure.
        """
        ...

    def take_unsent(self) -> bytes:
        """Sealed bytes that the socket did not take: the owner sends them before anything else."""
        ...

    def close(self) -> None: ...


class HotPath(Protocol):
    """The plain case of a promise without a line of Python: see csrc/hot.h.

    The general path begins at cometkms.state.node.

    It writes the promise store's records beside cometkms.store: both have them in `records`.
    """

    @property
    def records(self) -> Records:
        """What the store keeps its records in once it is handed over (PromiseStore.keep_in)."""
        ...

    def set_member(self, member: str, incarnation: Incarnation, seq: int) -> None:
        """What the member's promises and accepts must bear to be plain, and the highest
        seq known of it.
        """
        ...

    def raise_floor(self, number: int, hrs: HRS) -> None:
        """At or below this place nothing is plain: a signature or another member's mark is known
        there. It never falls.
        """
        ...

    def set_reach(self, number: int, height: int) -> None:
        """Above this height nothing is plain: it may be a jump (rules/jump.py). 0 until it is told."""
        ...

    def lane(self, member: str, frames: Frames, fd: int) -> Lane | None:
        """The connection's end on the fast path; None where its owner is to receive everything."""
        ...

    def take(self, requests: Queue) -> tuple[list[bytes], int]:
        """Empty the signer's queue, a batch at a time: the messages that are not plain, and how
        many there were at all.

        Raises: StoreFailure; InvariantError for a corrupt queue.
        """
        ...

    def abandon(self, number: int) -> Abandoned | None:
        """Give back the row's reservation under way."""
        ...

    def waiting(self, longer_than_ns: int) -> list[int]:
        """Rows whose reservation has waited for so long."""
        ...

    def idle_s(self) -> float:
        """Seconds since the last promise was made here."""
        ...

    def counters(self) -> dict[str, int]:
        """`permitted` to the signer and `answered` to members, here and not by the general path."""
        ...

    def seq_of(self, member: str) -> int:
        """The highest seq the member showed here."""
        ...

    def flow(self, member: str) -> tuple[float, float]:
        """When the last promise was made here for the member, and when its last one for this node
        came: seconds of CLOCK_MONOTONIC, on the connection that is there; 0.0: none.
        """
        ...


class Turn(Enum):
    """What a turn of a SignLane found, if not a request for its owner."""

    NOTHING = 0  # no whole request yet
    RESERVED = 1  # a request: the state process was asked for its permit
    ASKED = 2  # a request, at an agent: a node was asked


class SignLane(Protocol):
    """One open connection to a validator, its plain requests handled as they arrive."""

    blocked: bool
    """Set by the owner while it holds bytes that the socket did not take, and by the lane when it
    leaves such bytes.
    """

    def turn(self) -> Request | Turn:
        """Receive once and look for one request.

        A Request is pending in the session and the owner's to answer.

        Raises: BlockingIOError when nothing had arrived, EOFError at the stream's end, OSError,
        ProtocolError.
        """
        ...

    def take_unsent(self) -> bytes:
        """What the socket did not take of the last answer: the owner sends it before anything else."""
        ...

    def close(self) -> None:
        """The connection is closed: a reservation of its request is forgotten."""
        ...


class Desk(Protocol):
    """One agent's link at a node, its plain requests handled as they arrive."""

    blocked: bool
    """As of a SignLane."""

    def serve(self, chain: int, number: int, chain_id: str, *, validator: bytes, identity: bytes) -> Session:
        """The agent may ask for that chain; the session is the desk's.

        `number`, validator, identity: as of SignPath.lane().
        """
        ...

    def turn(self, *, serve: bool) -> tuple[bytes, int]:
        """Receive once; with `serve`, reserve the plain requests in front.

        The rest, decrypted, for the owner; and how many were reserved.

        Raises: as SignLane.turn().
        """
        ...

    def asked(self, number: int) -> int | None:
        """The agent's number of the request that waits for its answer."""
        ...

    def forget(self, number: int) -> None:
        """No answer to it is expected any more: a reservation of it is forgotten, and its session
        is free for the next.
        """
        ...

    def take_unsent(self) -> bytes:
        """Return what the socket did not take, which the owner sends before anything else."""
        ...

    def close(self) -> None:
        """The link is closed: forget everything, and close its sessions."""
        ...


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature that was made, answered and reported on the hot path. at_ns, took_ns:
    CLOCK_MONOTONIC, since its request's last byte.
    """

    chain: int
    link: int
    hrs: HRS
    block_hash: bytes
    at_ns: int
    took_ns: int


@dataclass(frozen=True, slots=True)
class Underway:
    """A reservation that the hot path gives back to the general path."""

    link: int
    session: Session
    request: Request
    request_id: int
    started_ns: int
    since_ns: int


class Trail(Protocol):
    """The signer's end of the audit log.

    Never waits, never fails: what finds no room is lost, and its number is missing in the log.
    """

    def note(self, decision: Decision) -> None:
        """Hand over one decision, after its answer has left."""
        ...


class Watermarks(Protocol):
    """The chains' watermarks by their numbers: the one place where they stand, in the fast path's
    own memory where there is one.
    """

    def __getitem__(self, chain: int, /) -> Watermark: ...

    def __setitem__(self, chain: int, watermark: Watermark, /) -> None: ...


class SignPath(Protocol):
    """The plain case of a signature without a line of Python: see csrc/sign.h.

    The general path is cometkms.signer.chain.
    """

    @property
    def marks(self) -> Watermarks:
        """The last place of each chain that was signed, or may have been; read and moved here and
        by the general path.
        """
        ...

    def lane(
        self, chain: int, number: int, session: Session, fd: int, *, validator: bytes = b"", identity: bytes = b""
    ) -> SignLane | None:
        """None where its owner is to receive everything.

        `number`: the owner's name for the connection; the last one made under it counts.

        validator, identity: model.Decision's.
        """
        ...

    def desk(self, frames: Frames, fd: int) -> Desk | None:
        """An agent's link; None where its owner is to receive everything.

        `frames` are used here and by the owner.
        """
        ...

    def take(self) -> tuple[bytes | None, list[int], bool]:
        """Take the state process's messages up to the first that is not plain: that one, whose
        links got their answers before it, and whether there was any message at all. Raises:
        InvariantError for a corrupt queue.
        """
        ...

    @property
    def unseen(self) -> int:
        """How many signatures drain() would give."""
        ...

    def drain(self) -> list[Signature]:
        """The signatures made here since the last call. With 64 of them unseen nothing is plain."""
        ...

    def open(self, chain: int, *, opened: bool) -> None:
        """Whether the section takes plain requests from now on; it takes none before it is told so."""
        ...

    def take_unreported(self, chain: int) -> bool:
        """Whether the queue was too full for the last signature's report; the caller makes it."""
        ...

    def waits_since_ns(self, chain: int) -> int | None:
        """Return when the reservation under way was made, CLOCK_MONOTONIC, if there is one."""
        ...

    def abandon(self, chain: int) -> Underway | None:
        """Give back the reservation under way."""
        ...


class EndLane(Protocol):
    """One open connection from an agent to its validator, its plain requests asked of a node as
    they arrive.
    """

    blocked: bool
    """As of a SignLane."""

    seq: int
    """The number of the request that waits for its answer, whoever asked which nodes
    for it; 0: none does.
    """

    def know(self, public_key: bytes) -> None:
        """The key that signatures must verify with: before it is known nothing is answered here."""
        ...

    def turn(self, node: "NodeLane | None", seq: int) -> Request | Turn:
        """Receive once and look for one request, unless one is under way. It is asked of `node`
        under `seq` if it is plain; a Request is pending in the session and the owner's to answer.
        Raises: as SignLane.turn().
        """
        ...

    def take_unsent(self) -> bytes:
        """Return what the socket did not take, which the owner sends before anything else."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Passed:
    """An answer that went to a validator. `number`: of its connection."""

    number: int
    refused: bool


class NodeLane(Protocol):
    """One agent's link to a node, the answers on it passed on as they arrive."""

    blocked: bool
    """As of a SignLane."""

    def turn(self, *, serve: bool) -> tuple[bytes, list[Passed]]:
        """Receive once; with `serve`, pass on the answers in front.

        The rest, decrypted, for the owner; and what was passed on.

        Raises: as SignLane.turn().
        """
        ...

    def take_unsent(self) -> bytes:
        """Return what the socket did not take, which the owner sends before anything else."""
        ...


class RelayPath(Protocol):
    """The plain case of an agent without a line of Python: see csrc/relay.h.

    The general path is cometkms.agent itself.
    """

    def end(self, number: int, session: Session, fd: int) -> EndLane:
        """`number`: the owner's name for the connection, below CHAINS_MAX; the last one
        made under it counts.
        """
        ...

    def node(self, frames: Frames, fd: int) -> NodeLane:
        """`frames` are used here and by the owner."""
        ...


class AuditLines(Protocol):
    """Lines of the audit log of what is signed every day, many in one call.

    The general path is cometkms/audit/log.py.
    """

    def make(
        self, records: Sequence[bytes], *, life: int, number: int, seq: int, head: str, room: int
    ) -> tuple[int, bytes, str]:
        """How many of the records, from the first on, are plain; their lines, with newlines; the
        hash of the last one.

        life, number: of the signer process that writes, and of its last decision in the log; seq,
        head: of the log's last line; room: bytes that the file may still take. A record that is not
        plain, as a queue's stranger may have written it, ends it.
        """
        ...


class Core(Protocol):
    """The whole of it. `name` is "native" or "pure"."""

    name: str

    # codec
    def decode_message(self, dialect: Dialect, untrusted: bytes) -> Message:
        """Decode one length-prefixed message of either direction; the length must match exactly.

        Unknown fields are skipped; repeated scalars: last wins; repeated messages merge.
        Raises: ProtocolError.
        """
        ...

    def encode_message(self, dialect: Dialect, message: Message) -> bytes:
        """Encode as CometBFT's own code does, length prefix included.

        Byte for byte equal to the vectors.
        """
        ...

    def check_request(self, dialect: Dialect, chain_id: str, message: Message) -> Request:
        """Judge a decoded request for this chain (senseless → reason) and make its sign bytes.

        Pure.
        """
        ...

    def extension_sign_bytes(self, chain_id: str, hrs: HRS, extension: bytes) -> bytes: ...

    def parse_sign_bytes(self, untrusted: bytes) -> SignBytes:
        """Strict: raises ProtocolError unless re-encoding gives the same bytes."""
        ...

    def same_but_timestamp(self, a: bytes, b: bytes) -> bool:
        """Whether two strictly canonical sign bytes differ at most in their timestamp.

        False if either is not canonical.
        """
        ...

    def reads_as_vote(self, untrusted: bytes) -> bool:
        """Whether the value is what is signed of a vote, a proposal or a vote extension of any
        chain, in either encoding, or reads as one: with its length in front or without, fields in
        any order, repeated or unknown ones among them.
        """
        ...

    def raw_bytes(self, chain_id: str, raw: bytes, unique_id: str) -> bytes:
        """What is signed of Celestia's SignRawBytesRequest."""
        ...

    # SecretConnection
    def ephemeral_public(self, secret: bytearray, *, fresh: bool = True) -> bytes:
        """The X25519 public key of a secret of 32 bytes, which is made here, in place, where it is
        to be fresh: nobody else has a copy.
        """
        ...

    def key_schedule(
        self, ephemeral_secret: Buffer, ephemeral_public: bytes, remote_ephemeral_public: bytes
    ) -> tuple[Frames, bytes]:
        """X25519, Merlin transcript, HKDF: the frames and the 32-byte challenge to sign.

        Raises: ProtocolError for a low-order point.
        """
        ...

    def frames(self, recv_key: bytes, send_key: bytes) -> Frames: ...

    # Noise
    def shared_secret(self, secret: Buffer, remote_public: bytes) -> bytearray:
        """X25519 of a secret of 32 bytes and a remote public key; the caller wipes the 32 bytes.

        Raises: ProtocolError for a low-order point.
        """
        ...

    def noise(self, recv_key: bytes, send_key: bytes) -> Frames:
        """Noise transport messages behind their lengths, as libp2p's secure session frames them."""
        ...

    # keys
    def require(self, key_type: KeyType) -> None:
        """Load the library of a type of key and let it sign a known text; once.

        A process that is shut off later calls it before.

        Raises: OperatorError naming the package that is missing, or what is wrong with it;
        KeyFileError: the type is not built.
        """
        ...

    def key_slot(self, base64_secret: bytearray, chain_id: str, key_type: KeyType = ED25519) -> KeySlot:
        """Decode the secret of a key file (base64 of key_type.secret_bytes) into locked memory and
        wipe `base64_secret`.

        Raises: KeyFileError if it is no private key of that type; OperatorError, as require().
        """
        ...

    def sealed_slot(self, sealed: SealedKey, passphrase: Buffer, chain_id: str) -> KeySlot:
        """Open a sealed key straight into locked memory.

        Raises: KeyFileError for another passphrase, a changed file, or memory that cannot be had.
        """
        ...

    def outside_slot(self, public_key: bytes, sign: Callable[[bytes], bytes], chain_id: str) -> KeySlot:
        """A slot whose key is elsewhere, as in a hardware token: `sign` gives a signature, which is
        verified before it leaves.

        Marks, chain and canonical bytes are guarded as in every slot.
        """
        ...

    def seal_key(self, base64_secret: bytearray, passphrase: Buffer, blank: SealedKey) -> SealedKey:
        """Seal a key file's secret (base64, wiped), with the cost, salt and nonce of `blank`, whose
        public key tells its type only.

        Raises: KeyFileError; OperatorError, as require().
        """
        ...

    def unseal_key(self, sealed: SealedKey, passphrase: Buffer) -> bytearray:
        """The secret as a key file has it, base64, for the caller to wipe: only for an operator's
        command. Raises: KeyFileError.
        """
        ...

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the signature is the key's (as keytypes.typed() makes it) over the message.

        Raises: OperatorError, as require().
        """
        ...

    # session
    def session(self, dialect: Dialect, chain_id: str, frames: Frames | None, pending: bytes) -> Session:
        """`frames` passes into the session's hands; `pending`: plain bytes that arrived
        behind the handshake.
        """
        ...

    # the state process's hot path
    def hot_path(
        self,
        *,
        path: Path,
        fd: int,
        nonce: int,
        quorum: int,
        others: tuple[str, ...],
        rows: tuple[Row, ...],
        chains: tuple[int, ...],
        permits: Queue,
        may: Callable[[], tuple[bool, bool]],
        on_synced: Callable[[int], None],
        on_permit: Callable[[int], None],
    ) -> HotPath:
        """`path`, `fd`: of the store.

        `chains`: the row of each chain of the signer; no other row is written here.

        `may`: whether this node may promise, and whether it may propose, now. `on_synced`,
        `on_permit`: after the fact, in ns.
        """
        ...

    # the signer's
    def trail(self, queue: Queue, life: int) -> Trail:
        """`queue`: pushed here; `life`: of this signer process."""
        ...

    def audit_lines(self, chains: Sequence[str]) -> AuditLines | None:
        """`chains`: their ids, by a decision's number.

        None: this core has none, and the general path (audit/log.py) makes every line.
        """
        ...

    def sign_path(
        self, *, nonce: int, reservations: Queue, permits: Queue, slots: list[KeySlot], trail: Trail | None = None
    ) -> SignPath:
        """`reservations`: pushed here; `permits`: popped here; `slots`: of each chain."""
        ...

    # the agent's
    def relay_path(self) -> RelayPath | None:
        """None: this core has none, and everything is the general path's."""
        ...
