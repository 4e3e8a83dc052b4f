"""Decide whether a place may be promised (docs/ARCHITECTURE.md, rules 1, 6 and 13). Pure: no clock,
no I/O.

Bytes held at a place are write-once: no peer, request, rule or timestamp ever replaces them, and no
mark falls. A verified signature forbids first what contradicts it: places below, and other bytes at
its own.

| the place is … the mark | and the bytes …                       | outcome                                                 |
|-------------------------|---------------------------------------|---------------------------------------------------------|
| above                   |                                       | accept, to be written and synced                        |
| above, beyond the reach |                                       | refuse: jump (rules/jump.py)                            |
| at                      | are those held                        | accept those held (durable since their sync)            |
| at                      | are others, or none are held (burnt)  | refuse: conflict, burnt                                 |
| below                   |                                       | refuse: regression                                      |

Which bytes to ask for when others are held that differ in their timestamp only is the proposer's
choice (rules/candidate.py).
"""

from dataclasses import dataclass

from cometkms.model import HRS, Reason, Refusal, Watermark
from cometkms.rules.sign import regression


@dataclass(frozen=True, slots=True)
class Accept:
    """`write`: the bytes are new and must be durable before anybody hears of it. Else they are
    already."""

    write: bool


def decide_promise(mark: Watermark, hrs: HRS, sign_bytes: bytes, *, reach: int, signed: Watermark) -> Accept | Refusal:
    """Judge whether a promise may be made by the table at the head of this module.

    The caller has strictly decoded `sign_bytes`, which name `hrs`. The highest plausible height is
    `reach`. `signed`: the highest place of the row with a signature that verified.
    """
    veto = _veto(signed, hrs, sign_bytes)
    if veto is not None:
        return veto
    if hrs > mark.hrs:
        if hrs.height > reach:
            return Refusal(Reason.JUMP, f"height jump. Got {hrs.height}, and no more than {reach} is plausible by now")
        return Accept(write=True)
    if hrs < mark.hrs:
        return regression(hrs, mark.hrs)
    if not mark.sign_bytes:
        return Refusal(Reason.BURNT, f"nothing is signed again at {hrs}")
    if sign_bytes != mark.sign_bytes:
        return Refusal(Reason.CONFLICT, "other bytes are promised there")
    return Accept(write=False)


def _veto(signed: Watermark, hrs: HRS, sign_bytes: bytes) -> Refusal | None:
    """Rule 6: what a verified signature forbids. A replicated sign state may refuse, never
    permit."""
    if not signed.signature or hrs > signed.hrs:
        return None
    if hrs < signed.hrs:
        return regression(hrs, signed.hrs)
    if sign_bytes != signed.sign_bytes:
        return Refusal(Reason.CONFLICT, "other bytes are signed there")
    return None
