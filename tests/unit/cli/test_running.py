"""Commands that ask a running node: what they ask, what they show, and what they say
when nobody answers.
"""

import contextlib
import functools
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cometkms.cli import running as running_commands
from cometkms.cli.commands import cli
from cometkms.cli.peers import table
from cometkms.errors import CometKMSError
from cometkms.net.control import ask, spare_path
from cometkms.store.lock import lock_home, locked_home
from tests.e2e.node import cmkms, free_port
from tests.unit.cli.fake_node import FakeNode

MARK = {"chain_id": "c-1", "height": 12, "round": 0, "step": 3}
ANSWER: dict[str, Any] = {
    "ok": True,
    "node_id": "node0",
    "is_leader": False,
    "leader_id": "node1",
    "leader_addr": "10.0.0.11:9430",
    "epoch": 1,
    "digest": "ab" * 32,
    "term": 7,
    "lease_left_s": 0.0,
    "why": "",
    "members": [
        {"id": "node0", "addr": "10.0.0.10:9430", "self": True, "connected": True, "state": "complete", "marks": [MARK]},
        {
            "id": "node1",
            "addr": "10.0.0.11:9430",
            "self": False,
            "connected": True,
            "connection": "connected",
            "rtt_us": 349.2,
            "last_contact": 999.5,
            "state": "complete",
            "marks": [MARK],
            "error": "",
        },
        {
            "id": "node2",
            "addr": "10.0.0.12:9430",
            "self": False,
            "connected": False,
            "connection": "waiting",
            "rtt_us": 12.0,
            "last_contact": 0.0,
            "state": None,
            "marks": [],
            "error": "10.0.0.12:9430: connection refused",
        },
    ],
}  # fmt: skip


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Callable[..., FakeNode]]:
    """Make a node that runs in tmp_path."""
    nodes: list[FakeNode] = []

    def run(answer: dict[str, Any] | None, node_id: str = "node0") -> FakeNode:
        nodes.append(FakeNode(tmp_path, node_id, answer))
        return nodes[-1]

    yield run
    for node in nodes:
        node.close()


def invoke(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--home", str(home), *arguments], standalone_mode=False)


def refusal(result: Result) -> str:
    assert isinstance(result.exception, CometKMSError), result
    return str(result.exception)


def test_peers_shows_every_member_with_its_connection_and_position() -> None:
    assert table(ANSWER, now=1000.0) == [
        "ID      ADDRESS         CONNECTION  ROUND TRIP  STATE     PROMISED  LAST CONTACT",
        "node0   10.0.0.10:9430  this node   -           complete  12/0/3    -",
        "node1*  10.0.0.11:9430  connected   0.35 ms     complete  12/0/3    0.5 s ago",
        "node2   10.0.0.12:9430  waiting     -           unknown   -         never",
        "node2: 10.0.0.12:9430: connection refused",
        "epoch 1, digest abababababababab, term 7",
    ]


def test_peers_says_why_the_node_does_not_promise() -> None:
    lines = table({**ANSWER, "why": "waits for node2"}, now=1000.0)
    assert lines[-1] == "WARNING   node0: waits for node2"


def test_peers_as_json_is_the_nodes_own_answer(tmp_path: Path, running: Callable[..., FakeNode]) -> None:
    node = running(ANSWER)
    result = invoke(tmp_path, "peers", "--json")
    assert json.loads(result.output) == {key: value for key, value in ANSWER.items() if key != "ok"}
    assert node.asked == [{"op": "peers"}]


@pytest.mark.parametrize(
    ("answer", "words", "code"),
    [
        (ANSWER, "node1 leads (10.0.0.11:9430, term 7)\n", 0),
        ({**ANSWER, "node_id": "node1"}, "node1 leads, this node (10.0.0.11:9430, term 7)\n", 0),
        ({**ANSWER, "leader_id": None}, "nobody leads: there is no majority, or it is being elected\n", 1),
        ({**ANSWER, "leader_id": None, "why": "misses node2"}, "nobody leads: misses node2\n", 1),
        ({**ANSWER, "leader_id": None, "why": "nobody leads: a, b elect"}, "nobody leads: a, b elect\n", 1),
    ],
)
def test_leader_show_names_the_leader_and_fails_when_there_is_none(
    tmp_path: Path, running: Callable[..., FakeNode], answer: dict[str, Any], words: str, code: int
) -> None:
    running(answer)
    result = invoke(tmp_path, "leader", "show")
    assert (result.output, result.return_value) == (words, code)
    assert json.loads(invoke(tmp_path, "leader", "show", "--json").output)["leader_id"] == answer["leader_id"]


def _member(name: str, priority: str | None, **more: object) -> dict[str, object]:
    facts = {"leader_priority": priority} if priority is not None else {}
    return {"id": name, "connected": True, "state": "complete", "facts": facts, **more}


@pytest.mark.parametrize(
    ("members", "back", "words"),
    [
        (
            [_member("node0", "80"), _member("node1", "50")],
            "node0",
            "(leader_priority 80) after a minute of calm; ten minutes after an order, and later where it lost the lead early",
        ),
        (
            [_member("node0", "80", connected=False), _member("node1", "50")],
            "node0",
            "(leader_priority 80) once it is connected and complete, after a minute of calm; ten minutes after an order, and later where it lost the lead early",
        ),
        (
            [_member("node0", "80", state="recovering"), _member("node1", "50"), _member("node2", "60")],
            "node0",
            "once it is connected and complete",
        ),
        (
            [
                _member("node0", None, facts={"leader_priority": "nearest", "majority_ms": "10.0"}),
                _member("node1", None, facts={"leader_priority": "nearest", "majority_ms": "40.0"}),
            ],
            "node0",
            "(the nearest to a majority) after",
        ),
        ([_member("node0", "50"), _member("node1", "50")], None, ""),
        ([_member("node0", "nearest"), _member("node1", "50")], None, ""),
        ([_member("node0", "\x1b[31m"), _member("node1", None)], None, ""),
        ([_member("node0", "90")], None, ""),
    ],
)
def test_leader_show_says_whom_the_lead_returns_to(
    tmp_path: Path,
    running: Callable[[dict[str, Any] | None], FakeNode],
    members: list[dict[str, object]],
    back: str | None,
    words: str,
) -> None:
    running({**ANSWER, "members": members})
    said = invoke(tmp_path, "leader", "show")
    assert said.return_value == 0
    lines = [line for line in said.output.splitlines() if line.startswith("the lead returns to")]
    assert len(lines) == (back is not None)
    assert all(f"to {back} " in line and words in line for line in lines)
    assert json.loads(invoke(tmp_path, "leader", "show", "--json").output)["returns_to"] == back


@pytest.mark.parametrize(("arguments", "to"), [([], None), (["--to", "node2"], "node2")])
def test_leader_transfer_asks_and_tells_how_long_it_took(
    tmp_path: Path, running: Callable[..., FakeNode], arguments: list[str], to: str | None
) -> None:
    node = running({"ok": True, "from": "node0", "to": "node2", "took_ms": 8.4})
    result = invoke(tmp_path, "leader", "transfer", *arguments)
    assert result.output == "node0 handed over to node2 in 8.4 ms\n"
    assert node.asked == [{"op": "leader_transfer", "to": to}]


def test_the_nodes_no_is_the_commands_error(tmp_path: Path, running: Callable[..., FakeNode]) -> None:
    running({"ok": False, "error": "node0 does not lead; ask the leader, node1"})
    assert refusal(invoke(tmp_path, "leader", "transfer")) == "node0 does not lead; ask the leader, node1"


def test_a_node_that_closes_without_an_answer_is_told_as_that(tmp_path: Path, running: Callable[..., FakeNode]) -> None:
    running(None)
    assert "closed the connection without an answer" in refusal(invoke(tmp_path, "peers"))


def test_the_only_node_of_a_home_is_found_whatever_its_id(tmp_path: Path, running: Callable[..., FakeNode]) -> None:
    """The id may have been a flag of `cmkms start`, which no file knows."""
    running(ANSWER, "the-flags-id")
    assert invoke(tmp_path, "leader", "show").return_value == 0


def test_an_id_that_is_given_is_the_only_one_asked(tmp_path: Path, running: Callable[..., FakeNode]) -> None:
    running(ANSWER, "node0")
    assert "no node runs at" in refusal(invoke(tmp_path, "leader", "show", "--id", "node7"))


@pytest.mark.parametrize("arguments", [["peers"], ["leader", "show"], ["leader", "transfer"]])
def test_a_node_whose_state_process_is_away_is_not_to_be_started(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "data" / "node0").mkdir(parents=True)
    with locked_home(tmp_path):
        said = refusal(invoke(tmp_path, *arguments))
    assert f"another process (pid {os.getpid()}) holds this home, and nobody answers at" in said
    assert "cure: wait until it has ended, or stop it" in said
    assert "start it" not in said
    assert "cure: start it there" in refusal(invoke(tmp_path, *arguments))


@pytest.mark.parametrize("arguments", [["peers"], ["leader", "show"], ["leader", "transfer"]])
def test_a_node_whose_data_was_removed_under_it_runs(home: Path, held: str, arguments: list[str]) -> None:
    shutil.rmtree(home / "data", ignore_errors=True)
    said = refusal(invoke(home, *arguments))
    assert f"{held}, and its {home / 'data'} is gone; cure: `cmkms status`; where that has no answer either" in said


@pytest.mark.parametrize("arguments", [["peers"], ["leader", "show"], ["leader", "transfer"]])
def test_without_a_running_node_the_error_has_the_cure(tmp_path: Path, arguments: list[str]) -> None:
    nowhere = cmkms("--home", str(tmp_path / "nowhere"), *arguments)
    assert (nowhere.returncode, "cure: --home" in nowhere.stderr) == (1, True)
    assert cmkms("init", "--home", str(tmp_path / "home")).returncode == 0
    stopped = cmkms("--home", str(tmp_path / "home"), *arguments)
    assert (stopped.returncode, "cure: start it there" in stopped.stderr) == (1, True)


@pytest.fixture
def held(home: Path) -> Iterator[str]:
    """A home whose node is there and does not answer: frozen, or hanging."""
    lock = lock_home(home)
    yield f"a node (pid {os.getpid()}) holds this home"
    os.close(lock)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path, port = tmp_path / "home", free_port()
    options = ("--new-key", "--chain-id", "c-1", "--http-addr", f"127.0.0.1:{port}")
    assert cmkms("init", "--home", str(path), *options).returncode == 0
    return path


@pytest.mark.parametrize("command", ["status", "events"])
def test_a_node_that_holds_its_home_and_serves_no_status_is_not_to_be_started(
    home: Path, held: str, command: str
) -> None:
    """The start would be refused: it is there."""
    said = refusal(invoke(home, command))
    assert "no node answers at http://127.0.0.1:" in said and held in said
    assert "cure: wait if it has only begun; else its log, and stop it" in said
    assert "cmkms start" not in said


@pytest.mark.parametrize("command", ["status", "events"])
def test_where_nobody_holds_the_home_it_is_to_be_started(home: Path, command: str) -> None:
    said = refusal(invoke(home, command))
    assert said.endswith("cure: cmkms start, or --http-addr")


@pytest.mark.parametrize("command", [["leader", "show"], ["peers"]])
def test_a_node_that_takes_a_request_and_gives_no_answer_is_told_with_who_it_is(
    home: Path, held: str, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener that nobody accepts from, as that of a frozen process."""
    monkeypatch.setattr(running_commands, "ask", functools.partial(ask, timeout_s=0.2))
    folder = home / "data" / "node0"
    folder.mkdir(parents=True)
    with contextlib.chdir(folder), socket.socket(socket.AF_UNIX) as silent:
        silent.bind("control.sock")
        silent.listen()
        said = refusal(invoke(home, *command))
    assert f"it did not answer in time; {held}" in said
    assert said.endswith("where that has no answer either, wait if it has only begun; else its log, and stop it")


def _spared(path: Path) -> None:
    _stale(spare_path(path))


def _stale(path: Path) -> None:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as gone:
        gone.bind(path.name)


@pytest.mark.parametrize(
    ("there", "why", "more"),
    [
        (_spared, "its control socket {} is gone; ", "this again in a second: the node puts a spare one there"),
        (Path.mkdir, "{} is no socket; ", "move {} away: the node puts a spare one there"),
        (_stale, "nobody answers at", "move {} away: the node puts a spare one there"),
    ],
)
@pytest.mark.parametrize("command", [["leader", "show"], ["peers"]])
def test_a_node_whose_socket_is_gone_is_told_with_what_brings_it_back(
    home: Path, held: str, command: list[str], there: Callable[[Path], object], why: str, more: str
) -> None:
    path = home / "data" / "node0" / "control.sock"
    path.parent.mkdir(parents=True)
    there(path)
    said = refusal(invoke(home, *command, "--id", "node0"))
    assert f"{held}, and {why.format(path)}" in said
    assert (
        f"where it says that all is well, {more.format(path)}, or its log says why not; is --id another node's?" in said
    )


@pytest.mark.parametrize("command", [["leader", "show"], ["peers"]])
def test_a_node_whose_spare_socket_is_gone_too_is_to_be_restarted(home: Path, held: str, command: list[str]) -> None:
    """As its log says: nothing brings the socket back."""
    path = home / "data" / "node0" / "control.sock"
    path.parent.mkdir(parents=True)
    said = refusal(invoke(home, *command, "--id", "node0"))
    assert f"{held}, and its control socket {path} is gone, and there is no spare one; " in said
    assert "where it says that all is well, restart this node if nothing else is gone from its directory" in said
    assert "its log says why not" not in said


def test_another_nodes_id_is_told_as_that_alone(home: Path, held: str) -> None:
    said = refusal(invoke(home, "peers", "--id", "node7"))
    assert said.startswith(f"{held}, and nobody answers at {home}/data/node7; cure: `cmkms status`; ")
    assert "all is well" not in said
