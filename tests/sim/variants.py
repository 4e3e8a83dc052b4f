"""The C core with a guard taken out: built beside the one that ships, and loaded in its place by a
process of its own.

`python -m tests.sim.variants SO NUMBER`: whether the simulation notices the variant that is mutant
NUMBER of mutants.py.
"""

import importlib.util
import json
import runpy
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
CSRC: Final = ROOT / "csrc"
FLAGS: Final = ("-std=c11", "-O1", "-fPIC", "-fno-strict-aliasing", "-D_GNU_SOURCE")


@dataclass(frozen=True)
class Cut:
    """What is taken out of a file of csrc: `text`, which stands there once, makes place
    for `instead`.
    """

    source: str
    text: str
    instead: str


#: An agent passes on what it did not verify.
UNVERIFIED: Final = Cut(
    "session.c",
    "ck_verify(type, public_key, (ck_bytes){restamped.sign_bytes, restamped.sign_bytes_len}, got.ballot.signature) !=\n"
    "            CK_OK ||",
    "",
)
#: What a link's socket does not take is lost.
UNSENT: Final = Cut("agent_link.c", "    link->unsent = sealed - done;\n", "    link->unsent = 0;\n")


class Builder:
    """Compiles every file once, and what a variant changes again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def build(self, name: str, cuts: tuple[Cut, ...]) -> Path:
        """The extension without what is cut.

        Raises: ValueError where a cut's text does not stand there once.
        """
        place = self._directory / name
        place.mkdir()
        changed: dict[str, str] = {}
        for cut in cuts:
            text = changed.get(cut.source) or (CSRC / cut.source).read_text()
            if text.count(cut.text) != 1:
                raise ValueError(f"{cut.source} has {text.count(cut.text)} times {cut.text!r}")
            changed[cut.source] = text.replace(cut.text, cut.instead)
        objects = dict(self._objects)
        for source, text in changed.items():
            path = place / source
            path.write_text(text)
            objects[source] = self._compile(path, place)
        target = place / "_native.so"
        subprocess.run(["cc", "-shared", "-o", target, *objects.values(), "-ldl"], check=True)
        return target

    @cached_property
    def _objects(self) -> dict[str, Path]:
        wrapper = self._directory / "_native.c"
        runpy.run_path(str(ROOT / "build_ffi.py"))["ffi"].emit_c_code(str(wrapper))
        return {path.name: self._compile(path, self._directory) for path in (wrapper, *sorted(CSRC.glob("*.c")))}

    @staticmethod
    def _compile(source: Path, directory: Path) -> Path:
        target = directory / f"{source.stem}.o"
        python = sysconfig.get_path("include")
        subprocess.run(["cc", *FLAGS, "-w", f"-I{CSRC}", f"-I{python}", "-c", source, "-o", target], check=True)
        return target


def load(extension: Path) -> None:
    """From now on this process's C core is that one. Before anything has asked for the core."""
    import cometkms

    if "cometkms._native" in sys.modules:
        raise RuntimeError("the core that ships is loaded already")
    spec = importlib.util.spec_from_file_location("cometkms._native", extension)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{extension} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["cometkms._native"] = module
    vars(cometkms)["_native"] = module


def main() -> None:
    load(Path(sys.argv[1]))
    from tests.sim.mutants import killed_by

    print(json.dumps(killed_by(int(sys.argv[2]))))


if __name__ == "__main__":
    main()
