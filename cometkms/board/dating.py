"""Tell the times on the board by the wall clock as it is now. Pure: both clocks come from outside.

A writer puts the monotonic clock beside the wall clock's time (`since`, `since_mono`): all
processes of a machine share it, and nobody sets it. Where the two clocks disagree by now about how
long ago something was, somebody has set the wall clock, and the time is moved with it.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, TypeGuard, TypeVar, cast

from cometkms.board.sections import Sections

#: The clocks may drift apart by so much before a time is moved: a wall clock is slewed all the
#: time.
SLEW_MAX_S: Final = 1.0
_TWIN: Final = "_mono"

Entry = TypeVar("Entry", bound=Mapping[str, Any])


def is_ahead(at: float, now: float) -> bool:
    """Whether the clock was set back since: then `at` is past, and nobody knows for how long."""
    return at > now + SLEW_MAX_S


def as_set_now(sections: Sections, wall: float, monotonic: float | None) -> Sections:
    """The same with every time that has a monotonic one beside it as the clock tells it now, and
    without the monotonic ones. `wall`: UNIX seconds; `monotonic` None: no time is moved."""

    def dated(entry: Entry) -> Entry:
        return _dated(entry, wall, monotonic)

    found = sections.copy()
    if sections["supervisor"] is not None:
        supervisor = found["supervisor"] = dated(sections["supervisor"])
        if "children" in supervisor:
            supervisor["children"] = [dated(one) for one in supervisor["children"]]
    if sections["state"] is not None:
        state = found["state"] = sections["state"].copy()
        if "members" in state:
            state["members"] = [dated(one) for one in state["members"]]
        if "rows" in state:
            state["rows"] = [dated(one) for one in state["rows"]]
    if sections["signer"] is not None:
        signer = found["signer"] = sections["signer"].copy()
        if "chains" in signer:
            signer["chains"] = [dated(one) for one in signer["chains"]]
            for chain in signer["chains"]:
                if "validators" in chain:
                    chain["validators"] = [dated(one) for one in chain["validators"]]
    return found


def _is_time(untrusted: object) -> TypeGuard[float]:
    """Whether it is a time that is known: what stands on the board is a process's word."""
    return type(untrusted) in (int, float) and bool(untrusted)


def _dated(entry: Entry, wall: float, monotonic: float | None) -> Entry:
    shown = {name: value for name, value in entry.items() if not name.endswith(_TWIN)}
    for name, mono in entry.items():
        told = name.removesuffix(_TWIN)
        at = entry.get(told)
        if name == told or monotonic is None or not _is_time(mono) or not _is_time(at):
            continue
        moved_s = (wall - at) - (monotonic - mono)
        if math.isfinite(moved_s) and abs(moved_s) > SLEW_MAX_S:
            shown[told] = at + round(moved_s)  # the same at each look
    return cast("Entry", shown)
