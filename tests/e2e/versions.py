"""This tree as another version of itself: a copy of the package that other nodes of a test run."""

import shutil
from pathlib import Path

from cometkms import __version__
from cometkms.wire.peer_messages import PEER_PROTOCOL_VERSION
from tests.e2e.console import ROOT


def other_version(directory: Path, version: str, protocol: int = PEER_PROTOCOL_VERSION) -> dict[str, str]:
    """The environment in which `python -m cometkms` is that version."""
    package = directory / version / "cometkms"
    shutil.copytree(ROOT / "cometkms", package, ignore=shutil.ignore_patterns("__pycache__"))
    for path, before, after in (
        (package / "__init__.py", f'__version__ = "{__version__}"', f'__version__ = "{version}"'),
        (
            package / "wire" / "peer_messages.py",
            f"PEER_PROTOCOL_VERSION: Final = {PEER_PROTOCOL_VERSION}\n",
            f"PEER_PROTOCOL_VERSION: Final = {protocol}\n",
        ),
    ):
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))
    return {"PYTHONPATH": str(package.parent), "PYTHONSAFEPATH": "1"}  # else the working directory comes first
