"""Fuzz for longer: python -m tests.fuzz.run --seconds 600.

With clang: libFuzzer; without: the mutations of replay_main.c.

The time is shared out evenly among the entries. A corpus that libFuzzer grew stays in .cache/fuzz
for the next run.
"""

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from tests.fuzz import build

GROWN = build.ROOT / ".cache" / "fuzz"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=int, default=600, help="for all entries together")
    arguments.add_argument("--seed", type=int, default=None, help="of the mutations (without clang); default: random")
    options = arguments.parse_args()
    share = max(1, options.seconds // len(build.ENTRIES))
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    GROWN.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        build.write_corpus(directory / "corpus")
        if build.has_libfuzzer():
            return _with_libfuzzer(directory, share)
        print("no clang: the mutations of replay_main.c, which do not follow coverage", flush=True)
        return _with_replayers(directory, share, seed)


def _with_libfuzzer(directory: Path, seconds: int) -> int:
    failures = 0
    for program in build.build_libfuzzers(directory):
        grown = GROWN / program.name
        grown.mkdir(exist_ok=True)
        seeds = directory / "corpus" / program.name
        failures += _report(program, [f"-max_total_time={seconds}", "-max_len=65536", str(grown), str(seeds)])
    return min(failures, 1)


def _with_replayers(directory: Path, seconds: int, seed: int) -> int:
    failures = 0
    for program in build.build_replayers(directory):
        corpus = directory / "corpus" / program.name
        failures += _report(program, ["--seconds", str(seconds), "--seed", str(seed), str(corpus)])
    return min(failures, 1)


def _report(program: Path, options: list[str]) -> int:
    """Run one entry; 1 if it found something. What it found is left in .cache/fuzz."""
    print(f"{program.name} {' '.join(options)}", flush=True)
    try:
        printed = build.run([str(program), *options], GROWN)
    except RuntimeError as error:
        print(error, flush=True)
        return 1
    print(printed.splitlines()[-1], flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
