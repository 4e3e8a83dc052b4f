"""What a line of the audit log says of a decision. Pure: a decision in, the line's word and its
values out."""

import hashlib
from collections.abc import Sequence

from cometkms.audit.lines import FOLDED
from cometkms.model import BYTES_OUTCOMES, Outcome
from cometkms.wire.decisions import BytesNote, Noted


def fields_of(noted: Noted, chains: Sequence[str]) -> tuple[str, dict[str, object]]:
    """Return the line's word and all of its values but the number. `chains`: their ids, by a
    decision's number.

    Of bytes that are no vote, decode() has looked at what is told of them.
    """
    decision = noted.decision
    values: dict[str, object] = {
        "chain": chains[decision.chain],
        "reason": decision.reason.name.lower() if decision.reason else "",
        "validator": decision.validator.decode("utf-8", "replace"),
    }
    if decision.outcome is Outcome.FOLDED:
        return FOLDED, values | {"count": max(1, decision.count)}
    values |= {
        "kind": decision.kind.name.lower(),
        "identity": decision.identity.hex(),
        "us": decision.took_ns // 1000,
    }
    word = decision.outcome.name.lower()
    if decision.outcome in BYTES_OUTCOMES:
        note = BytesNote.unpack(decision.sign_bytes)
        return word, values | {"bytes": note.digest.hex(), "length": note.length, "unique_id": note.unique_id}
    return word, values | {
        "height": decision.hrs.height,
        "round": decision.hrs.round,
        "step": decision.hrs.step,
        "bytes": hashlib.sha256(decision.sign_bytes).hexdigest() if decision.sign_bytes else "",
        "block": decision.block_hash.hex(),
    }
