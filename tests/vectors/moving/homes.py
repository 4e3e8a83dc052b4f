"""The homes beside this file, copied to where a test may change them: mode 0600, and at the paths
that their settings name.
"""

import shutil
from pathlib import Path

from cometkms.keys.validator_key import write_key
from tests.vectors.moving.make import CHAIN, HERE, SEED

__all__ = ["CHAIN", "SEED", "comet_kms_home", "old_home"]


def old_home(tmp_path: Path, name: str) -> Path:
    """`name`: cometkms, horcrux_single, horcrux_threshold or tmkms."""
    home = tmp_path / "old" / name
    shutil.copytree(HERE / name, home)
    for path in home.rglob("*"):
        if path.is_file():
            path.write_text(path.read_text().replace("/old/", f"{tmp_path}/old/"))
            path.chmod(0o600)
    return home


def comet_kms_home(tmp_path: Path) -> Path:
    """A home of CometBFT's own cometkms, as its kms/internal/config describes it; the state is one
    that FilePV wrote, at 73/1/2.
    """
    home = tmp_path / "old" / "comet_kms"
    (home / "state").mkdir(parents=True)
    (home / "cometkms.toml").write_text(
        f'[[chain]]\nid = "{CHAIN}"\n\n[[validator]]\nchain_id = "{CHAIN}"\naddr = "tcp://127.0.0.1:1"\nidentity_key = "identity.json"\n\n'
        f'[[providers.softsign]]\nchain_ids = ["{CHAIN}"]\nkey_file = "priv_validator_key.json"\n'
    )
    write_key(home / "priv_validator_key.json", SEED)
    shutil.copy(HERE / "cometkms" / "node1" / "priv" / "priv_validator_state.json", home / "state" / f"{CHAIN}.json")
    return home
