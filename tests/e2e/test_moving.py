"""Moving in and out with real processes: CometBFT's own FilePV on the other side, and homes that
other signers left.
"""

import json
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cometkms.keys.validator_key import write_key
from tests.e2e.node import PRECOMMIT, PREVOTE, PROPOSAL, Node, Validator, ballot, cmkms, free_tcp
from tests.vectors.moving.homes import CHAIN, SEED, comet_kms_home, old_home

pytestmark = pytest.mark.long

MakeNode = Callable[..., Node]
MakeValidator = Callable[..., Validator]


def empty_home(make_node: MakeNode, address: str, **options: str) -> Node:
    """A node's home without a key or a state.

    Its id is its own: the old signers' homes hold one key, these tests run side by side, and of one
    key and id one node starts on a machine.
    """
    node = make_node(address, node_id=f"node-{secrets.token_hex(4)}", **options)
    node.key_path.unlink()
    node.state_path.unlink()
    return node


def file_pv(validator: Validator, home: Path) -> Callable[..., dict]:
    """CometBFT's own signer on the files of a home, made if they are missing: ask it as
    one asks a validator.
    """
    for name in ("config", "data"):
        (home / name).mkdir(parents=True, exist_ok=True)
    keys = {
        "key_file": str(home / "config" / "priv_validator_key.json"),
        "state_file": str(home / "data" / "priv_validator_state.json"),
    }
    assert validator.ask(cmd="load_filepv", **keys)["verified"]
    return lambda *place, **more: validator.ask(**ballot(*place, **more), target="filepv")


def test_from_filepv_and_back(make_node: MakeNode, make_validator: MakeValidator, tmp_path: Path) -> None:
    """Wherever the key goes, one place is signed once, and the signature that is known
    is given again.
    """
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

    # the machine boots, and its unit starts it
    again = cmkms("start", "--home", str(node.home), "--id", node.id)
    assert again.returncode == 5
    assert "this key went out, to filepv" in again.stderr
    moved = cmkms("import", "--home", str(node.home), "--from", "filepv", str(tmp_path / "gaia"), "--yes")
    assert moved.returncode == 0, moved.stderr
    node.start()
    validator.connect()
    validator.must_refuse(PREVOTE, 12, block="bb")
    validator.must_sign(PRECOMMIT, 12)


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
    # as far behind as a file can be
    node.state_path.write_text('{"height":"3","round":0,"step":1}')
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


def test_the_filepv_procedure_with_the_old_signer_back_at_every_moment(
    make_node: MakeNode, make_validator: MakeValidator, tmp_path: Path
) -> None:
    """MOVING.md: it signs on after the look, it comes back after the import, and again
    when the new one signs.
    """
    address = free_tcp()
    node = empty_home(make_node, address)
    validator = make_validator(address)
    gaia = tmp_path / "gaia"
    move = ("import", "--home", str(node.home), "--from", "filepv", str(gaia))
    old = file_pv(validator, gaia)
    (gaia / "config" / "config.toml").write_text('priv_validator_laddr = ""\n')
    old(PRECOMMIT, 10)
    looked = cmkms(*move)
    assert "height 10 round 0 step 3" in looked.stdout
    signed = {11: old(PRECOMMIT, 11)}
    assert cmkms(*move, "--yes").returncode == 0

    # its supervisor had started it again: the import is run again, and sees it
    signed[12] = old(PRECOMMIT, 12)
    assert cmkms(*move, "--yes").returncode == 0
    key = gaia / "config" / "priv_validator_key.json"
    (gaia / "config" / "config.toml").write_text('priv_validator_laddr = "tcp://0.0.0.0:26658"\n')
    key.rename(tmp_path / "aside.json")

    node.start()
    ours = validator.connect()
    for height in signed:
        assert "error" in validator.sign(PRECOMMIT, height, block="bb")
    assert validator.must_sign(PRECOMMIT, 12, second=7)["signature"] == signed[12]["signature"]
    validator.must_sign(PREVOTE, 13)
    validator.must_sign(PRECOMMIT, 13)

    # The node comes back without its priv_validator_laddr: CometBFT makes itself another key, and
    # this one is not signed with.
    keys = {"key_file": str(key), "state_file": str(gaia / "data" / "priv_validator_state.json")}
    validator.ask(cmd="load_filepv", **keys)
    made = json.loads(key.read_text())["pub_key"]["value"]
    assert made not in (ours, json.loads((tmp_path / "aside.json").read_text())["pub_key"]["value"])
    validator.must_refuse(PREVOTE, 13, block="bb")

    # From now on its state says nothing of this key, and another import of it is refused.
    again = cmkms(*move, "--yes")
    assert again.returncode != 0
    assert "cure" in again.stderr.lower()


HOMES = {
    "cometkms": ("cometkms", (PREVOTE, 73)),
    "comet_kms": ("cometkms", (PREVOTE, 73)),
    "horcrux_single": ("horcrux", (PRECOMMIT, 51)),
    "horcrux_threshold": ("horcrux", (PRECOMMIT, 61)),
    "tmkms": ("tmkms", (PRECOMMIT, 45)),
}
SEVERAL = ("cometkms", "horcrux_threshold")


def move_of(node: Node, tmp_path: Path, name: str) -> tuple[Path, list[str]]:
    """The old signer's home or homes, and the command of MOVING.md for it."""
    home = comet_kms_home(tmp_path) if name == "comet_kms" else old_home(tmp_path, name)
    paths = sorted(home.iterdir()) if name in SEVERAL else [home]
    command = ["import", "--home", str(node.home), "--from", HOMES[name][0], *map(str, paths)]
    if name == "horcrux_threshold":
        write_key(tmp_path / "split.json", SEED)
        command += ["--key-file", str(tmp_path / "split.json")]
    return home, command


@pytest.mark.parametrize("name", HOMES)
def test_from_every_other_signer(make_node: MakeNode, make_validator: MakeValidator, tmp_path: Path, name: str) -> None:
    """Nothing at the old signer's last place that it did not sign, nothing below, everything above."""
    address = free_tcp()
    node = empty_home(make_node, address, chain=CHAIN)
    _, command = move_of(node, tmp_path, name)
    moved = cmkms(*command, "--yes")
    assert moved.returncode == 0, moved.stderr
    node.start()
    validator = make_validator(address, chain=CHAIN)
    validator.connect()
    step, height = HOMES[name][1]
    for refused in (
        (step, height, 1, "bb"),
        (step, height, 1, ""),
        (step, height, 0, "aa"),
        (step, height - 1, 5, "aa"),
    ):
        validator.must_refuse(*refused)
    validator.must_sign(step, height, 2)
    validator.must_sign(PRECOMMIT, height + 1)


#: The state that a signer writes when it signs once more, of the node or cosigner that does.
LAST = {
    "cometkms": "node2/priv/priv_validator_state.json",
    "comet_kms": f"state/{CHAIN}.json",
    "horcrux_single": f"state/{CHAIN}_priv_validator_state.json",
    "horcrux_threshold": f"cosigner_2/state/{CHAIN}_share_sign_state.json",
    "tmkms": f"state/{CHAIN}-consensus.json",
}


@pytest.mark.parametrize("name", HOMES)
def test_from_every_other_signer_that_signs_once_more_at_the_worst_moment(
    make_node: MakeNode, make_validator: MakeValidator, tmp_path: Path, name: str
) -> None:
    """After the look, and again between the import and the start: the import that is
    run last knows.
    """
    address = free_tcp()
    node = empty_home(make_node, address, chain=CHAIN)
    home, command = move_of(node, tmp_path, name)
    state = home / LAST[name]

    def sign_at(height: int) -> None:
        written = {"height": str(height), "round": "0", "step": 2}
        state.write_text(json.dumps(written if name == "tmkms" else {**written, "step": 3}))

    assert cmkms(*command).returncode == 0
    sign_at(200)
    assert cmkms(*command, "--yes").returncode == 0
    sign_at(201)
    assert cmkms(*command, "--yes").returncode == 0
    node.start()
    validator = make_validator(address, chain=CHAIN)
    validator.connect()
    for height in (200, 201):
        for block in ("aa", ""):
            validator.must_refuse(PRECOMMIT, height, 0, block)
    validator.must_sign(PRECOMMIT, 202)


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
