"""One node and three, and their floors, as CometBFT's own client sees them: closed loop, several
validators, many chains, real pace.

Rounds of all configurations are interleaved, each on fresh homes: what the machine does meanwhile,
it does to all of them.
"""

import itertools
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.figures import Rounds, table
from benchmarks.signers import addresses_of, bench, cpu_s, floor, load, ours, pss_mib, together, validators
from cometkms.keytypes import KEY_TYPES
from tests.e2e.node import CHAIN, Validator

Run = Callable[[Path], list[int]]
Measured = TypeVar("Measured")
#: Configuration → validator's network and pure Python or not. The floor of each number
#: of nodes is "floor".
ONE = {"node, tcp": ("tcp", ""), "node, unix": ("unix", ""), "node, pure Python": ("tcp", "1")}
THREE = {"three nodes, tcp": ("tcp", ""), "three nodes, unix": ("unix", "")}
FLOOR = "floor"
ROUND_PATIENCE_S = 240.0  # a round that failed is made again until then
PACE_US = 333_000  # a validator's three signatures a block, spread over about a second


def interleaved(directory: Path, rounds: int, runs: dict[str, Run]) -> dict[str, Rounds]:
    """Of each configuration its rounds."""
    found: dict[str, Rounds] = {name: [] for name in runs}
    for number in range(rounds):
        for index, (name, run) in enumerate(runs.items()):
            found[name].append(run(directory / f"{number}-{index}"))
    return found


def asked(
    directory: Path,
    signer: Callable[[Path, list[str]], AbstractContextManager[Any]],
    ask: Callable[[Validator], list[int]],
    *,
    count: int = 1,
    network: str = "tcp",
    version: str = "v038",
) -> list[int]:
    """Start validators, then the signer; ask. A round in which a signature failed, because the lead
    moved on a busy machine, is no measurement: it is made again, and who waits longer than
    ROUND_PATIENCE_S for one fails with the last.
    """
    homes = (directory.with_name(f"{directory.name}-{again}") if again else directory for again in itertools.count())

    def once() -> list[int]:
        return _asked_once(next(homes), signer, ask, count, network, version)

    return made_again(once, RuntimeError)


def made_again(measured: Callable[[], Measured], failure: type[Exception]) -> Measured:
    """The first measurement that does not fail; which did is said.

    Raises: the last `failure`, when patience is over.
    """
    began = time.monotonic()
    while True:
        try:
            return measured()
        except failure as error:
            if time.monotonic() - began > ROUND_PATIENCE_S:
                raise
            print(f"a round is made again: {error}", flush=True)


def _asked_once(
    directory: Path,
    signer: Callable[[Path, list[str]], AbstractContextManager[Any]],
    ask: Callable[[Validator], list[int]],
    count: int,
    network: str,
    version: str,
) -> list[int]:
    directory.mkdir(parents=True)
    addresses = addresses_of(directory, count, network)
    with validators(addresses, [CHAIN] * count, version) as validator, signer(directory / "signer", addresses):
        return ask(validator)


def floor_of(nodes: int, ask: Callable[[Validator], list[int]] = bench, count: int = 1) -> Run:
    return lambda directory: asked(directory, lambda home, where: floor(home, where, nodes), ask, count=count)


def ours_of(
    nodes: int, ask: Callable[[Validator], list[int]] = bench, count: int = 1, network: str = "tcp", pure: str = ""
) -> Run:
    def signer(home: Path, where: list[str]) -> AbstractContextManager[Any]:
        return ours(home, where, nodes, COMETKMS_PURE=pure)

    return lambda directory: asked(directory, signer, ask, count=count, network=network)


def closed_loop(directory: Path, rounds: int, heights: int, nodes: int) -> dict[str, Any]:
    """Request after request: one validator."""

    def ask(validator: Validator) -> list[int]:
        return bench(validator, heights)

    runs = {FLOOR: floor_of(nodes, ask)}
    for name, (network, pure) in (ONE if nodes == 1 else THREE).items():
        runs[name] = ours_of(nodes, ask, network=network, pure=pure)
    return table(interleaved(directory, rounds, runs), FLOOR)


def several_validators(directory: Path, rounds: int, heights: int, count: int = 4) -> dict[str, Any]:
    """So many validators of one chain and key, all asking for the same at the same time: one
    reservation, then repetitions.
    """

    def ask(validator: Validator) -> list[int]:
        return together(validator, heights)

    one = {FLOOR: floor_of(1, ask, count), f"node, {count} validators": ours_of(1, ask, count)}
    three = {"floor of three": floor_of(3, ask, count), f"three nodes, {count} validators": ours_of(3, ask, count)}
    found = interleaved(directory, rounds, one | three)
    return table({name: found[name] for name in one}, FLOOR) | table(
        {name: found[name] for name in three}, "floor of three"
    )


def key_types(directory: Path, rounds: int, heights: int) -> dict[str, Any]:
    """One node with a key of each type, asked by CometBFT v0.40's client, beside the one with an
    ed25519 key.
    """

    def run_of(key_type: str) -> Run:
        def signer(home: Path, where: list[str]) -> AbstractContextManager[Any]:
            return ours(home, where, 1, key_type=key_type)

        return lambda home: asked(home, signer, lambda validator: bench(validator, heights), version="v040")

    runs = {f"node, {one.name}": run_of(one.name) for one in KEY_TYPES}
    return table(interleaved(directory, rounds, runs), f"node, {KEY_TYPES[0].name}")


def real_pace(directory: Path, seconds: int) -> dict[str, Any]:
    """Three signatures a second: caches cold, cores asleep."""

    def ask(validator: Validator) -> list[int]:
        return list(load(validator, seconds * 1000, 1000, PACE_US)["ns"])

    one = table(interleaved(directory / "1", 1, {FLOOR: floor_of(1, ask), "node": ours_of(1, ask)}), FLOOR)
    three = interleaved(directory / "3", 1, {"floor of three": floor_of(3, ask), "three nodes": ours_of(3, ask)})
    return {**one, **table(three, "floor of three")}


def throughput(directory: Path, run_ms: int, chains: int) -> dict[str, Any]:
    """Every chain's validator asks at once: signatures a second, and what each costs.

    Promises that wait share a sync.
    """
    found: dict[str, Any] = {}
    for nodes in (1, 3):
        names = [f"bench-{number}" for number in range(chains)] if chains > 1 else None
        kind = "one node" if nodes == 1 else "three nodes"
        home = directory / f"{nodes}"
        home.mkdir(parents=True)
        addresses = addresses_of(home, chains, "tcp")
        with validators(addresses, [CHAIN] * chains) as validator, floor(home / "floor", addresses, nodes):
            base = load(validator, run_ms)
        found[f"{kind}, floor"] = _rate(base, base)
        addresses = addresses_of(home, chains, "tcp")
        with (
            validators(addresses, names or [CHAIN]) as validator,
            ours(home / "ours", addresses, nodes, names) as cluster,
        ):
            leader = cluster.nodes[cluster.leader() or "node0"]
            validator.connect()
            before = cpu_s(leader)
            row = _rate(load(validator, run_ms), base)
            row["leader's cpu_s per 1000"] = round((cpu_s(leader) - before) / row["count"] * 1000, 3)
            row["pss_mib"] = pss_mib(leader)
            found[kind] = row
    return found


def _rate(measured: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    row = table({FLOOR: [base["ns"]], "this": [measured["ns"]]}, FLOOR)["this"]
    rate = measured["count"] / measured["run_ns"] * 1e9
    floor_rate = base["count"] / base["run_ns"] * 1e9
    return {"per second": round(rate), "of floor": round(rate / floor_rate, 2), **row}
