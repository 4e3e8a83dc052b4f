"""Build the fuzz entries of csrc/fuzz under AddressSanitizer and UndefinedBehaviorSanitizer."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
CSRC: Final = ROOT / "csrc"
ENTRIES: Final = sorted((CSRC / "fuzz").glob("fuzz_*.c"))
_WARNINGS: Final = ["-Wall", "-Wextra", "-Werror"]
_FLAGS: Final = [
    "-std=c11",
    "-O1",
    "-g",
    "-D_GNU_SOURCE",
    "-fno-omit-frame-pointer",
    "-fno-sanitize-recover=all",
    *_WARNINGS,
]
_REPLAY: Final = "-fsanitize=address,undefined"
_LIBFUZZER: Final = "-fsanitize=fuzzer,address,undefined"


def build_replayers(directory: Path, compiler: str = "cc") -> list[Path]:
    """One program per entry, driven by replay_main.c. Any C compiler with both sanitizers will do."""
    objects = _compile([*sorted(CSRC.glob("*.c")), CSRC / "fuzz" / "replay_main.c"], directory, compiler, _REPLAY)
    return [_link(entry, objects, directory, compiler, _REPLAY) for entry in ENTRIES]


def build_libfuzzers(directory: Path, compiler: str = "clang") -> list[Path]:
    """One libFuzzer program per entry."""
    objects = _compile(sorted(CSRC.glob("*.c")), directory, compiler, _LIBFUZZER)
    return [_link(entry, objects, directory, compiler, _LIBFUZZER) for entry in ENTRIES]


def write_corpus(directory: Path) -> None:
    """One sub-directory of inputs per entry."""
    run([sys.executable, str(CSRC / "fuzz" / "make_corpus.py"), str(directory)], ROOT)


def run(command: list[str], directory: Path) -> str:
    """Run in `directory` and give back what it printed.

    Raises: RuntimeError with all of it, if it fails.
    """
    done = subprocess.run(
        command, cwd=directory, env=_environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def has_libfuzzer() -> bool:
    """Whether clang is there; it brings libFuzzer along."""
    return shutil.which("clang") is not None


def _compile(sources: list[Path], directory: Path, compiler: str, sanitizers: str) -> list[str]:
    objects = []
    for source in sources:
        target = directory / f"{source.stem}.o"
        run([compiler, *_FLAGS, sanitizers, "-c", str(source), "-o", str(target)], ROOT)
        objects.append(str(target))
    return objects


def _link(entry: Path, objects: list[str], directory: Path, compiler: str, sanitizers: str) -> Path:
    program = directory / entry.stem
    run([compiler, *_FLAGS, sanitizers, str(entry), *objects, "-ldl", "-o", str(program)], ROOT)
    return program


def _environment() -> dict[str, str]:
    """Entries that need libsodium find it in PyNaCl.

    Leaks: the core owns no memory that it could leak.
    """
    sodium = importlib.util.find_spec("nacl._sodium")
    if sodium is None or sodium.origin is None:
        raise RuntimeError("PyNaCl's _sodium extension is not installed")
    return os.environ | {"CK_SODIUM_PATH": sodium.origin, "ASAN_OPTIONS": "detect_leaks=0"}
