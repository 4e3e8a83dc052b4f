"""An old copy of `data/` is put back under one node alone, which is its own majority: nobody else
knows what it signed since.
"""

import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from cometkms.errors import StateError
from tests.e2e.node import PATIENCE_S, PREVOTE, Node, Validator, children_of, cmkms, free_tcp, until


@pytest.fixture
def validator(make_validator: Callable[..., Validator]) -> Validator:
    return make_validator(free_tcp())


@pytest.fixture
def node(make_node: Callable[..., Node], validator: Validator) -> Node:
    return make_node(validator.address)


def writers_below(pid: int) -> list[int]:
    """The processes that replace the state files."""
    below = [one for child in children_of(pid) for one in (child, *children_of(child))]
    return [one for one in below if Path(f"/proc/{one}/comm").read_text().strip() == "cmkms-writer"]


def put_back(node: Node, kept: Path) -> Path:
    """`kept` in the place of data/; returns where that is."""
    newest = node.home / "newest"
    (node.home / "data").rename(newest)
    shutil.copytree(kept, node.home / "data")
    return newest


def does_not_start(node: Node, words: str) -> None:
    node.start(wait=False)
    assert node.process is not None
    assert node.process.wait(PATIENCE_S) == StateError.exit_code, node.log()
    assert re.search(words, node.log()), node.log()


def refuses(node: Node) -> None:
    does_not_start(node, "is ahead of the store")
    assert "an old copy of the store was put back, or another signer wrote that file" in node.log()


def signed_beyond_its_copy(node: Node, validator: Validator) -> Path:
    """A node that signed heights 20 to 23, and was killed before its state file had the last;
    returns data/ as it was at 21.
    """
    node.start()
    validator.connect()
    for height in (20, 21):
        validator.must_sign(PREVOTE, height)
    assert node.stop() == 0
    kept = node.home / "kept"
    shutil.copytree(node.home / "data", kept)
    is_killed_behind(node, validator)
    return kept


def is_killed_behind(node: Node, validator: Validator) -> None:
    """It signs 22 and 23, and its state file has the first."""
    node.start()
    validator.connect()
    validator.must_sign(PREVOTE, 22)
    until("the state file follows", lambda: node.file_state()["height"] == "22")
    assert node.process is not None
    (writer,) = writers_below(node.process.pid)
    os.kill(writer, signal.SIGSTOP)
    validator.must_sign(PREVOTE, 23)
    node.kill()
    assert node.file_state()["height"] == "22"


def test_the_copy_signs_nothing_and_the_newest_data_go_on(node: Node, validator: Validator) -> None:
    newest = put_back(node, signed_beyond_its_copy(node, validator))
    for _ in range(2):
        refuses(node)
    shutil.rmtree(node.home / "data")
    newest.rename(node.home / "data")
    node.start()
    validator.connect()
    for height in (21, 22, 23):
        validator.must_refuse(PREVOTE, height, block="dd")
    validator.must_sign(PREVOTE, 24, block="dd")


def test_where_the_newest_data_are_gone_a_height_is_burnt(node: Node, validator: Validator) -> None:
    put_back(node, signed_beyond_its_copy(node, validator))
    refuses(node)
    done = cmkms("recover", "--home", str(node.home), "--id", node.id, "--min-height", "30", "--yes-height", "30")
    assert done.returncode == 0, done.stderr
    node.start()
    validator.connect()
    for height in (21, 22, 23, 30):
        validator.must_refuse(PREVOTE, height, block="dd")
    validator.must_sign(PREVOTE, 31, block="dd")


def test_a_state_file_that_is_lost_beside_a_whole_store_is_written_from_it_as_the_cure_says(
    node: Node, validator: Validator
) -> None:
    node.start()
    validator.connect()
    validator.must_sign(PREVOTE, 20)
    assert node.stop() == 0
    node.state_path.unlink()
    cure = f"cmkms state export --chain-id {node.chain} --out {node.state_path}"
    does_not_start(node, re.escape(cure))
    done = cmkms(*cure.split()[1:], "--home", str(node.home), "--id", node.id)
    assert done.returncode == 0, done.stderr
    assert node.file_state()["height"] == "20"
    node.start()
    validator.connect()
    validator.must_refuse(PREVOTE, 20, block="dd")
    validator.must_sign(PREVOTE, 21)


def test_a_file_that_another_signer_wrote_is_taken_on_the_operators_word(node: Node, validator: Validator) -> None:
    """FilePV went on in this home's own state file and is off for good."""
    node.start()
    validator.connect()
    validator.must_sign(PREVOTE, 20)
    assert node.stop() == 0
    beyond = '{"height": "40", "round": 0, "step": 3}'
    node.state_path.write_text(beyond)
    refuses(node)
    done = cmkms("state", "import", "--home", str(node.home), "--id", node.id, str(node.state_path))
    assert done.returncode == 0, done.stderr
    node.start()
    validator.connect()
    validator.must_refuse(PREVOTE, 40)
    validator.must_sign(PREVOTE, 41)


def test_a_copy_from_before_a_rename_signs_nothing_and_a_height_is_burnt_for_the_new_id(
    node: Node, validator: Validator, make_validator: Callable[..., Validator]
) -> None:
    """RUNBOOK "A chain that the store does not know": it has nothing of the new id, and the state
    file is behind what was promised there.
    """
    node.start()
    validator.connect()
    validator.must_sign(PREVOTE, 20)
    assert node.stop() == 0
    validator.close()
    kept = node.home / "kept"
    shutil.copytree(node.home / "data", kept)
    at_home = ("--home", str(node.home), "--id", node.id)
    assert cmkms("chain", "rename", *at_home, "--from", node.chain, "--to", "c-2", "--yes").returncode == 0
    config = node.home / "config.toml"
    config.write_text(config.read_text().replace(f'"{node.chain}"', '"c-2"'))
    renamed = make_validator(validator.address, chain="c-2")
    is_killed_behind(node, renamed)
    put_back(node, kept)
    words = "c-2: .*born.json says that this node has begun this chain, and .* does not know it: an older copy"
    does_not_start(node, words)
    done = cmkms("recover", *at_home, "--min-height", "c-2=30", "--yes-height", "c-2=30")
    assert done.returncode == 0, done.stderr
    assert f"lost     {node.chain}: " in done.stdout
    node.start()
    renamed.connect()
    for height in (22, 23, 30):
        renamed.must_refuse(PREVOTE, height, block="dd")
    renamed.must_sign(PREVOTE, 31, block="dd")
    assert node.stop() == 0
    shutil.rmtree(node.home / "data")
    shutil.copytree(kept, node.home / "data")
    does_not_start(node, words)
