"""Where one signature's time goes: hop by hop, from the marks that every process writes when it is traced (csrc/trace.h)."""

from collections import defaultdict
from pathlib import Path
from typing import Final

from benchmarks.end_to_end import quantiles_us

Place = tuple[int, int, int, int]  # chain, height, round, step
#: From one mark to the next: what happened in between. A member's marks are those of the member that made the majority.
HOPS: Final = {
    (1, 2): "signer: open, decode, judge",
    (2, 3): "wake the state process",
    (3, 4): "state: write, seal, send",
    (4, 5): "own disk, while:",
    (4, 6): "to the member, wake it",
    (6, 7): "member: open, judge, its disk",
    (7, 8): "member: seal, send",
    (8, 9): "to the leader, wake it",
    (9, 10): "state: open, count",
    (10, 11): "wake the signer",
    (11, 12): "signer: sign, encode, seal",
    (12, 13): "signer: send",
}
ALONE: Final = {
    (5, 10): "state: count",
}
_MEMBERS: Final = (6, 7, 8)


def read(directory: Path) -> dict[Place, list[dict[int, int]]]:
    """Of each place the marks of each process, {point: ns}."""
    found: dict[Place, list[dict[int, int]]] = defaultdict(list)
    for path in sorted(directory.glob("*.trace")):
        mine: dict[Place, dict[int, int]] = defaultdict(dict)
        for line in path.read_text().splitlines():
            ns, point, chain, height, round_, step = map(int, line.split())
            mine[(chain, height, round_, step)][point] = ns
        for place, marks in mine.items():
            found[place].append(marks)
    return found


def join(processes: list[dict[int, int]]) -> dict[int, int] | None:
    """One signature's marks: signer's, leader's, and of the members the one that answered last before the majority was heard."""
    whole = {point: ns for marks in processes for point, ns in marks.items() if point not in _MEMBERS}
    heard = whole.get(9, 0)
    if any(point in whole for point in _MEMBERS) or 1 not in whole or 13 not in whole:
        return None
    answers = [marks for marks in processes if 8 in marks and marks[8] <= heard]
    if answers:
        whole |= {point: max(answers, key=lambda marks: marks[8])[point] for point in _MEMBERS}
    return whole


def hops(directory: Path) -> dict[str, dict[str, float]]:
    """Of each hop the quantiles in microseconds, and of the whole. Raises: ValueError without one whole signature."""
    times: dict[str, list[int]] = defaultdict(list)
    for processes in read(directory).values():
        marks = join(processes)
        if marks is None:
            continue
        names = (
            HOPS
            if 6 in marks
            else {pair: name for pair, name in (HOPS | ALONE).items() if not {*pair} & {5, 6, 7, 8, 9}}
        )
        for (start, end), name in names.items():
            if start in marks and end in marks:
                times[name].append(marks[end] - marks[start])
        times["all of it"].append(marks[13] - marks[1])
    if not times:
        raise ValueError(f"{directory}: no signature was traced")
    return {name: quantiles_us(found) for name, found in times.items()}
