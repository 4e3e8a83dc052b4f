"""Datagrams to a service manager: what is sent, when, and what happens when nobody reads."""

import os
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cometkms.ipc.notify import Notifier, take_notifier

Listen = Callable[[str], socket.socket]


@pytest.fixture
def listen() -> Iterator[Listen]:
    opened: list[socket.socket] = []

    def make(address: str) -> socket.socket:
        opened.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
        opened[-1].bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def heard(listener: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(listener.recv(4096).decode())
        except BlockingIOError:
            return found


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_path_and_abstract_sockets_are_both_spoken_to(kind: str, tmp_path: Path, listen: Listen) -> None:
    address = str(tmp_path / "notify") if kind == "path" else f"@cometkms-test-{secrets.token_hex(8)}"
    listener = listen(address)
    notifier = Notifier.of_environment({"NOTIFY_SOCKET": address}, os.getpid())
    notifier.ready()
    notifier.stopping()
    assert heard(listener) == ["READY=1", "STOPPING=1"]


def test_a_reload_carries_its_time_as_notify_reload_wants_it(tmp_path: Path, listen: Listen) -> None:
    import time

    address = str(tmp_path / "notify")
    listener = listen(address)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    Notifier(address).reloading()
    first, second = heard(listener)[0].split("\n")
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_the_status_is_one_line_sent_when_it_changes(tmp_path: Path, listen: Listen) -> None:
    address = str(tmp_path / "notify")
    listener, notifier = listen(address), Notifier(address)
    for words in ("leader", "leader", "two\nlines  here", "é" * 600):
        notifier.status(words)
    said = heard(listener)
    assert said[:2] == ["STATUS=leader", "STATUS=two lines here"]
    assert said[2] == "STATUS=" + "é" * 256  # 512 bytes, and no half of a character
    assert len(said) == 3


def test_the_watchdog_hears_at_half_its_patience(tmp_path: Path, listen: Listen) -> None:
    address = str(tmp_path / "notify")
    listener = listen(address)
    notifier = Notifier.of_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "4000000"}, os.getpid())
    for now in (100.0, 101.9, 102.0, 103.9, 104.1):
        notifier.watchdog(now)
    assert heard(listener) == ["WATCHDOG=1"] * 3


@pytest.mark.parametrize(
    "variables",
    [
        {"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-4000000"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "me"},
        {},
    ],
)
def test_a_watchdog_that_is_not_meant_hears_nothing(variables: dict[str, str], tmp_path: Path, listen: Listen) -> None:
    address = str(tmp_path / "notify")
    listener = listen(address)
    Notifier.of_environment({"NOTIFY_SOCKET": address, **variables}, 4711).watchdog(100.0)
    assert heard(listener) == []


@pytest.mark.parametrize("address", ["", "relative/path", "vsock:2:1234"])
def test_without_an_address_nothing_is_sent_and_nothing_fails(address: str) -> None:
    notifier = Notifier.of_environment({"NOTIFY_SOCKET": address} if address else {}, os.getpid())
    assert not notifier.listens
    notifier.ready()
    notifier.status("words")
    notifier.watchdog(100.0)
    notifier.flush()


def test_changes_of_state_wait_for_a_manager_that_is_away_and_come_in_their_order(
    tmp_path: Path, listen: Listen
) -> None:
    address = str(tmp_path / "notify")
    notifier = Notifier(address, watchdog_s=2.0)
    notifier.ready()
    notifier.status("leader")
    notifier.watchdog(100.0)
    listener = listen(address)
    notifier.watchdog(100.1)  # it was not heard at 100.0
    notifier.flush()
    notifier.stopping()
    notifier.status("leader")
    assert heard(listener) == ["WATCHDOG=1", "READY=1", "STOPPING=1", "STATUS=leader"]


def test_a_manager_that_does_not_read_costs_bounded_memory_and_no_time(tmp_path: Path, listen: Listen) -> None:
    address = str(tmp_path / "notify")
    listener, notifier = listen(address), Notifier(address)
    for _ in range(2000):  # its queue is full long before
        notifier.reloading()
        notifier.ready()
    kept = heard(listener)
    notifier.flush()
    after = heard(listener)
    assert len(kept) < 2000
    assert 0 < len(after) <= 8
    assert after[-1] == "READY=1"


def test_the_variables_are_taken_away_so_that_no_child_speaks_for_the_node() -> None:
    environment = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/root"}
    assert take_notifier(environment).listens
    assert environment == {"HOME": "/root"}


def test_no_descriptor_stays_open(tmp_path: Path, listen: Listen) -> None:
    address = str(tmp_path / "notify")
    listen(address)
    notifier = Notifier(address)
    before = os.listdir("/proc/self/fd")
    for _ in range(20):
        notifier.ready()
        notifier.status(secrets.token_hex(4))
    assert os.listdir("/proc/self/fd") == before
