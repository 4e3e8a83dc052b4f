"""Where one signature's time goes: hop by hop, from the marks that every process writes when it is
traced (csrc/trace.h).
"""

from collections import defaultdict
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import quantiles_us
from benchmarks.signers import addresses_of, bench, ours, validators
from tests.e2e.node import CHAIN

Place = tuple[int, int, int, int]  # chain, height, round, step
#: From one mark (csrc/trace.h) to the next: what happened in between. A member's marks are those of
#: the member that answered last before the majority was heard. While the leader's own disk syncs,
#: the members do all of their part.
HOPS: Final = {
    (1, 2): "signer: open, decode, judge",
    (2, 3): "wake the state process",
    (3, 4): "state: write, seal, send",
    (4, 5): "own disk",
    (4, 6): "to the member, wake it",
    (6, 7): "member: open, judge, its disk",
    (7, 8): "member: seal, send",
    (8, 9): "to the leader, wake it",
    (9, 10): "state: open, count",
    (10, 11): "wake the signer",
    (11, 12): "signer: sign, encode, seal",
    (12, 13): "signer: send",
}
OWN_DISK: Final = HOPS[4, 5]
MEMBERS: Final = tuple(HOPS[pair] for pair in ((4, 6), (6, 7), (7, 8), (8, 9)))
#: One node asks nobody.
ALONE: Final = {(3, 5): OWN_DISK, (5, 10): "state: permit"}
WHOLE: Final = "all of it"
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
    """One signature's marks: signer's, leader's, and of the members the one that answered last
    before the majority was heard.
    """
    whole = {point: ns for marks in processes for point, ns in marks.items() if point not in _MEMBERS}
    heard = whole.get(9, 0)
    if 1 not in whole or 13 not in whole:
        return None
    answers = [marks for marks in processes if 8 in marks and marks[8] <= heard]
    if answers:
        last = max(answers, key=lambda marks: marks[8])
        return whole | {point: last[point] for point in _MEMBERS}
    return None if 4 in whole else whole  # a member whose marks are not all there


def hops(directory: Path) -> dict[str, dict[str, float]]:
    """Of each hop the quantiles in microseconds, and of the whole.

    Raises: ValueError without one whole signature.
    """
    times: dict[str, list[int]] = defaultdict(list)
    for processes in read(directory).values():
        marks = join(processes)
        if marks is None:
            continue
        asked = {pair: hop for pair, hop in HOPS.items() if not {*pair} & {4, 6, 7, 8, 9}}
        names = HOPS if 6 in marks else asked | ALONE
        for (start, end), name in names.items():
            if start in marks and end in marks:
                times[name].append(marks[end] - marks[start])
        times[WHOLE].append(marks[13] - marks[1])
    if not times:
        raise ValueError(f"{directory}: no signature was traced")
    return {name: quantiles_us(found) for name, found in times.items()}


def run(directory: Path, heights: int) -> dict[str, Any]:
    """Trace one node and three; of each the hops."""
    found: dict[str, Any] = {}
    for nodes, name in ((1, "one node"), (3, "three nodes")):
        traces = directory / f"traces-{nodes}"
        traces.mkdir(parents=True)
        addresses = addresses_of(directory, 1, "tcp")
        traced = ours(directory / f"{nodes}", addresses, nodes, COMETKMS_TRACE=str(traces))
        with validators(addresses, [CHAIN]) as validator, traced:
            bench(validator, heights)
        found[name] = hops(traces)
    return found


def stack(measured: dict[str, dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """For the picture: of each configuration the p50 of what follows one another, in microseconds.

    The members' part passes while the leader's own disk syncs: the longer of the two is shown.
    """
    found = {}
    for name, rows in measured.items():
        p50 = {hop: row["p50"] for hop, row in rows.items()}
        members = sum(p50.get(hop, 0.0) for hop in MEMBERS)
        disks = max(p50[OWN_DISK], members)
        bars: dict[str, float] = {}
        for hop in (*HOPS.values(), *ALONE.values()):
            if hop == OWN_DISK:
                bars["the members' part, meanwhile the own disk" if members else OWN_DISK] = disks
            elif hop in p50 and hop not in MEMBERS:
                bars[hop] = p50[hop]
        found[name] = bars
    return found
