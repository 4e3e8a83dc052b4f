"""Build the C fuzz entries under ASan and UBSan, replay the corpus, and mutate it: `python -m tests.fuzz.run --seconds 600`.

The corpus is the vectors; the mutator is csrc/fuzz/replay_main.c, so that a C compiler is all it needs. The same entries build with
clang's -fsanitize=fuzzer.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.vectors.vectors import load

CSRC = Path(__file__).resolve().parents[2] / "csrc"
ENTRIES = sorted(path.stem for path in (CSRC / "fuzz").glob("fuzz_*.c"))
FLAGS = [
    "-std=c11",
    "-g",
    "-O1",
    "-D_GNU_SOURCE",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    f"-I{CSRC}",
]


def build(entry: str, directory: Path) -> Path:
    target = directory / entry
    sources = [CSRC / "fuzz" / f"{entry}.c", CSRC / "fuzz" / "replay_main.c", *sorted(CSRC.glob("*.c"))]
    subprocess.run(["cc", *FLAGS, "-o", str(target), *map(str, sources), "-ldl"], check=True)
    return target


def corpus(directory: Path) -> list[str]:
    """Message bodies, requests, sign bytes and frames of the vectors, a file each."""
    inputs: set[bytes] = set()
    for name in ("messages.json", "amino/messages_amino.json"):
        for case in load(name):
            wire = bytes.fromhex(case["bytes"])
            inputs |= {wire, wire[1 if wire[0] < 0x80 else 2 :], b"\0\xff" + wire, b"\2\x03" + wire}
    inputs |= {bytes.fromhex(case["sign_bytes"]) for case in load("sign_bytes.json")}
    inputs |= {b"\1\xff" + bytes.fromhex(case["sealed"]) for case in load("secret_connection.json")}
    inputs |= {bytes(range(256)), b"\0\1" * 300}
    paths = []
    for number, data in enumerate(sorted(inputs)):
        path = directory / f"{number:04}"
        path.write_bytes(data)
        paths.append(str(path))
    return paths


def run(program: Path, files: list[str], mutations: int, seed: int) -> None:
    """Raises: CalledProcessError; the sanitizers have said why."""
    subprocess.run([str(program), str(seed), str(mutations), *files], check=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    until = time.monotonic() + parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "corpus").mkdir()
        files = corpus(directory / "corpus")
        programs = [build(entry, directory) for entry in ENTRIES]
        while True:
            for program in programs:
                seed = random.randrange(1 << 62)
                print(f"{program.name}: seed {seed}", flush=True)
                run(program, files, 200_000, seed)
            if time.monotonic() > until:
                return


if __name__ == "__main__":
    sys.exit(main())
