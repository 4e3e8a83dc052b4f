"""The signer's end of the audit log over the C core (csrc/audit.h)."""

from typing import Any

from cometkms._native import ffi, lib
from cometkms.errors import InvariantError
from cometkms.interface import Queue
from cometkms.limits import AUDIT_VALIDATOR_MAX_BYTES
from cometkms.model import Decision
from cometkms.native.queue import RingQueue
from cometkms.native.seam import borrowed


def asker_of(validator: bytes, identity: bytes) -> Any:
    """A ck_asker. Raises: InvariantError for what does not fit one."""
    asker = ffi.new("ck_asker *")
    if len(validator) > AUDIT_VALIDATOR_MAX_BYTES or len(identity) > len(asker.identity):
        raise InvariantError(f"an asker of {len(validator)} and {len(identity)} bytes")
    ffi.memmove(asker.name, validator, len(validator))
    ffi.memmove(asker.identity, identity, len(identity))
    asker.name_len, asker.identity_len = len(validator), len(identity)
    return asker


class NativeTrail:
    """See interface.Trail. The hot path notes its signatures in C, under the same numbers."""

    __slots__ = ("_queue", "c")

    def __init__(self, queue: Queue, life: int) -> None:
        if not isinstance(queue, RingQueue):
            raise InvariantError("the C core's trail takes the C core's queue only")
        self._queue = queue  # keeps its memory alive
        self.c = ffi.new("ck_audit *")
        self.c.ring, self.c.wake, self.c.life = queue.ring, queue.fileno(), life

    def note(self, decision: Decision) -> None:
        """See interface.Trail."""
        keep: list[Any] = []
        made = ffi.new("ck_decision *")
        made.outcome, made.reason, made.kind = decision.outcome, decision.reason, decision.kind
        made.chain, made.at, made.took_ns = decision.chain, tuple(decision.hrs), decision.took_ns
        made.bytes = borrowed(decision.sign_bytes, keep)
        made.block_hash = borrowed(decision.block_hash, keep)
        lib.ck_audit_note(self.c, made, asker_of(decision.validator, decision.identity))
