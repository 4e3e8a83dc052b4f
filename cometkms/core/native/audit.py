"""Both ends of the audit log over the C core: what the signer notes (csrc/audit.h), and lines of it
(csrc/line.h).
"""

import json
from array import array
from collections.abc import Sequence
from typing import Any, Final

from cometkms._native import ffi, lib
from cometkms.core.interface import Queue
from cometkms.core.native.queue import RingQueue
from cometkms.core.native.seam import borrowed
from cometkms.errors import InvariantError
from cometkms.limits import AUDIT_BATCH, AUDIT_LINE_MAX_BYTES, AUDIT_VALIDATOR_MAX_BYTES, QUEUE_SLOT_BYTES
from cometkms.model import Decision


def asker_of(validator: bytes, identity: bytes) -> Any:
    """A ck_asker. Raises: InvariantError for what does not fit one."""
    asker = ffi.new("ck_asker *")
    if len(validator) > AUDIT_VALIDATOR_MAX_BYTES or len(identity) > len(asker.identity):
        raise InvariantError(f"an asker of {len(validator)} and {len(identity)} bytes")
    ffi.memmove(asker.name, validator, len(validator))
    ffi.memmove(asker.identity, identity, len(identity))
    asker.name_len, asker.identity_len = len(validator), len(identity)
    return asker


_OUT_BYTES: Final = AUDIT_BATCH * AUDIT_LINE_MAX_BYTES


class NativeLines:
    """Write the audit log's lines of what is signed every day, many in one call."""

    __slots__ = ("_c", "_chains", "_out", "_sizes", "_taken", "_used")

    def __init__(self, chains: Sequence[str]) -> None:
        # keeps their memory alive
        self._chains = [ffi.from_buffer(json.dumps(chain).encode()) for chain in chains]
        self._c = ffi.new("ck_lines *")
        self._c.chains = len(chains)
        for number, text in enumerate(self._chains):
            self._c.chain[number].at, self._c.chain[number].len = ffi.cast("uint8_t *", text), len(text)
        self._out = ffi.new("uint8_t[]", _OUT_BYTES)
        self._sizes = ffi.new("uint16_t[]", AUDIT_BATCH)
        self._taken, self._used = ffi.new("uint32_t *"), ffi.new("size_t *")

    def make(
        self, records: Sequence[bytes], *, life: int, number: int, seq: int, head: str, room: int
    ) -> tuple[int, bytes, str]:
        """Write the next lines of the audit log in one call, AUDIT_BATCH of them at most."""
        chunk = records[:AUDIT_BATCH]
        joined, sizes = b"".join(chunk), [len(one) for one in chunk]
        if max(sizes, default=0) > QUEUE_SLOT_BYTES:
            return 0, b"", head
        log = self._c
        log.life, log.number, log.seq = life, number, seq
        ffi.memmove(log.head, head.encode(), len(log.head))
        ffi.memmove(self._sizes, array("H", sizes), 2 * len(sizes))
        borrowed_records = ffi.new("ck_bytes *", (ffi.from_buffer("uint8_t[]", joined), len(joined)))
        cap = max(0, min(room, _OUT_BYTES))
        lib.ck_lines_of(log, borrowed_records[0], self._sizes, len(sizes), self._out, cap, self._taken, self._used)
        return self._taken[0], bytes(ffi.buffer(self._out, self._used[0])), bytes(log.head).decode()


class NativeTrail:
    """Hand the signer's decisions to the audit process.

    The hot path notes its signatures in C, under the same numbers.
    """

    __slots__ = ("_queue", "c")

    def __init__(self, queue: Queue, life: int) -> None:
        if not isinstance(queue, RingQueue):
            raise InvariantError("the C core's trail takes the C core's queue only")
        self._queue = queue  # keeps its memory alive
        self.c = ffi.new("ck_audit *")
        self.c.ring, self.c.wake, self.c.life = queue.ring, queue.fileno(), life

    def note(self, decision: Decision) -> None:
        """Hand over one decision, after its answer has left."""
        keep: list[Any] = []
        made = ffi.new("ck_decision *")
        made.outcome, made.reason, made.kind = decision.outcome, decision.reason, decision.kind
        made.chain, made.at, made.took_ns = decision.chain, tuple(decision.hrs), decision.took_ns
        made.bytes = borrowed(decision.sign_bytes, keep)
        made.block_hash = borrowed(decision.block_hash, keep)
        lib.ck_audit_note(self.c, made, asker_of(decision.validator, decision.identity))
