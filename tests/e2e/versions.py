"""This tree as another version of itself: a copy of the package that other nodes of a test run."""

import shutil
from pathlib import Path

from cometkms import __version__
from cometkms.wire.peer_messages import PEER_PROTOCOL_VERSION
from tests.e2e.console import ROOT


def changed(directory: Path, *changes: tuple[str, str, str]) -> dict[str, str]:
    """The environment in which `python -m cometkms` is a copy, made below `directory`.

    `changes`: file, what stands there, what shall.
    """
    package = directory / "cometkms"
    shutil.copytree(ROOT / "cometkms", package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, before, after in changes:
        text = (package / name).read_text()
        assert before in text
        (package / name).write_text(text.replace(before, after))
    # else the working directory comes first
    return {"PYTHONPATH": str(directory), "PYTHONSAFEPATH": "1"}


def other_version(directory: Path, version: str, protocol: int = PEER_PROTOCOL_VERSION) -> dict[str, str]:
    """The environment in which `python -m cometkms` is that version."""
    spoken = "PEER_PROTOCOL_VERSION: Final = {}\n"
    return changed(
        directory / version,
        ("__init__.py", f'__version__ = "{__version__}"', f'__version__ = "{version}"'),
        ("wire/peer_messages.py", spoken.format(PEER_PROTOCOL_VERSION), spoken.format(protocol)),
    )
