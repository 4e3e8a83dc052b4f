"""Moving in and out with real processes: CometBFT's own FilePV on the other side, and homes that other signers left."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.node import PRECOMMIT, PREVOTE, PROPOSAL, Node, Validator, ballot, cmkms, free_tcp
from tests.vectors.moving.homes import CHAIN, old_home

MakeNode = Callable[..., Node]
MakeValidator = Callable[..., Validator]


def empty_home(make_node: MakeNode, address: str, **options: str) -> Node:
    """A node's home without a key or a state."""
    node = make_node(address, **options)
    node.key_path.unlink()
    node.state_path.unlink()
    return node


def file_pv(validator: Validator, home: Path) -> Callable[..., dict]:
    """CometBFT's own signer on the files of a home, made if they are missing: ask it as one asks a validator."""
    for name in ("config", "data"):
        (home / name).mkdir(parents=True, exist_ok=True)
    keys = {
        "key_file": str(home / "config" / "priv_validator_key.json"),
        "state_file": str(home / "data" / "priv_validator_state.json"),
    }
    assert validator.ask(cmd="load_filepv", **keys)["verified"]
    return lambda *place, **more: validator.ask(**ballot(*place, **more), target="filepv")


def test_from_filepv_and_back(make_node: MakeNode, make_validator: MakeValidator, tmp_path: Path) -> None:
    """Wherever the key goes, one place is signed once, and the signature that is known is given again."""
    address = free_tcp()
    node = empty_home(make_node, address)
    validator = make_validator(address)
    old = file_pv(validator, tmp_path / "gaia")
    for kind in (PROPOSAL, PREVOTE, PRECOMMIT):
        signed = old(kind, 10)
        assert signed["verified"], signed
    moved = cmkms("import", "--home", str(node.home), "--from", "filepv", str(tmp_path / "gaia"), "--yes")
    assert moved.returncode == 0, moved.stderr

    node.start()
    validator.connect()
    assert "height" in validator.must_refuse(PREVOTE, 9)
    assert "conflict" in validator.must_refuse(PRECOMMIT, 10, block="bb")
    again = validator.must_sign(PRECOMMIT, 10, second=7)
    assert again["signature"] == signed["signature"]
    validator.must_sign(PREVOTE, 11)
    last = validator.must_sign(PRECOMMIT, 11)
    assert node.stop() == 0

    moved = cmkms("export", "--home", str(node.home), "--to", "filepv", str(tmp_path / "gaia"), "--yes")
    assert moved.returncode == 0, moved.stderr
    back = file_pv(validator, tmp_path / "gaia")
    assert "regression" in back(PREVOTE, 11)["error"]
    assert "conflicting data" in back(PRECOMMIT, 11, block="bb")["error"]
    assert back(PRECOMMIT, 11, second=3)["signature"] == last["signature"]
    assert back(PREVOTE, 12)["verified"]


def test_what_only_the_store_knows_goes_out_too(
    make_node: MakeNode, make_validator: MakeValidator, tmp_path: Path
) -> None:
    """The state file is behind the store, as after a kill -9: FilePV must sign nothing else there."""
    address = free_tcp()
    node = make_node(address)
    validator = make_validator(address)
    node.start()
    validator.connect()
    validator.must_sign(PREVOTE, 20)
    node.kill()
    node.state_path.write_text('{"height":"3","round":0,"step":1}')  # as far behind as a file can be
    out = tmp_path / "out"
    moved = cmkms("export", "--home", str(node.home), "--to", "filepv", str(out), "--yes")
    assert moved.returncode == 0, moved.stderr
    for name, folder in (("priv_validator_key.json", "config"), ("priv_validator_state.json", "data")):
        (tmp_path / "gaia" / folder).mkdir(parents=True)
        shutil.copy(out / name, tmp_path / "gaia" / folder)
    back = file_pv(validator, tmp_path / "gaia")
    for block in ("bb", ""):
        assert "error" in back(PREVOTE, 20, block=block)
    assert back(PRECOMMIT, 20)["verified"]


@pytest.mark.parametrize(
    ("kind", "name", "last"),
    [
        ("cometkms", "cometkms", (PREVOTE, 73)),
        ("horcrux", "horcrux_single", (PRECOMMIT, 51)),
        ("tmkms", "tmkms", (PRECOMMIT, 45)),
    ],
)
def test_from_every_other_signer(
    make_node: MakeNode, make_validator: MakeValidator, tmp_path: Path, kind: str, name: str, last: tuple[int, int]
) -> None:
    """Nothing at the old signer's last place that it did not sign, nothing below, everything above."""
    address = free_tcp()
    node = empty_home(make_node, address, chain=CHAIN)
    home = old_home(tmp_path, name)
    paths = sorted(home.iterdir()) if kind == "cometkms" else [home]
    moved = cmkms("import", "--home", str(node.home), "--from", kind, *map(str, paths), "--yes")
    assert moved.returncode == 0, moved.stderr
    node.start()
    validator = make_validator(address, chain=CHAIN)
    validator.connect()
    step, height = last
    for refused in (
        (step, height, 1, "bb"),
        (step, height, 1, ""),
        (step, height, 0, "aa"),
        (step, height - 1, 5, "aa"),
    ):
        validator.must_refuse(*refused)
    validator.must_sign(step, height, 2)
    validator.must_sign(PRECOMMIT, height + 1)


def test_a_running_node_is_neither_raised_nor_exported(make_node: MakeNode, tmp_path: Path) -> None:
    node = make_node(free_tcp()).start()
    out = tmp_path / "out"
    raised = ("import", "--from", "filepv", str(node.key_path), "--min-height", "1")
    for command in (raised, ("export", "--to", "filepv", str(out))):
        refused = cmkms(command[0], "--home", str(node.home), *command[1:], "--yes")
        assert refused.returncode == 6, refused.stderr
        assert "stop it first" in refused.stderr
    assert not out.exists()
    assert node.stop() == 0
    assert json.loads(node.state_path.read_text())["height"] == "0"
