"""Nodes and validators that end with their test."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e import realsystemd
from tests.e2e.faults import Faults, build_shim
from tests.e2e.node import Node, Validator
from tests.e2e.receiver import Receiver, receiver


def pytest_configure() -> None:
    """Before the workers are started, which inherit what was found out."""
    realsystemd.works_here()


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def make(*addresses: str, **options: str) -> Node:
        nodes.append(Node(tmp_path / f"node{len(nodes)}", *addresses, **options))
        return nodes[-1]

    yield make
    for node in nodes:
        if node.process is not None and node.process.poll() is None:
            node.stop()


@pytest.fixture
def make_validator() -> Iterator[Callable[..., Validator]]:
    validators: list[Validator] = []

    def make(address: str, version: str = "v038", **options: str) -> Validator:
        validators.append(Validator(address, version, **options))
        return validators[-1]

    yield make
    for validator in validators:
        validator.close()


@pytest.fixture
def make_receiver() -> Iterator[Callable[..., Receiver]]:
    with contextlib.ExitStack() as stack:
        yield lambda *, tls=False: stack.enter_context(receiver(tls=tls))


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_shim(tmp_path_factory.mktemp("shim") / "shim.so")


@pytest.fixture
def faults(shim: str, tmp_path: Path) -> Faults:
    return Faults(shim, tmp_path / "faults")
