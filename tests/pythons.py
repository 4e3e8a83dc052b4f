"""`python -m tests.pythons`: the build, the unit and the property tests under the oldest and the
newest Python of this machine.

`make test-pythons`. Looked for on the PATH and among pyenv's; ONLY=3.13 for one. Each
gets a copy of this tree and an environment of its own below .cache/pythons, made by
this tree's own Makefile. The oldest is the one that pyproject.toml requires: without it
nothing is shown, and the exit code says so.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / ".cache" / "pythons"
TESTS = ("tests/unit", "tests/property")
Version = tuple[int, int]


def required() -> Version:
    """The oldest Python that pyproject.toml takes."""
    text = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    found = re.fullmatch(r">=(\d+)\.(\d+)", text)
    if found is None:
        raise ValueError(f"requires-python is {text!r}, which this program does not read")
    return int(found[1]), int(found[2])


def named(text: str) -> Version:
    """Of "3.13"."""
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def interpreters(directories: Iterable[Path]) -> dict[Version, Path]:
    """By version, the first of each: files named python3.N.

    A wrapper that runs nothing of that version is none.
    """
    found: dict[Version, Path] = {}
    for directory in directories:
        for path in sorted(directory.glob("python3.*")):
            match = re.fullmatch(r"python(\d+)\.(\d+)", path.name)
            if match is None:
                continue
            version = int(match[1]), int(match[2])
            if version not in found and runs(path, version):
                found[version] = path
    return found


def runs(path: Path, version: Version) -> bool:
    """Whether it is what its name says: pyenv's shims are there for versions that are
    not chosen, too.
    """
    code = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    try:
        done = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.split() == [str(part) for part in version]


def chosen(found: Iterable[Version], oldest: Version) -> list[Version]:
    """The oldest that is required and the newest. Raises: LookupError without the oldest."""
    fit = sorted(version for version in found if version >= oldest)
    if oldest not in fit:
        raise LookupError(
            f"Python {oldest[0]}.{oldest[1]} is not on this machine: what pyproject.toml promises cannot be shown"
        )
    return list(dict.fromkeys((oldest, fit[-1])))


def directories() -> list[Path]:
    """Where interpreters are looked for."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    on_path = [Path(one) for one in os.environ.get("PATH", "").split(os.pathsep) if one]
    return [*sorted(pyenv.glob("*/bin"), reverse=True), *on_path]


def copy_tree(tree: Path) -> None:
    """What git would take of this tree; what was copied before and is no more goes.

    The environment there stays.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    wanted = {name for name in listed if name and (ROOT / name).is_file()}
    for top in {Path(name).parts[0] for name in wanted}:
        if (ROOT / top).is_dir() and (tree / top).exists():
            shutil.rmtree(tree / top)
    for name in wanted:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)


def run(version: Version, python: Path, workers: int) -> int:
    """Build and test; the exit code."""
    tree = KEPT / f"{version[0]}.{version[1]}"
    copy_tree(tree)
    (tree / ".venv" / ".built").unlink(missing_ok=True)
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "VIRTUAL_ENV")
    }
    built = subprocess.run(["make", "build", f"PYTHON={python}"], cwd=tree, env=environment, check=False)
    if built.returncode:
        return built.returncode
    mine = tree / ".venv" / "bin" / "python"
    core = subprocess.run(
        [mine, "-m", "cometkms", "version"], cwd=tree, capture_output=True, text=True, check=False
    ).stdout
    print(core.strip(), flush=True)
    if "native" not in core or f"{version[0]}.{version[1]}." not in core:
        print("the C core was not built, or another Python runs", file=sys.stderr)
        return 1
    return subprocess.run(
        [mine, "-m", "pytest", "-q", *TESTS, "-n", str(workers)], cwd=tree, env=environment, check=False
    ).returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.pythons", description=__doc__)
    parser.add_argument("--only", default="", help="one version, such as 3.13")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    found = interpreters(directories())
    try:
        versions = [named(asked.only)] if asked.only else chosen(found, required())
        missing = [version for version in versions if version not in found]
        if missing:
            raise LookupError(f"Python {asked.only} is not on this machine")
    except LookupError as error:
        print(error, file=sys.stderr)
        return 1
    codes = {}
    for version in versions:
        print(f"--- Python {version[0]}.{version[1]}: {found[version]}", flush=True)
        codes[version] = run(version, found[version], asked.workers)
    for version, code in codes.items():
        print(f"Python {version[0]}.{version[1]}: {'passed' if code == 0 else f'FAILED, exit code {code}'}")
    return 0 if not any(codes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
