"""`python -m tests.again --times N`: everything that runs whole nodes, N times over; what was not
green every time is listed.

`make test-again N=5`, with `BUSY=1` under load, `ONLY=tests/e2e/test_demo.py` for a part. Each
run's output is kept below .cache/again/.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

WHOLE_NODES = ("tests/e2e", "tests/packaging", "tests/web", "tests/attacks")
KEPT = Path(".cache") / "again"
WORDS_MAX = 200  # of a failure, in the list


@dataclass
class Seen:
    """One test's runs. `failures`: run → its first words."""

    runs: int = 0
    failures: dict[int, str] = field(default_factory=dict)


def read(report: Path, run: int, seen: dict[str, Seen]) -> int:
    """Add one run's report; how many tests were in it.

    A test that failed and whose teardown failed too is one.
    """
    names = set()
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        if name not in names:
            seen[name].runs += 1
        names.add(name)
        wrong = case.find("failure") if case.find("failure") is not None else case.find("error")
        if wrong is not None:
            seen[name].failures[run] = " ".join((wrong.get("message") or "").split())[:WORDS_MAX]
    return len(names)


def table(seen: dict[str, Seen], times: int) -> list[str]:
    """What was not green in every run, a line each, with its first failure; a test that a run did
    not come to is not green either.
    """
    lines = []
    for name, one in sorted(seen.items()):
        green = one.runs - len(one.failures)
        if green < times:
            first = min(one.failures, default=0)
            words = f"run {first}: {one.failures[first]}" if first else "not in every run"
            lines.append(f"{green} of {times}  {name}\n        {words}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.again", description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2 * (os.cpu_count() or 1))
    mine = KEPT / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    parser.add_argument("--kept", type=Path, default=mine, help="where each run's output stays")
    parser.add_argument("paths", nargs="*", default=WHOLE_NODES)
    given = parser.parse_args()
    kept: Path = given.kept
    kept.mkdir(parents=True, exist_ok=True)
    seen: dict[str, Seen] = defaultdict(Seen)
    unreported = 0
    for run in range(1, given.times + 1):
        began, output, report = time.monotonic(), kept / f"{run}.txt", kept / f"{run}.xml"
        report.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(prefix="ck") as work, output.open("w") as out:
            command = [sys.executable, "-m", "pytest", *given.paths, "-n", str(given.workers), "--dist", "loadgroup"]
            command += [f"--basetemp={work}/t", f"--junitxml={report}"]
            code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False).returncode
        count = read(report, run, seen) if report.exists() else 0
        bad = sum(run in one.failures for one in seen.values())
        unreported += code != 0 and not bad
        print(
            f"run {run} of {given.times}: {count} tests, {bad} not green, exit code {code}, {time.monotonic() - began:.0f} s ({output})",
            flush=True,
        )
    lines = table(seen, given.times)
    print("\n".join(lines) if lines else f"{len(seen)} tests, green {given.times} times of {given.times}")
    if unreported:
        print(f"{unreported} runs ended badly without a test that says why: see their output")
    return 1 if lines or unreported or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
