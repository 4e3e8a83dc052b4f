"""Other privval signers under the same load: `make bench PEERS="NAME=SCRIPT …"`.
docs/BENCHMARKS.md.

A peer is a script that starts a signer. It is run for one node and for three, once a round, with

    CMKMS_BENCH_ADDRESS  tcp://host:port where the validator listens; to dial
    CMKMS_BENCH_CHAIN    the chain's id
    CMKMS_BENCH_HOME     an empty directory of its own; everything is written there
    CMKMS_BENCH_KEY      priv_validator_key.json in CometBFT's format, new for every run
    CMKMS_BENCH_NODES    1 or 3
    CMKMS_BENCH_PORTS    six free ports of 127.0.0.1, with a space between two

It stays in the foreground as long as its signers run (`exec` is best) and ends when one of them
does. It is the leader of a new process group, and whatever it starts stays in that group: SIGKILL
to the group ends the run. Exit code 77: this cannot be run here (no binary, no such number of
nodes); the last line of its standard error says why.

The floor and this project's own nodes take turns with the peers, a round each, and are asked in the
very same way.
"""

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from benchmarks.end_to_end import made_again
from benchmarks.figures import Rounds, table
from benchmarks.signers import floor, ours
from tests.e2e.node import CHAIN, PREVOTE, Validator, ballot, cmkms, environment, free_port, free_tcp

KINDS: Final = {1: "one node", 3: "three nodes"}
FLOOR: Final = "floor"
OURS: Final = "this project"
ROUNDS: Final = 3
HEIGHTS: Final = 500
WARMUP: Final = 100
CHUNK: Final = 10  # heights asked at once; of slow signers, too, the validator waits for the answer
ROUND_S: Final = 20.0  # a slow signer's round ends here, with what it has
PATIENCE_S: Final = 30.0  # until the first signature
# a script that cannot run says so at once; the validator waits for a signer seconds at a time
GRACE_S: Final = 0.5
GROUP_ENDS_S: Final = 10.0  # after SIGKILL
PORTS: Final = 6
CANNOT: Final = 77
FAILURES_MAX: Final = 5  # a round; a peer that fails more often is not measured


class Unmeasured(Exception):
    """This signer gave no figures; the message says why."""


class Asked(Protocol):
    """What takes requests; a Validator."""

    def ask(self, **request: Any) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Running:
    """A peer's script and what it says."""

    process: subprocess.Popen[bytes]
    directory: Path

    def check(self, wait_s: float = 0.0) -> None:
        """Raises: Unmeasured when it has ended, or ends in so many seconds, with its own last word."""
        try:
            code = self.process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return
        said = _last_line(self.directory / "stderr") or _last_line(self.directory / "stdout") or "it said nothing"
        raise Unmeasured(said if code == CANNOT else f"its script ended with {code}: {said}")


def _last_line(path: Path) -> str:
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def members(group: int) -> list[int]:
    """The living processes of a process group; a zombie is dead."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_group) == group and state not in "ZX":
            found.append(int(path.parent.name))
    return found


@contextmanager
def started(script: Path, directory: Path, address: str, nodes: int) -> Iterator[Running]:
    """The script, with its environment, in a process group of its own that is killed at the end.

    Raises: Unmeasured when it cannot be executed, or when its group outlives SIGKILL.
    """
    home = directory / "home"
    home.mkdir(parents=True)
    variables = environment(
        CMKMS_BENCH_ADDRESS=address,
        CMKMS_BENCH_CHAIN=CHAIN,
        CMKMS_BENCH_HOME=str(home.resolve()),
        CMKMS_BENCH_KEY=str(_new_key(directory / "key").resolve()),
        CMKMS_BENCH_NODES=str(nodes),
        CMKMS_BENCH_PORTS=" ".join(str(free_port()) for _ in range(PORTS)),
    )
    with (directory / "stdout").open("wb") as out, (directory / "stderr").open("wb") as err:
        try:
            process = subprocess.Popen(
                [str(script.resolve())],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=variables,
                cwd=home,
                start_new_session=True,
            )
        except OSError as error:
            raise Unmeasured(f"{script}: {error.strerror}") from error
    try:
        yield Running(process, directory)
    finally:
        _end(process)


def _new_key(home: Path) -> Path:
    done = cmkms("init", "--home", str(home), "--new-key", "--chain-id", CHAIN)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return home / "priv" / "priv_validator_key.json"


def _end(process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + GROUP_ENDS_S
    while members(process.pid):
        os.killpg(process.pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise Unmeasured(f"processes {members(process.pid)} do not end")
        time.sleep(0.02)
    process.wait()


def settle(validator: Asked, check: Callable[[], None], patience_s: float = PATIENCE_S) -> None:
    """Ask as a starting validator does, for the public key, then for a prevote of height 1, round
    after round, until one is signed.

    `check` raises when there is no use in waiting. Raises: Unmeasured when patience ends.
    """
    deadline = time.monotonic() + patience_s
    last, round_ = "no signer came", 0
    while time.monotonic() < deadline:
        check()
        answer = validator.ask(cmd="pub_key")
        if answer.get("pub_key"):
            answer = validator.ask(**ballot(PREVOTE, 1, round_))
            round_ += 1
            if answer.get("verified"):
                return
        last = answer.get("error") or "a signature that does not verify"
        time.sleep(0.02)
    raise Unmeasured(f"nothing was signed within {patience_s:g} s: {last}")


@dataclass(frozen=True, slots=True)
class Load:
    """What every signer is asked for: in each round so many heights, each a proposal, a prevote and
    a precommit.
    """

    rounds: int = ROUNDS
    heights: int = HEIGHTS
    warmup: int = WARMUP
    round_s: float = ROUND_S


class Loop:
    """Request after request; every signature is verified."""

    def __init__(self, validator: Asked, failures_max: int) -> None:
        self.validator, self.failures_max = validator, failures_max
        self.failed = 0
        self.height = 2  # the first is spent

    def ask(self, heights: int, seconds: float) -> list[int]:
        """Latencies in nanoseconds of so many heights, of fewer when time is up. What was asked
        together with a request that fails does not count; it goes on at the next heights.

        Raises: Unmeasured when more than `failures_max` fail.
        """
        times: list[int] = []
        done = 0
        deadline = time.monotonic() + seconds
        while done < heights and (not done or time.monotonic() < deadline):
            wanted = min(CHUNK, heights - done)
            answer = self.validator.ask(cmd="bench", height=self.height, heights=wanted, warmup=0)
            self.height += wanted
            if answer.get("verified"):
                done += wanted
                times += answer["ns"]
                continue
            self.failed += 1
            if self.failed > self.failures_max:
                raise Unmeasured(answer.get("error") or "a signature that does not verify")
        return times


@dataclass(frozen=True, slots=True)
class Round:
    """One signer's: latencies in nanoseconds, and how many requests failed."""

    times: list[int]
    failed: int = 0


def measure(validator: Asked, wanted: Load, check: Callable[[], None], failures_max: int) -> Round:
    """From the first request a validator makes to the last. Raises: Unmeasured."""
    settle(validator, check)
    loop = Loop(validator, failures_max)
    loop.ask(wanted.warmup, wanted.round_s / 2)
    return Round(loop.ask(wanted.heights, wanted.round_s), loop.failed)


def _peer(script: Path, directory: Path, nodes: int, wanted: Load) -> Round:
    address = free_tcp()
    try:
        with _validator(address) as validator, started(script, directory, address, nodes) as running:
            try:
                running.check(GRACE_S)
                return measure(validator, wanted, running.check, FAILURES_MAX)
            finally:
                running.check()  # its own word on its end says more than the validator's
    except AssertionError as error:  # the validator waited in vain
        raise Unmeasured(str(error)) from error


def _known(signer: AbstractContextManager[Any], address: str, wanted: Load) -> list[int]:
    """The floor or this project: no request fails."""
    with _validator(address) as validator, signer:
        return measure(validator, wanted, lambda: None, 0).times


def _ours(home: Path, nodes: int, wanted: Load) -> list[int]:
    """This project.

    A round in which the lead moved, on a busy machine, is no measurement: it is made
    again. Raises: Unmeasured.
    """
    numbers = itertools.count()

    def once() -> list[int]:
        address = free_tcp()
        return _known(ours(home / f"ours{next(numbers)}", [address], nodes), address, wanted)

    return made_again(once, Unmeasured)


@contextmanager
def _validator(address: str) -> Iterator[Validator]:
    validator = Validator(address)
    try:
        yield validator
    finally:
        validator.close()


def run(peers: dict[str, Path], directory: Path, wanted: Load | None = None) -> dict[str, dict[str, Any]]:
    """For one node and three: the floor, this project, and each peer with its quantiles in
    microseconds, its ratios to the floor and to this project, and how many requests failed; {"not
    run": reason} for one that gave no figures.

    Raises: ValueError for a peer's name that is taken; Unmeasured when the floor or this project
    cannot be measured.
    """
    if taken := {FLOOR, OURS} & peers.keys():
        raise ValueError(f"a peer cannot be called {' or '.join(sorted(taken))}")
    found: dict[str, dict[str, Any]] = {}
    for nodes, kind in KINDS.items():
        rows = _side_by_side(peers, directory / f"{nodes}", nodes, wanted or Load())
        found |= {f"{kind}: {name}": row for name, row in rows.items()}
    return found


def _side_by_side(peers: dict[str, Path], directory: Path, nodes: int, wanted: Load) -> dict[str, dict[str, Any]]:
    results: dict[str, Rounds] = {FLOOR: [], OURS: [], **{name: [] for name in peers}}
    failed = dict.fromkeys(results, 0)
    refused: dict[str, dict[str, Any]] = {}
    for number in range(wanted.rounds):
        home = directory / f"{number}"
        for index, (name, script) in enumerate(peers.items()):
            if name in refused:
                continue
            try:
                one = _peer(script, home / f"peer{index}", nodes, wanted)
            except Unmeasured as error:
                refused[name] = {"not run": str(error)}
                del results[name]
                continue
            results[name].append(one.times)
            failed[name] += one.failed
        if len(refused) == len(peers):
            return refused
        address = free_tcp()
        results[FLOOR].append(_known(floor(home / "floor", [address], nodes), address, wanted))
        results[OURS].append(_ours(home, nodes, wanted))
    rows = table(results, FLOOR)
    for name, row in rows.items():
        for key in ("p50", "p99"):
            row[f"{key} / {OURS}"] = round(row[key] / rows[OURS][key], 2)
        row["failed"] = failed[name]
    return rows | refused
