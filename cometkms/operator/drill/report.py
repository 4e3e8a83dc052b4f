"""What a drill found, for a person and as JSON. Pure."""

from collections.abc import Sequence
from typing import Any

from cometkms.operator.drill.plan import ChainReport, Drill, StepReport
from cometkms.operator.drill.view import View

_HEADINGS = ("STEP", "FROM", "TO", "LONGEST PAUSE", "TOOK", "VERDICT")


def problems_of(drill: Drill, chains: Sequence[ChainReport], end: View, on_chain: Sequence[str]) -> list[str]:
    """Everything that was not well; empty: the drill succeeded. `end`: the last look. `on_chain`:
    what the blocks say."""
    found = [drill.problem] if drill.problem else []
    if drill.interrupted:
        found.append("the drill was interrupted")
    if drill.lost_sight:
        found.append("signatures came faster than they could be read here: heights are not checked; cure: --rpc URL")
    else:
        found += [one.problem for one in chains if one.problem]
    found += on_chain
    found += [f"{name} is not complete at the end" for name in end.missing]
    if end.leader is None:
        found.append("nobody leads at the end")
    elif end.leader != drill.home:
        found.append(f"{end.leader} leads at the end, and {drill.home} did before")
    return found


def table(drill: Drill, chains: Sequence[ChainReport], problems: Sequence[str]) -> list[str]:
    """The report for a person."""
    rows = [_HEADINGS, *(_row(step) for step in drill.reports)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if drill.usual_s is not None:
        lines.append(f"pauses between signatures before the drill: at most {drill.usual_s * 1000:.0f} ms")
    for chain in chains:
        seen = f"every height from {chain.first} to {chain.last} was signed" if not chain.problem else chain.problem
        lines.append(f"{chain.chain_id}: {seen}" if not chain.problem else seen)
        if chain.note:
            lines.append(chain.note)
    lines += [f"PROBLEM  {words}" for words in problems]
    lines.append("the drill failed" if problems else "all is well")
    return lines


def _row(step: StepReport) -> tuple[str, ...]:
    return (
        step.kind.value,
        step.leader,
        step.to or "-",
        "-" if step.gap_s is None else f"{step.gap_s * 1000:.0f} ms",
        f"{max(0.0, step.ended_at - step.began_at):.1f} s",
        step.problem or "ok",
    )


def document(drill: Drill, chains: Sequence[ChainReport], problems: Sequence[str]) -> dict[str, Any]:
    """The report for --json. Milliseconds."""
    return {
        "ok": not problems,
        "problems": list(problems),
        "interrupted": drill.interrupted,
        "usual_pause_ms": _ms(drill.usual_s),
        "steps": [
            {
                "step": step.kind.value,
                "from": step.leader,
                "to": step.to,
                "longest_pause_ms": _ms(step.gap_s),
                "took_ms": _ms(max(0.0, step.ended_at - step.began_at)),
                "problem": step.problem,
            }
            for step in drill.reports
        ],
        "chains": [
            {
                "chain_id": chain.chain_id,
                "first_height": chain.first,
                "last_height": chain.last,
                "missed": list(chain.missed),
                "no_precommit": list(chain.no_precommit),
                "untold": list(chain.untold),
            }
            for chain in chains
        ],
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
