"""The promise store is taken away under a running node."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.e2e.node import PRECOMMIT, Node, Validator, free_tcp, until


def alerts(node: Node) -> list[str]:
    return [one["name"] for one in node.status()["alerts"]]


def open_store(node: Node) -> Path:
    """What the state process has open."""
    folder = Path(f"/proc/{node.child('state')['pid']}/fd")
    return next(one for one in folder.iterdir() if "/promises" in os.readlink(one))


def test_nothing_is_signed_while_it_is_gone_and_what_is_still_open_is_the_whole_store(
    make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    address = free_tcp()
    validator, node = make_validator(address), make_node(address)
    node.start()
    validator.connect()
    validator.must_sign(PRECOMMIT, 1)
    store = node.home / "data" / "node0" / "promises"
    elsewhere = node.home / "elsewhere"
    store.rename(elsewhere)
    until("it is told", lambda: "store_gone" in alerts(node))
    assert not node.healthy()
    assert str(store) in " ".join(node.status()["trouble"])
    elsewhere.rename(store)
    until("it goes on", node.healthy)
    validator.connect()
    validator.must_sign(PRECOMMIT, 2)
    until("the alert is over", lambda: "store_gone" not in alerts(node))
    store.unlink()
    until("it is told again", lambda: "store_gone" in alerts(node))
    shutil.copyfile(open_store(node), store)
    store.chmod(0o600)
    assert node.stop() == 0
    node.start()
    validator.connect()
    validator.must_sign(PRECOMMIT, 3)
    assert node.healthy()
    assert node.stop() == 0
