"""The promise store: what this node has promised, one aligned sector a record, synced before
anybody hears of it.

One file, `data/<id>/promises`, made whole and preallocated at creation, so that a promise
overwrites one sector in place and one fdatasync writes one block and no metadata:

    block 0, 1              the header, two slots: owner, epoch, members, node state, birth nonce
                            and record, incarnation
    block 2+2i, 3+2i        row i, two slots: public key, chain id, height/round/step, flags, sign
                            bytes, signature if known
    block 2i, 2i+1 … + 1024 what is known of member i, two slots: its highest incarnation, and its
                            signature over it

A record is one 512-byte sector in a 4096-byte block; the two slots of a record lie in different
blocks, and the slot that does not hold the newest record is the one written. So a crash leaves the
old record or the new one. A slot that was never written is all zero; one that is neither that nor
valid is corruption, and the node refuses to start.

The first record of a pair is written to both slots, one after the other, before the second record
can be: sequence 1 to slot 0, and 2, the same, to slot 1. So a slot of zeros beside a sequence of 1
lacks nothing; beside a higher one it is a record that the disk lost, and corruption, too. Older
versions wrote the second slot with the second record, or at the next start.

The last two digits of the magic are the format's number. A header is written in format 2 as long as
its store is its member's first, and in format 3 from then on: a program that does not know
incarnations refuses a store that has one. Whatever a later one changes, a header's sector begins
with its magic, so that every version knows a store that is not its own, and refuses it instead of
taking it for a corrupt one.

    sector   magic 8 | sequence 8 | body length 2 | body | zeros | BLAKE2b-128 of all before 16

At open what a killed process left in the page cache is synced, then the newest record of each pair
is written again and synced, before the first answer: it is then durable, or the open fails. A write
or sync that fails is never trusted again: the object is dead.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast

from cometkms.core.interface import Records, RowRecord
from cometkms.core.pure.hot import PureRecords
from cometkms.durable import Disk, FormatError, discarding, open_file, read_bounded, sync_directory
from cometkms.errors import (
    OTHER_USER_CURE,
    BusyError,
    InvariantError,
    StateError,
    StoreFailure,
    cure_of_file,
    is_no_file,
    os_words,
    said,
)
from cometkms.layouts import ROW_MAGIC, SECTOR_CHECK_BYTES, layout
from cometkms.limits import (
    BIRTH_NONCE_BYTES,
    BLOCK_BYTES,
    CHAINS_MAX,
    INCARNATION_MAX,
    INCARNATION_NONCE_MAX,
    MEMBER_IDS_MAX_BYTES,
    MEMBERS_MAX,
    SECTOR_BYTES,
    SEQ_MAX,
)
from cometkms.model import HRS, Incarnation, Row, Watermark
from cometkms.rules.birth import Life, NodeState, Record
from cometkms.rules.incarnation import FIRST, Statement

STORE_NAME: Final = "promises"
_HEADER_MAGIC: Final = b"CMKMSH03"
_HEADER_MAGIC_FIRST: Final = b"CMKMSH02"  # without an incarnation
_MEMBER_MAGIC: Final = b"CMKMSM01"
_MAGIC_KIND_BYTES: Final = 6  # then two digits: the format, of which this program knows one
_PREFIX: Final = layout("sector")
_BODY_MAX: Final = SECTOR_BYTES - _PREFIX.size - SECTOR_CHECK_BYTES
# epoch, seq base, node state, members, nonces, birth nonce, digest
_HEADER_BODY: Final = struct.Struct("<QQBBB8s32s")
# incarnation: number, nonce; whether it is still to be taken
_HEADER_END: Final = struct.Struct("<QQB")
# incarnation, size of the signature; then signature and id
_MEMBER_BODY: Final = struct.Struct("<QQB")
_MEMBER_OFFSET: Final = 1024  # in the block, behind the header's or the row's sector
_ROW_BODY: Final = layout("row")
_BURNT: Final = 1
_CLOSED: Final = 2
# behind the ids of a sealed store: the digest of what follows, and whether it was confirmed
_SEALED_BYTES: Final = 33
_LOST_RECORD: Final = "it is empty, and was written"
_SURVEY_TRIES: Final = 3
_SURVEY_AGAIN_S: Final = 0.02
#: How reading fails where what holds a file is broken.
BROKEN: Final = frozenset({errno.EIO, errno.EBADMSG, errno.EUCLEAN})
FILE_BYTES: Final = (2 + 2 * CHAINS_MAX) * BLOCK_BYTES


@dataclass(frozen=True, slots=True)
class Header:
    """Whose store this is. `members`: the ids of the epoch's nodes, sorted, this one's among them.

    `record`: the birth nonces of the members, in their order; () before birth, while
    recovering, where the operator's `recover` made it, and once sealed. `seq_base`:
    where the store's seq began, above what peers remember of an earlier one.
    `incarnation`: which of its member's stores it is (rule 15); `unclaimed`: it stands
    for its member only after it took a higher one. `following`: of a sealed store, the
    members_digest of the epoch that may follow; b"" where an older version sealed it.
    `confirmed`: it was sealed by a process that had read every other member.
    """

    owner: str
    epoch: int
    members: tuple[str, ...]
    state: NodeState
    birth_nonce: bytes
    record: tuple[bytes, ...] = ()
    seq_base: int = 0
    incarnation: Incarnation = FIRST
    unclaimed: bool = False
    following: bytes = b""
    confirmed: bool = False

    @property
    def life(self) -> Life:
        """Return the store's life as the others see it."""
        record: Record = tuple(zip(self.members, self.record, strict=True)) if self.record else ()
        return Life(self.state, self.birth_nonce, record)

    @property
    def unmet(self) -> bool:
        """Return whether the operator's `recover` made it, and no other member has been heard
        since: who begins in an epoch has a record.
        """
        return self.unclaimed and self.state is NodeState.COMPLETE and not self.record


def members_digest(epoch: int, members: tuple[str, ...]) -> bytes:
    """hash(epoch, sorted ids): 32 bytes."""
    named = "\0".join(sorted(members)).encode()
    return hashlib.blake2b(struct.pack("<Q", epoch) + named, digest_size=32, person=b"cmkms-members").digest()


def _seal_sector(magic: bytes, sequence: int, body: bytes) -> bytes:
    if len(body) > _BODY_MAX:
        raise InvariantError(f"a record of {len(body)} bytes does not fit a sector ({_BODY_MAX})")
    content = (_PREFIX.pack(magic, sequence, len(body)) + body).ljust(SECTOR_BYTES - SECTOR_CHECK_BYTES, b"\0")
    return content + hashlib.blake2b(content, digest_size=SECTOR_CHECK_BYTES).digest()


def _open_sector(magic: bytes, sector: bytes, path: Path) -> tuple[int, bytes, bytes] | None:
    """(sequence, body, magic), or None for a slot never written.

    Raises: ValueError for one that does not check; FormatError for one of another version, whatever
    follows its name.
    """
    if sector == bytes(SECTOR_BYTES):
        return None
    kind, number = sector[:_MAGIC_KIND_BYTES], sector[_MAGIC_KIND_BYTES : len(magic)]
    known = (magic, _HEADER_MAGIC_FIRST) if magic == _HEADER_MAGIC else (magic,)
    if kind == magic[:_MAGIC_KIND_BYTES] and kind + number not in known and number.isdigit():
        raise FormatError(path, str(int(number)), str(int(magic[_MAGIC_KIND_BYTES:])))
    content, check = sector[:-SECTOR_CHECK_BYTES], sector[-SECTOR_CHECK_BYTES:]
    if len(sector) != SECTOR_BYTES or hashlib.blake2b(content, digest_size=SECTOR_CHECK_BYTES).digest() != check:
        raise ValueError("its checksum does not match")
    found, sequence, size = _PREFIX.unpack_from(content)
    if found not in known or size > _BODY_MAX:
        raise ValueError(f"it is no such record: {found!r}, {size} bytes")
    return sequence, content[_PREFIX.size : _PREFIX.size + size], found


def _lacks_record(sequence: int) -> bool:
    """Whether an empty slot was written, by the sequence that the other one holds, 0 for none."""
    return sequence > 1


def _encode_header(header: Header) -> tuple[bytes, bytes]:
    """Magic and body."""
    ids = [header.owner.encode(), *(member.encode() for member in header.members)]
    if len(header.members) > MEMBERS_MAX or sum(map(len, ids)) > MEMBER_IDS_MAX_BYTES:
        raise StateError(f"the ids of the members take more than {MEMBER_IDS_MAX_BYTES} bytes", cure="shorter ids")
    if any(len(one) != BIRTH_NONCE_BYTES for one in (header.birth_nonce, *header.record)):
        raise InvariantError(f"birth nonces have {BIRTH_NONCE_BYTES} bytes")
    digest = members_digest(header.epoch, header.members)
    sizes = (header.state, len(header.members), len(header.record))
    fixed = _HEADER_BODY.pack(header.epoch, header.seq_base, *sizes, header.birth_nonce, digest)
    body = fixed + b"".join(header.record) + b"".join(bytes([len(one)]) + one for one in ids)
    if header.incarnation == FIRST and not header.unclaimed and not header.following:
        return _HEADER_MAGIC_FIRST, body
    sealed = header.following + bytes([header.confirmed]) if header.following else b""
    return _HEADER_MAGIC, body + _HEADER_END.pack(*header.incarnation, header.unclaimed) + sealed


def _decode_header(magic: bytes, body: bytes) -> Header:
    epoch, seq_base, state, count, nonces, nonce, digest = _HEADER_BODY.unpack_from(body)
    at, ids = _HEADER_BODY.size, []
    record = tuple(body[at + n * BIRTH_NONCE_BYTES : at + (n + 1) * BIRTH_NONCE_BYTES] for n in range(nonces))
    at += nonces * BIRTH_NONCE_BYTES
    for _ in range(count + 1):
        size = body[at]
        ids.append(body[at + 1 : at + 1 + size].decode())
        at += 1 + size
    number, own_nonce, unclaimed = 0, 0, state == NodeState.RECOVERING
    if magic == _HEADER_MAGIC:
        number, own_nonce, unclaimed = _HEADER_END.unpack_from(body, at)
        at += _HEADER_END.size
    if seq_base > SEQ_MAX or number > INCARNATION_MAX or own_nonce > INCARNATION_NONCE_MAX:
        raise ValueError(f"it names a seq of {seq_base} and the incarnation {number}, which no store ever reaches")
    incarnation = Incarnation(number, own_nonce)
    header = Header(
        ids[0], epoch, tuple(ids[1:]), NodeState(state), nonce, record, seq_base, incarnation, bool(unclaimed)
    )
    if magic == _HEADER_MAGIC and len(body) == at + _SEALED_BYTES:
        header = replace(header, following=body[at:-1], confirmed=bool(body[-1]))
        at = len(body)
    if members_digest(epoch, header.members) != digest or nonces not in (0, count) or at != len(body):
        raise ValueError("its members do not match their digest")
    return header


def _encode_row(row: Row, record: RowRecord) -> bytes:
    mark, chain = record.mark, row.chain_id.encode()
    flags = _BURNT if mark.hrs > HRS(0, 0, 0) and not mark.sign_bytes else 0
    flags |= 0 if record.opened else _CLOSED
    sizes = (flags, len(mark.sign_bytes), len(mark.signature), len(chain))
    fixed = _ROW_BODY.pack(row.key, *mark.hrs, *sizes, record.count)
    return fixed + chain + mark.sign_bytes + mark.signature


def _decode_row(body: bytes) -> tuple[Row, RowRecord]:
    """Whose row it is, and its record, without its slot."""
    fields = _ROW_BODY.unpack_from(body)
    public_key, height, round_, step, flags, bytes_size, signature_size, chain_size, count = fields
    at = _ROW_BODY.size
    if count > SEQ_MAX:
        raise ValueError(f"it counts {count} promises, which no store ever makes")
    if len(body) != at + chain_size + bytes_size + signature_size or bool(flags & _BURNT) != (
        not bytes_size and (height, round_, step) > (0, 0, 0)
    ):
        raise ValueError("its sizes do not add up")
    chain = body[at : at + chain_size].decode()
    sign_bytes = body[at + chain_size : at + chain_size + bytes_size]
    signature = body[at + chain_size + bytes_size :]
    mark = Watermark(HRS(height, round_, step), sign_bytes, signature)
    return Row(public_key, chain), RowRecord(mark, count, not flags & _CLOSED)


@dataclass(slots=True)
class _Slot:
    """One record's pair of slots: where it stands and which slot holds the newest.

    `offset`: in their blocks.
    """

    first_block: int
    sequence: int = 0
    newest: int = 1  # so that the first write goes to slot 0
    offset: int = 0
    magic: bytes = b""  # of the newest

    def at(self, number: int) -> int:
        """Where a slot begins in the file."""
        return (self.first_block + number) * BLOCK_BYTES + self.offset


@dataclass(slots=True)
class _Known:
    """What is recorded of one other member."""

    slot: _Slot
    statement: Statement | None = None


class PromiseStore:
    """An open, locked store. `disk` makes the system calls (tests replace it)."""

    def __init__(self, path: Path, fd: int, disk: Disk) -> None:
        """Use create() or open()."""
        self.path = path
        self.header = Header("", 0, (), NodeState.EMPTY, bytes(BIRTH_NONCE_BYTES))
        self._fd = fd
        self._disk = disk
        self._header_slot = _Slot(0)
        self._rows: list[Row] = []
        self._records: Records = PureRecords()
        self._known: dict[str, _Known] = {}
        self._failure: str | None = None

    # --- life ---

    @classmethod
    def create(
        cls,
        path: Path,
        header: Header,
        rows: list[tuple[Row, Watermark]],
        disk: Disk | None = None,
        *,
        opened: bool = True,
        known: Iterable[Statement] = (),
    ) -> "PromiseStore":
        """Make a store that was not there; it appears under its name only when it is
        whole and durable.

        `opened`: whether the rows may be promised in at once. `known`: of the other members'
        incarnations.

        Raises: StateError if one is there; StoreFailure.
        """
        if path.exists():
            raise StateError(f"{path} is there already", cure="none needed, start the node")
        aside = path.with_name(path.name + ".new")
        fd = -1
        try:
            fd = open_file(aside, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            _lock(fd, path)
            with discarding(aside):
                os.posix_fallocate(fd, 0, FILE_BYTES)
                # written, too: later syncs have no extents to convert
                os.pwrite(fd, bytes(FILE_BYTES), 0)
                os.fsync(fd)
                store = cls(path, fd, disk or cast(Disk, os))
                store.write_header(header)
                for row, mark in rows:
                    store.add_row(row, mark, opened=opened)
                for statement in known:
                    store.record(statement)
                aside.rename(path)
            sync_directory(path.parent)
        except BaseException as error:
            if fd >= 0:
                os.close(fd)
            if isinstance(error, OSError):
                raise StoreFailure(f"{path} could not be made: {os_words(error)}") from error
            raise
        return store

    @classmethod
    def open(cls, path: Path, disk: Disk | None = None) -> "PromiseStore":
        """Lock, read and check every record, then write the newest ones again and sync.

        Raises: StateError (missing, corrupt), BusyError (another process has it), StoreFailure.
        """
        return cls._open(path, disk or cast(Disk, os), to_write=True)

    @classmethod
    def read(cls, path: Path) -> "PromiseStore":
        """Lock, read and check every record for somebody who only looks: nothing is written, and
        nothing can be.

        What was read may be in the page cache only, so nobody answers a request on it.
        Raises: as open().
        """
        return cls._open(path, cast(Disk, os), to_write=False)

    @classmethod
    def _open(cls, path: Path, disk: Disk, *, to_write: bool) -> "PromiseStore":
        fd = _descriptor(path, os.O_RDWR if to_write else os.O_RDONLY)
        store = cls(path, fd, disk)
        try:
            _lock(fd, path, fcntl.LOCK_EX if to_write else fcntl.LOCK_SH)
            store._load()
            if to_write:
                store._rewrite()
            else:
                store._failure = "it was opened to be read"
        except BaseException:
            os.close(fd)
            raise
        return store

    def close(self) -> None:
        """Let go of the file and its lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._failure = "it is closed"

    def fileno(self) -> int:
        """Return the file's descriptor for the fast path."""
        return self._fd

    def keep_in(self, records: Records) -> None:
        """Keep the records there from now on, where the fast path reads and writes them, too."""
        records.set_header(self.header.seq_base, self.header.incarnation)
        for number in range(len(self._records)):
            records.append(self._records[number])
        self._records = records

    # --- rows ---

    @property
    def rows(self) -> tuple[Row, ...]:
        """Return the rows in the order of their numbers."""
        return tuple(self._rows)

    def name_key(self, number: int, row: Row) -> None:
        """Whose row it is: the file has 32 bytes of a key, and signatures verify with the whole.

        Raises: InvariantError for another row.
        """
        if self._rows[number] != row:
            raise InvariantError(f"row {number} is not of the key and chain {row}")
        self._rows[number] = row

    @property
    def seq(self) -> int:
        """Grows with every promise, durable before anybody hears of it: a store that is put back
        shows a lower one.
        """
        return self._records.seq

    def mark(self, number: int) -> Watermark:
        """The durable mark of a row."""
        return self._records[number].mark

    def opened(self, number: int) -> bool:
        """Whether the row may be promised in."""
        return self._records[number].opened

    def add_row(self, row: Row, mark: Watermark, *, opened: bool = True) -> int:
        """A new row at its starting mark, durable on return.

        Raises: StateError when the store is full; StoreFailure.
        """
        if row in self.rows:
            raise InvariantError(f"row {row} is there already")
        if len(self._rows) >= CHAINS_MAX:
            raise StateError(f"{self.path} holds {CHAINS_MAX} rows already")
        number = len(self._rows)
        self._records.append(self._written(number, row, RowRecord(mark, opened=opened)))
        self._rows.append(row)
        return number

    def write_mark(self, number: int, mark: Watermark) -> None:
        """Move a row's mark, durable on return.

        At an equal place only more may become known: a signature over the bytes held, or that
        nothing is known (burnt). Raises: InvariantError if the mark would fall or held bytes be
        replaced; StoreFailure (the store is then dead).
        """
        old = self._records[number]
        if mark.hrs < old.mark.hrs or (mark.hrs == old.mark.hrs and mark.sign_bytes not in (old.mark.sign_bytes, b"")):
            raise InvariantError(f"a mark never falls: {old.mark} is held, {mark} was to be written")
        self._write_record(number, RowRecord(mark, old.count + 1, old.opened, old.sequence, old.newest))

    def reset_mark(self, number: int, mark: Watermark) -> None:
        """Put a row's mark where the operator says, lower too; for store/reset.py alone, of a node
        that does not run. Durable on return.

        Its seq goes on, so that nobody takes it for an older store. Raises: StoreFailure.
        """
        old = self._records[number]
        self._write_record(number, RowRecord(mark, old.count + 1, old.opened, old.sequence, old.newest))

    def open_row(self, number: int) -> None:
        """The row may be promised in from now on. Durable on return. Raises: StoreFailure."""
        self._write_record(number, replace(self._records[number], opened=True))

    def _write_record(self, number: int, record: RowRecord) -> None:
        self._records[number] = self._written(number, self._rows[number], record)

    def _written(self, number: int, row: Row, record: RowRecord) -> RowRecord:
        """The record as it stands after it was written and synced: in its other slot."""
        slot = _Slot(2 + 2 * number, record.sequence, record.newest)
        self._write(slot, ROW_MAGIC, _encode_row(row, record))
        return RowRecord(record.mark, record.count, record.opened, slot.sequence, slot.newest)

    def write_header(self, header: Header) -> None:
        """Durable on return. Raises: StoreFailure."""
        magic, body = _encode_header(header)
        self._write(self._header_slot, magic, body)
        self.header = header
        self._records.set_header(header.seq_base, header.incarnation)

    def known(self, member: str) -> Statement | None:
        """The highest incarnation that was recorded of another member; None for its first."""
        record = self._known.get(member)
        return record.statement if record is not None else None

    def record(self, statement: Statement) -> None:
        """Keep what a member said of its incarnation, durable on return.

        Raises: InvariantError if it would fall; StoreFailure.
        """
        member = statement.member
        if member not in self.header.members:
            raise InvariantError(f"{member} is no member of this store's epoch")
        record = self._known.setdefault(member, _Known(_member_slot(self.header.members.index(member))))
        if record.statement is not None and record.statement.incarnation > statement.incarnation:
            raise InvariantError(
                f"an incarnation never falls: {record.statement} is held, {statement} was to be written"
            )
        self._write(record.slot, _MEMBER_MAGIC, _encode_member(statement))
        record.statement = statement

    def forget_members(self) -> None:
        """Nothing is recorded of the others any more: for a store that changes its epoch or
        members. Durable on return. Raises: StoreFailure.
        """
        for record in self._known.values():
            self._erase(record.slot)
        self._known.clear()

    def _erase(self, slot: _Slot) -> None:
        if self._failure is not None:
            raise StoreFailure(f"{self.path} is not trusted any more: {self._failure}")
        try:
            for number in (0, 1):
                if self._disk.pwrite(self._fd, bytes(SECTOR_BYTES), slot.at(number)) != SECTOR_BYTES:
                    raise OSError("short write")
            self._disk.fdatasync(self._fd)
        except OSError as error:
            self._failure = said(error)
            raise StoreFailure(f"{self.path}: {said(error)}") from error

    # --- disk ---

    def _write(self, slot: _Slot, magic: bytes, body: bytes) -> None:
        """The older slot is overwritten and synced; only then is it the newest. The first record
        goes to both: from then on an empty slot is a lost one.
        """
        for _ in range(1 if slot.sequence else 2):
            self._write_slot(slot, magic, body)

    def _write_slot(self, slot: _Slot, magic: bytes, body: bytes) -> None:
        if self._failure is not None:
            raise StoreFailure(f"{self.path} is not trusted any more: {self._failure}")
        target = 1 - slot.newest
        sector = _seal_sector(magic, slot.sequence + 1, body)
        try:
            written = self._disk.pwrite(self._fd, sector, slot.at(target))
            if written != SECTOR_BYTES:
                raise OSError(f"short write: {written} of {SECTOR_BYTES} bytes")
            self._disk.fdatasync(self._fd)
        except OSError as error:
            self._failure = said(error)
            raise StoreFailure(f"{self.path}: {os_words(error)}") from error
        slot.sequence += 1
        slot.newest, slot.magic = target, magic

    def _read(self, slot: _Slot, magic: bytes, what: str, *, erased: bool = False) -> bytes | None:
        """The newest body of a pair, or None if neither slot was ever written.

        `erased`: one slot may have been made empty, and not yet the other.
        Raises: StateError, StoreFailure.
        """
        newest, empty = None, ""
        for number in (0, 1):
            offset = slot.at(number)
            try:
                sector = self._disk.pread(self._fd, SECTOR_BYTES, offset)
            except OSError as error:
                raise StoreFailure(f"{self.path} cannot be read: {os_words(error)}") from error
            try:
                found = _open_sector(magic, sector, self.path)
            except ValueError as error:
                raise corrupt(self.path, f"slot {number} of {what} (offset {offset}): {error}") from error
            if found is None:
                empty = f"slot {number} of {what} (offset {offset})"
            elif found[0] > slot.sequence:
                slot.sequence, slot.newest, slot.magic, newest = found[0], number, found[2], found[1]
        if empty and _lacks_record(slot.sequence) and not erased:
            raise corrupt(self.path, f"{empty}: {_LOST_RECORD}")
        return newest

    def _load(self) -> None:
        body = self._read(self._header_slot, _HEADER_MAGIC, "the header")
        if body is None:
            raise corrupt(self.path, "it has no header")
        try:
            self.header = _decode_header(self._header_slot.magic, body)
            self._records.set_header(self.header.seq_base, self.header.incarnation)
            self._load_rows()
            self._load_members()
        except (ValueError, IndexError, struct.error) as error:
            raise corrupt(self.path, str(error)) from error

    def _load_rows(self) -> None:
        ended = False
        for number in range(CHAINS_MAX):
            slot = _Slot(2 + 2 * number)
            body = self._read(slot, ROW_MAGIC, f"row {number}")
            if body is None:
                ended = True
                continue
            if ended:
                raise ValueError(f"row {number} follows a row that was never written")
            row, record = _decode_row(body)
            self._rows.append(row)
            self._records.append(replace(record, sequence=slot.sequence, newest=slot.newest))

    def _load_members(self) -> None:
        # only who holds no promises forgets its members, and may have been killed meanwhile
        erased = self.header.state in (NodeState.EMPTY, NodeState.RECOVERING)
        for number, member in enumerate(self.header.members):
            slot = _member_slot(number)
            body = self._read(slot, _MEMBER_MAGIC, f"member {member}", erased=erased)
            if body is not None:
                self._known[member] = _Known(slot, _decode_member(body, member))

    def _rewrite(self) -> None:
        """Nothing is answered on bytes that may be in the page cache only.

        Synced first, so that no pair ever has both slots under way.
        """
        try:
            self._disk.fdatasync(self._fd)
        except OSError as error:
            raise StoreFailure(f"{self.path}: {os_words(error)}") from error
        self.write_header(self.header)
        for known in self._known.values():
            if known.statement is not None:
                self.record(known.statement)
        for number in range(len(self._rows)):
            self._write_record(number, self._records[number])


def _member_slot(number: int) -> _Slot:
    return _Slot(2 * number, offset=_MEMBER_OFFSET)


def _encode_member(statement: Statement) -> bytes:
    fixed = _MEMBER_BODY.pack(*statement.incarnation, len(statement.signature))
    return fixed + statement.signature + statement.member.encode()


def _decode_member(body: bytes, member: str) -> Statement:
    number, nonce, size = _MEMBER_BODY.unpack_from(body)
    signature, name = body[_MEMBER_BODY.size : _MEMBER_BODY.size + size], body[_MEMBER_BODY.size + size :]
    if name != member.encode() or size not in (0, 64) or number > INCARNATION_MAX or nonce > INCARNATION_NONCE_MAX:
        raise ValueError(f"what is known of {member} does not make sense")
    return Statement(member, Incarnation(number, nonce), signature)


def check_opens(path: Path) -> None:
    """Whether a start can open a store that is there to write to it: what can be read behind a link
    is not written to. Reads nothing, writes nothing.

    Raises: StateError, as PromiseStore.open() does.
    """
    os.close(_descriptor(path, os.O_RDWR))


def _descriptor(path: Path, flags: int) -> int:
    """Raises: StateError."""
    try:
        return open_file(path, flags)
    except FileNotFoundError:
        raise StateError(f"{path} is missing") from None
    except OSError as error:
        raise StateError(
            f"{path} cannot be opened: {os_words(error)}", cure=cure_of_file(error, OTHER_USER_CURE)
        ) from error


@contextlib.contextmanager
def held_alone(path: Path) -> Iterator[None]:
    """Hold a store that is to be replaced or set aside, whatever is in it, with the lock that
    open() takes: a node that lives holds it, also where the home's own lock file is gone.

    Raises: BusyError; StateError where the file is there and cannot be opened.
    """
    fd = _opened_to_hold(path)
    try:
        if fd is not None:
            _lock(fd, path)
        yield
    finally:
        if fd is not None:
            os.close(fd)


def _opened_to_hold(path: Path) -> int | None:
    """None where there is no file that a node could have open. Raises: StateError."""
    with contextlib.suppress(OSError):
        return open_file(path, os.O_RDWR)
    try:  # what is not written to can be held, too: one with a second name, say
        return open_file(path, os.O_RDONLY)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno in BROKEN or is_no_file(error):
            return None
        cure = cure_of_file(error, OTHER_USER_CURE)
        raise StateError(f"{path} cannot be opened: {os_words(error)}", cure=cure) from error


def _lock(fd: int, path: Path, kind: int = fcntl.LOCK_EX) -> None:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BusyError(f"{path} is in use by another process", cure="stop the other cmkms first") from None


class CorruptStoreError(StateError):
    """A record does not check.

    One node alone cannot know what it promised; one of several can read the others.
    """


def corrupt(path: Path, what: str) -> CorruptStoreError:
    """Make the error of a corrupt store, with the cure for one node alone."""
    return CorruptStoreError(
        f"{path} is corrupt: {what}. What this node promised is not known, so it does not sign",
        cure="read the chain's head "
        "height from two nodes you trust, wait until it is above every height this signer may have seen, and run "
        "`cmkms recover --min-height HEIGHT` with a height above it",
    )


def readable_marks(path: Path) -> list[tuple[Row, Watermark]]:
    """Every row of which a slot still checks, of a store that may be corrupt, at its newest record
    that does: for recovery, which must not go below them. As open() takes them, so also where
    `cmkms chain reset` left a higher mark in the older slot.

    Raises: FormatError for one of another version: it is not corrupt.
    """
    try:
        return marks_in(path, read_bounded(path, FILE_BYTES))
    except OSError:
        return []


def marks_in(path: Path, data: bytes) -> list[tuple[Row, Watermark]]:
    """readable_marks() of the bytes of a store that were read. Raises: FormatError."""
    _newest(path, data, _HEADER_MAGIC, "the header", [])  # of another version?
    found: dict[Row, Watermark] = {}
    for number in range(CHAINS_MAX):
        at = _Slot(2 + 2 * number).at(0)
        newest = _newest_row(path, data[at : at + 2 * BLOCK_BYTES])
        if newest is None:
            continue
        row, mark = newest
        if row not in found or mark.hrs > found[row].hrs:
            found[row] = mark
    return list(found.items())


def _newest_row(path: Path, slots: bytes) -> tuple[Row, Watermark] | None:
    """What the newest slot says of those that check. Raises: FormatError."""
    found: list[tuple[int, Row, Watermark]] = []
    for number in (0, 1):
        sector = slots[number * BLOCK_BYTES :][:SECTOR_BYTES].ljust(SECTOR_BYTES, b"\0")
        with contextlib.suppress(ValueError, struct.error):
            opened = _open_sector(ROW_MAGIC, sector, path)
            if opened is not None:
                row, record = _decode_row(opened[1])
                found.append((opened[0], row, record.mark))
    return max(found, key=lambda one: one[0])[1:] if found else None


def readable_header(path: Path) -> Header | None:
    """The newest header that still checks, of a store that may be corrupt. Raises: FormatError."""
    try:
        data = read_bounded(path, 2 * BLOCK_BYTES)
    except OSError:
        return None
    newest = _newest(path, data, _HEADER_MAGIC, "the header", [])
    try:
        return _decode_header(newest[2], newest[1]) if newest is not None else None
    except (ValueError, IndexError, struct.error):
        return None


def readable_known(path: Path) -> list[Statement]:
    """What a store that may be corrupt still knows of its members' incarnations.

    Raises: FormatError.
    """
    header, found = readable_header(path), []
    if header is None:
        return []
    data = read_bounded(path, FILE_BYTES)
    for number, member in enumerate(header.members):
        slots = data[_member_slot(number).at(0) :]
        newest = _newest(path, slots, _MEMBER_MAGIC, "", [])
        with contextlib.suppress(ValueError, struct.error):
            if newest is not None:
                found.append(_decode_member(newest[1], member))
    return found


@dataclass(frozen=True, slots=True)
class Survey:
    """What a store's file holds, read beside whoever has it open.

    `problems`: why open() would refuse it; () when it would not.
    """

    header: Header | None
    rows: tuple[tuple[Row, Watermark], ...]
    problems: tuple[str, ...]


def survey(path: Path) -> Survey:
    """Read only, without the lock: a sector that is being written may look torn, so what does not
    check is read again.

    Raises: OSError; FormatError for a store of another version.
    """
    found = _survey_once(path)
    for _ in range(_SURVEY_TRIES):
        if not found.problems:
            break
        time.sleep(_SURVEY_AGAIN_S)
        found = _survey_once(path)
    return found


def _survey_once(path: Path) -> Survey:
    data = read_bounded(path, FILE_BYTES)
    problems = [] if len(data) == FILE_BYTES else [f"it has {len(data)} bytes and not {FILE_BYTES}"]
    header, rows, ended = None, [], False
    for number in range(1 + CHAINS_MAX):
        what = "the header" if number == 0 else f"row {number - 1}"
        magic = _HEADER_MAGIC if number == 0 else ROW_MAGIC
        newest = _newest(path, data[2 * number * BLOCK_BYTES :], magic, what, problems)
        if newest is None:
            ended = True
            continue
        _, body, found = newest
        if ended and number > 1:
            problems.append(f"{what} follows a row that was never written")
        try:
            if number == 0:
                header = _decode_header(found, body)
            else:
                row, record = _decode_row(body)
                rows.append((row, record.mark))
        except (ValueError, IndexError, struct.error) as error:
            problems.append(f"{what}: {error}")
    if header is None and not problems:
        problems.append("it has no header")
    return Survey(header, tuple(rows), tuple(problems))


def _newest(path: Path, slots: bytes, magic: bytes, what: str, problems: list[str]) -> tuple[int, bytes, bytes] | None:
    """Sequence, body and magic."""
    newest: tuple[int, bytes, bytes] | None = None
    empty = ""
    for number in (0, 1):
        at = number * BLOCK_BYTES
        try:
            found = _open_sector(magic, slots[at : at + SECTOR_BYTES].ljust(SECTOR_BYTES, b"\0"), path)
        except ValueError as error:
            problems.append(f"slot {number} of {what}: {error}")
            continue
        if found is None:
            empty = f"slot {number} of {what}"
        elif newest is None or found[0] > newest[0]:
            newest = found
    if empty and newest is not None and _lacks_record(newest[0]):
        problems.append(f"{empty}: {_LOST_RECORD}")
    return newest
