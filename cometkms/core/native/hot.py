"""The hot path over the C core (csrc/hot.h).

What it means, and what is plain, is there and in interface.HotPath.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cometkms._native import ffi, lib
from cometkms.core.interface import Abandoned, Frames, Queue, RowRecord
from cometkms.core.native.crypto import NativeFrames
from cometkms.core.native.lanes import FrameLane
from cometkms.core.native.queue import RingQueue
from cometkms.core.native.seam import check, check_turn, read_watermark, to_hrs, to_wire, write_watermark
from cometkms.errors import InvariantError, StoreFailure, disk_failure, os_words
from cometkms.limits import CHAINS_MAX, QUEUE_SLOT_BYTES
from cometkms.model import HRS, Incarnation, Row

_MAY_PROMISE: Final = 1
_MAY_PROPOSE: Final = 2


class NativeRecords:
    """The store's records where C has them (ck_store.rows): a view, which keeps none of its own."""

    __slots__ = ("_c", "_hot", "_rows")

    def __init__(self, hot: Any) -> None:
        self._hot = hot  # keeps its memory alive
        self._c = hot.store
        self._rows = [hot.store.rows[number] for number in range(CHAINS_MAX)]

    def __len__(self) -> int:
        return int(self._c.rows_len)

    def __getitem__(self, number: int) -> RowRecord:
        row = self._row(number)
        return RowRecord(read_watermark(row, row.mark), row.count, bool(row.open), row.sequence, row.newest)

    def __setitem__(self, number: int, record: RowRecord) -> None:
        row = self._row(number)
        write_watermark(row, row.mark, record.mark)
        row.count, row.open, row.sequence, row.newest = record.count, record.opened, record.sequence, record.newest

    def append(self, record: RowRecord) -> None:
        """Take one more row's record."""
        if len(self) >= CHAINS_MAX:
            raise InvariantError(f"more than {CHAINS_MAX} rows")
        self._c.rows_len += 1
        self[len(self) - 1] = record

    def _row(self, number: int) -> Any:
        if not 0 <= number < self._c.rows_len:
            raise IndexError(f"row {number} of {self._c.rows_len}")
        return self._rows[number]

    def set_header(self, seq_base: int, incarnation: Incarnation) -> None:
        """Learn from the store's header where its seq begins and which of its member's
        stores it is.
        """
        self._c.seq_base = seq_base
        self._c.own = tuple(incarnation)

    @property
    def seq(self) -> int:
        """Where the seq begins, and every promise since."""
        return int(lib.ck_store_seq(ffi.addressof(self._hot, "store")))


class NativeLane(FrameLane):
    """Serve one member's connection and handle its plain messages in C."""

    __slots__ = ("_hot", "_member")

    def __init__(self, hot: "NativeHotPath", member: int, frames: NativeFrames, fd: int) -> None:
        self._hot = hot
        self._member = member
        super().__init__(ffi.new("ck_lane *"), frames, fd)
        self._link.member = member
        hot.c.lanes[member] = self._link

    @property
    def served(self) -> int:
        """Count the messages that were handled in C, both ways."""
        return int(self._link.served)

    def turn(self, *, serve: bool) -> bytes:
        """Receive once, handle the plain messages in front, and return the rest for the owner."""
        hot = self._hot
        status = lib.ck_lane_turn(hot.c, self._link, serve, hot.may(), self._rest_at, self._rest_len, self._error)
        if status == lib.CK_DISK:
            raise hot.failure()
        if status != lib.CK_OK:
            check_turn(status, self._error[0])
        hot.tell()
        return self._rest(hot.c.plain)

    def close(self) -> None:
        """Forget the connection, which is closed."""
        if self._hot.c.lanes[self._member] == self._link:
            self._hot.c.lanes[self._member] = ffi.NULL


class NativeHotPath:
    """Serve the members' plain messages and the signer's plain reservations in C.

    Only hot_path() makes one.
    """

    def __init__(
        self,
        c: Any,
        path: Path,
        others: tuple[str, ...],
        permits: RingQueue,
        may: Callable[[], tuple[bool, bool]],
        on_synced: Callable[[int], None],
        on_permit: Callable[[int], None],
    ) -> None:
        self.c = c
        self.records = NativeRecords(c)
        self._path = path
        self._members = {name: number for number, name in enumerate(others)}
        self._permits = permits  # keeps its memory alive
        self._may = may
        self._on_synced, self._on_permit = on_synced, on_permit
        self._syncs = self._permitted = 0
        self._count, self._taken = ffi.new("uint32_t *"), ffi.new("uint32_t *")

    def may(self) -> int:
        """What this node may do now, as C takes it."""
        promise, propose = self._may()
        return (_MAY_PROMISE if promise else 0) | (_MAY_PROPOSE if propose else 0)

    def check(self, status: int, what: str) -> None:
        """Raises: StoreFailure, ProtocolError, InvariantError."""
        if status == lib.CK_DISK:
            raise self.failure()
        check(status, what)

    def failure(self) -> StoreFailure:
        """A write or sync of the store that failed in C, with its cure where the disk has one."""
        number = self.c.store.error
        error = OSError(number, os.strerror(number), str(self._path))
        return disk_failure(error) or StoreFailure(f"{self._path}: {os_words(error)}")

    def tell(self) -> None:
        """What was done is measured after it was done."""
        store = self.c.store
        if store.syncs != self._syncs:
            self._syncs = store.syncs
            self._on_synced(store.sync_ns)
        if self.c.permitted != self._permitted:
            self._permitted = self.c.permitted
            self._on_permit(self.c.permit_ns)

    def set_member(self, member: str, incarnation: Incarnation, seq: int) -> None:
        """Learn what a member's promises and accepts must bear to be plain."""
        number = self._members[member]
        self.c.incarnation_of[number] = tuple(incarnation)
        self.c.seq_of[number] = seq

    def raise_floor(self, number: int, hrs: HRS) -> None:
        """Treat nothing at or below this place as plain from now on."""
        floor = self.c.store.rows[number].floor
        if hrs > to_hrs(floor):
            floor.height, floor.round, floor.step = hrs

    def set_reach(self, number: int, height: int) -> None:
        """Treat nothing above this height as plain, since it may be a jump."""
        self.c.store.rows[number].reach = height

    def lane(self, member: str, frames: Frames, fd: int) -> NativeLane:
        """Make the fast path's end of a member's connection."""
        if not isinstance(frames, NativeFrames):
            raise InvariantError("the hot path takes the C core's frames only")
        return NativeLane(self, self._members[member], frames, fd)

    def take(self, requests: Queue) -> tuple[list[bytes], int]:
        """Empty the signer's queue, a batch at a time, and return the messages that are not plain."""
        if not isinstance(requests, RingQueue):
            raise InvariantError("the hot path takes the C core's queue only")
        status = lib.ck_hot_take(self.c, requests.ring, self.may(), self._count, self._taken)
        if (
            status == lib.CK_OK and self._taken[0] == 0
        ):  # clear the wake-up, then look again: a push in between is not lost
            requests.clear()
            status = lib.ck_hot_take(self.c, requests.ring, self.may(), self._count, self._taken)
        self.check(status, "the signer's queue")
        self.tell()
        rest = self.c.rest
        messages = [bytes(ffi.buffer(rest + n * QUEUE_SLOT_BYTES, self.c.rest_len[n])) for n in range(self._count[0])]
        return messages, self._taken[0]

    def abandon(self, number: int) -> Abandoned | None:
        """Give back the row's reservation under way."""
        place = self.c.places[number]
        state, place.state = place.state, 0
        if state != 1:
            return None
        hrs, sign_bytes = to_hrs(place.at), bytes(ffi.buffer(place.bytes, place.bytes_len))
        return Abandoned(place.nonce, place.request_id, place.chain, hrs, sign_bytes)

    def waiting(self, longer_than_ns: int) -> list[int]:
        """Return the rows whose reservation has waited for so long."""
        places, before = self.c.places, int(self.c.calls.now_ns()) - longer_than_ns
        return [n for n in range(len(self.records)) if places[n].state == 1 and places[n].started_ns < before]

    def idle_s(self) -> float:
        """Return the seconds since the last promise was made here."""
        return (int(self.c.calls.now_ns()) - int(self.c.store.active_ns)) / 1e9

    def counters(self) -> dict[str, int]:
        """Count what was permitted to the signer and answered to members in C."""
        return {"permitted": int(self.c.permitted), "answered": int(self.c.answered)}

    def seq_of(self, member: str) -> int:
        """Return the highest seq that the member showed here."""
        return int(self.c.seq_of[self._members[member]])

    def flow(self, member: str) -> tuple[float, float]:
        """Tell when the last promise was made here for the member, and when its last
        one for this node came.
        """
        lane = self.c.lanes[self._members[member]]
        return (lane.promised_ns / 1e9, lane.accepted_ns / 1e9) if lane != ffi.NULL else (0.0, 0.0)


def hot_path(
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
) -> NativeHotPath:
    """Make the members' fast path over the store and the signer's queue."""
    if not isinstance(permits, RingQueue):
        raise InvariantError("the hot path takes the C core's queue only")
    c = ffi.new("ck_hot *")
    c.calls = lib.ck_calls_of_libc()
    c.nonce, c.quorum, c.members, c.chains = nonce, quorum, len(others), len(chains)
    c.permits, c.permits_wake = permits.ring, permits.fileno()
    c.store.fd = fd
    for number, row in enumerate(rows):
        of_c, chain_id = c.store.rows[number], to_wire(row.chain_id)
        ffi.memmove(of_c.key, row.key, 32)
        ffi.memmove(of_c.chain_id, chain_id, len(chain_id))
        of_c.chain_id_len, of_c.first_block = len(chain_id), 2 + 2 * number
    for chain, number in enumerate(chains):
        c.row_of[chain] = number
        c.store.rows[number].served = True
    return NativeHotPath(c, path, others, permits, may, on_synced, on_permit)
