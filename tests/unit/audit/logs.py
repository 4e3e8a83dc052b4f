"""Logs that tests write: decisions as the signer notes them, on a disk of a test's choice."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cometkms.audit.files import directory_of
from cometkms.audit.log import AuditLog
from cometkms.core import native
from cometkms.core.pure.audit import pack
from cometkms.model import HRS, Decision, Kind, Outcome, Reason

LIFE = 0x1234
NOW_NS = 1_795_686_919_123_456_789
CHAINS = ("c-1", "c-2")


def signed(height: int, *, block: bytes = b"b", chain: int = 0) -> Decision:
    return Decision(
        Outcome.SIGNED,
        kind=Kind.SIGN_VOTE_REQUEST,
        chain=chain,
        hrs=HRS(height, 0, 3),
        sign_bytes=b"%d" % height + block * 32,
        block_hash=block * 32,
        validator=b"tcp://127.0.0.1:26658",
        identity=b"i" * 32,
        took_ns=312_000,
    )


def refused(height: int, reason: Reason = Reason.CONFLICT) -> Decision:
    return Decision(Outcome.REFUSED, reason, Kind.SIGN_VOTE_REQUEST, 0, HRS(height, 0, 3), b"asked", b"", b"v", b"")


BEGAN, ENDED = Decision(Outcome.BEGAN), Decision(Outcome.ENDED)


def noted(number: int, decision: Decision, life: int = LIFE) -> bytes:
    return pack(life, number, NOW_NS + number, decision)


def one_after_another(decisions: Iterable[Decision], first: int = 1, life: int = LIFE) -> list[bytes]:
    return [noted(number, decision, life) for number, decision in enumerate(decisions, first)]


def make(directory: Path, **more: Any) -> AuditLog:
    options: dict[str, Any] = {"node": "node0", "version": "0.1.0", "chains": CHAINS, "max_bytes": 16 << 20}
    options["lines"] = native.load().audit_lines(options["chains"] if "chains" not in more else more["chains"])
    return AuditLog(directory, **{**options, "clock_ns": lambda: NOW_NS, **more})


def written(directory: Path, decisions: Iterable[Decision], **more: Any) -> AuditLog:
    """A log that was opened, holds these decisions of one signer's life, and was closed."""
    log = make(directory, **more)
    log.open()
    log.take(one_after_another(decisions))
    log.close()
    return log


def main(home: Path) -> None:
    """The log that docs/AUDIT.md shows."""
    conflict = Decision(
        Outcome.REFUSED,
        Reason.CONFLICT,
        Kind.SIGN_VOTE_REQUEST,
        hrs=HRS(5120, 0, 3),
        sign_bytes=b"another block",
        block_hash=b"x" * 32,
        validator=b"tcp://10.0.0.2:26658",
        identity=b"j" * 32,
    )
    written(directory_of(home, "node0"), [BEGAN, signed(5119), signed(5120), conflict, signed(5121), ENDED])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
