"""`cmkms config digest`: the same on every node that agrees, different where one does not, and no
secret in it.
"""

import base64
import json
from pathlib import Path

import pytest

from tests.e2e.node import cmkms


@pytest.fixture
def homes(tmp_path: Path) -> list[Path]:
    assert cmkms("testnet", "--dir", str(tmp_path / "net")).returncode == 0
    return sorted((tmp_path / "net").iterdir())


def digest(home: Path, *arguments: str) -> str:
    done = cmkms("config", "digest", "--home", str(home), *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nodes_that_agree_print_the_same_to_the_letter(homes: list[Path]) -> None:
    assert len({digest(home) for home in homes}) == 1
    found = json.loads(digest(homes[0], "--json"))
    assert [member["id"] for member in found["members"]] == ["node0", "node1", "node2"]
    assert len({member["identity"] for member in found["members"]}) == 3
    assert found["epoch"] == 1


def test_another_key_or_another_member_is_another_digest(homes: list[Path]) -> None:
    alike = json.loads(digest(homes[0], "--json"))["digest"]
    config = homes[1] / "config.toml"
    config.write_text(config.read_text().replace("node2=", "node3="))
    assert json.loads(digest(homes[1], "--json"))["digest"] != alike
    key = homes[2] / "priv" / "priv_validator_key.json"
    key.unlink()
    assert cmkms("keys", "new", "--home", str(homes[2])).returncode == 0
    assert json.loads(digest(homes[2], "--json"))["digest"] != alike


def test_a_cluster_key_takes_the_validator_keys_place(homes: list[Path]) -> None:
    alike = json.loads(digest(homes[0], "--json"))["digest"]
    path = homes[0] / "priv" / "cluster.key"
    path.write_text("11" * 32)
    path.chmod(0o600)
    assert json.loads(digest(homes[0], "--json"))["digest"] != alike


def test_addresses_are_no_part_of_the_digest(homes: list[Path]) -> None:
    """A node may move; only ids and identities are the cluster."""
    alike = json.loads(digest(homes[0], "--json"))["digest"]
    config = homes[0] / "config.toml"
    config.write_text(config.read_text().replace("node2=127.0.0.1:", "node2=10.0.0.1:"))
    assert json.loads(digest(homes[0], "--json"))["digest"] == alike


def test_the_secret_is_not_in_the_output(homes: list[Path]) -> None:
    key = json.loads((homes[0] / "priv" / "priv_validator_key.json").read_text())
    secret = base64.b64decode(key["priv_key"]["value"])
    shown = digest(homes[0]) + digest(homes[0], "--json")
    assert key["priv_key"]["value"] not in shown
    assert secret[:32].hex() not in shown


def test_one_node_alone_has_a_digest_and_needs_no_settings_to_start_with(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert cmkms("init", "--home", str(home), "--new-key").returncode == 0
    shown = digest(home)
    assert "member   node0  alone  identity none" in shown
    assert "unset" not in shown


def test_without_a_key_file_the_error_names_it(homes: list[Path]) -> None:
    (homes[0] / "priv" / "priv_validator_key.json").unlink()
    done = cmkms("config", "digest", "--home", str(homes[0]))
    assert (done.returncode, "priv_validator_key.json is missing" in done.stderr) == (4, True)
