"""The homes beside this file, copied to where a test may change them: mode 0600, and at the paths that their settings name."""

import shutil
from pathlib import Path

from tests.vectors.moving.make import CHAIN, HERE, SEED

__all__ = ["CHAIN", "SEED", "old_home"]


def old_home(tmp_path: Path, name: str) -> Path:
    """`name`: cometkms, horcrux_single, horcrux_threshold or tmkms."""
    home = tmp_path / "old" / name
    shutil.copytree(HERE / name, home)
    for path in home.rglob("*"):
        if path.is_file():
            path.write_text(path.read_text().replace("/old/", f"{tmp_path}/old/"))
            path.chmod(0o600)
    return home
