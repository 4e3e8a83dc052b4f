"""Which processes a node cannot be without, and what counts as trouble. Pure: from the status
board's sections and a time.

The supervisor's line for the service manager, /healthz, /status and the alerts all ask here, so
that they never disagree.
"""

from collections.abc import Mapping
from typing import Final

from cometkms.board.sections import ChildReport, ChildState, Sections
from cometkms.board.situation import BEAT_LATE_S, answers, situation_of

#: Children that a signing node cannot be without.
ESSENTIAL: Final = ("state", "signer")
#: It beats like its children, and nobody starts it again.
SUPERVISOR: Final = "supervisor"
#: Children without which it signs on: their troubles are warnings.
BESIDE: Final = ("audit", "webhook")


def find_trouble(sections: Sections, beat_ages_s: Mapping[str, float | None], now: float) -> list[str]:
    """Why this node cannot be relied on just now, in words; empty when all is well. now: UNIX
    seconds."""
    supervisor = sections["supervisor"]
    if supervisor is None:
        return ["the supervisor has not reported its children yet"]
    children = {child.get("name", ""): child for child in supervisor.get("children", [])}
    trouble = [f"{name} is not there" for name in ESSENTIAL if name not in children]
    for name, child in children.items():
        if name not in BESIDE:
            trouble.extend(trouble_of_child(name, child, beat_ages_s))
    trouble.extend(
        f"{name} has not reported yet"
        for name in ESSENTIAL
        if sections[name] is None and answers(name, sections, beat_ages_s)
    )
    return trouble + situation_of(sections, beat_ages_s, now).trouble()


def trouble_of_supervisor(beat_ages_s: Mapping[str, float | None]) -> list[str]:
    """What is wrong with the one that watches the others: they go on without it, as they are."""
    age_s = beat_ages_s.get(SUPERVISOR)
    if age_s is None or age_s <= BEAT_LATE_S:
        return []
    return [f"the supervisor {_late(age_s)}: no process of this node is watched or started again; start the node anew"]


def trouble_of_child(name: str, child: ChildReport, beat_ages_s: Mapping[str, float | None]) -> list[str]:
    if (state := child.get("state", "unknown")) != ChildState.RUNNING:
        return [f"{name} is {state}{_last_exit(child)}"]
    late = _late(beat_ages_s[name]) if name in beat_ages_s else ""
    return [f"{name} {late}"] if late else []


def _last_exit(child: ChildReport) -> str:
    last_exit = child.get("last_exit")
    return f" (last exit: {last_exit})" if last_exit else ""


def _late(age_s: float | None) -> str:
    if age_s is None:
        return "has not beaten yet"
    return f"has not beaten for {age_s:.1f} s" if age_s > BEAT_LATE_S else ""
