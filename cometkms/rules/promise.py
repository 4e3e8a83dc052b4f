"""Decide whether a place may be promised (docs/ARCHITECTURE.md, rules 1, 5 and 13). Pure: no clock, no I/O.

Bytes held at a place are write-once: no request, rule or timestamp ever replaces them, and no mark falls.

| the place is … the mark | and the bytes …                       | outcome                                                 |
|-------------------------|---------------------------------------|---------------------------------------------------------|
| above                   |                                       | accept, to be written and synced                        |
| above, absurdly far     | (the mark is not 0)                   | refuse: jump                                            |
| at                      | are those held                        | accept those held (durable since their sync)            |
| at                      | differ from those held only in time   | accept those held: the permit carries their timestamp   |
| at                      | are others, or none are held (burnt)  | refuse: conflict, burnt                                 |
| below                   |                                       | refuse: regression                                      |
"""

from collections.abc import Callable
from dataclasses import dataclass

from cometkms.limits import HEIGHT_JUMP_MAX
from cometkms.model import HRS, Reason, Refusal, Watermark
from cometkms.rules.sign import regression


@dataclass(frozen=True, slots=True)
class Accept:
    """`write`: the bytes are new and must be durable before anybody hears of it. Else they are already."""

    sign_bytes: bytes
    write: bool


def decide_promise(
    mark: Watermark,
    hrs: HRS,
    sign_bytes: bytes,
    *,
    same_but_timestamp: Callable[[bytes, bytes], bool],
    height_jump_max: int = HEIGHT_JUMP_MAX,
) -> Accept | Refusal:
    """See the table above. `sign_bytes` were strictly decoded by the caller and name `hrs`."""
    if hrs > mark.hrs:
        if mark.hrs.height > 0 and hrs.height - mark.hrs.height > height_jump_max:
            return Refusal(Reason.JUMP, f"height {hrs.height} is more than {height_jump_max} above {mark.hrs.height}")
        return Accept(sign_bytes, write=True)
    if hrs < mark.hrs:
        return regression(hrs, mark.hrs)
    if not mark.sign_bytes:
        return Refusal(Reason.BURNT, f"nothing is signed again at {hrs.height}/{hrs.round}/{hrs.step}")
    if not same_but_timestamp(sign_bytes, mark.sign_bytes):
        return Refusal(Reason.CONFLICT, "conflicting data")
    return Accept(mark.sign_bytes, write=False)
