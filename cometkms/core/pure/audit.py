"""The signer's end of the audit log without the C core.

Twin of csrc/audit.c; the record's form is told in cometkms/layouts.py.
"""

import time
from typing import Final

from cometkms.core.interface import Queue
from cometkms.errors import InvariantError
from cometkms.layouts import layout
from cometkms.limits import AUDIT_VALIDATOR_MAX_BYTES, BLOCK_HASH_BYTES, SIGN_BYTES_MAX_BYTES
from cometkms.model import Decision

_HEAD: Final = layout("decision")
_IDENTITY_BYTES: Final = 32
_TOOK_MAX_US: Final = (1 << 32) - 1


def pack(life: int, number: int, at_ns: int, decision: Decision) -> bytes:
    """One record. Raises: InvariantError for an asker that does not fit."""
    validator, identity = decision.validator, decision.identity
    if len(validator) > AUDIT_VALIDATOR_MAX_BYTES or len(identity) > _IDENTITY_BYTES:
        raise InvariantError(f"an asker of {len(validator)} and {len(identity)} bytes")
    sign_bytes = decision.sign_bytes if len(decision.sign_bytes) <= SIGN_BYTES_MAX_BYTES else b""
    block_hash = decision.block_hash if len(decision.block_hash) <= BLOCK_HASH_BYTES else b""
    head = _HEAD.pack(
        life,
        number,
        at_ns,
        *decision.hrs,
        decision.outcome,
        decision.reason,
        decision.kind,
        decision.chain,
        len(sign_bytes),
        len(block_hash),
        len(identity),
        len(validator),
        min(decision.took_ns // 1000, _TOOK_MAX_US),
    )
    return head + sign_bytes + block_hash + identity + validator


class PureTrail:
    """Hand the signer's decisions to the audit process; what finds no room is lost, and
    its number missing.
    """

    def __init__(self, queue: Queue, life: int) -> None:
        self._queue, self._life, self._number = queue, life, 0

    def note(self, decision: Decision) -> None:
        """Hand over one decision without waiting. It is lost where the socket takes no more."""
        self._number += 1
        self._queue.push(pack(self._life, self._number, time.time_ns(), decision))
