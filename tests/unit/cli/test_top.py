"""`cmkms top`: where each member is asked, what is said of one that is not known, and
the screen of it.
"""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cometkms.address import Address
from cometkms.cli import top
from cometkms.cli.top import Told, ask_all, fit, place_of, screen
from cometkms.config.load import load_settings
from cometkms.config.table import Flags
from cometkms.errors import ConfigError

NOW = 1_700_000_000.0
MEMBERS = [
    {"id": "node0", "addr": "10.0.0.10:9430", "self": True, "connected": True, "state": "complete"},
    {"id": "node1", "addr": "10.0.0.11:9430", "self": False, "connected": True, "state": "complete", "facts": {"http_addr": ":8080"}},
    {"id": "node2", "addr": "10.0.0.12:9430", "self": False, "connected": False, "error": "connection refused"},
]  # fmt: skip


def status(name: str = "node0", *, leads: bool = True, **more: Any) -> dict[str, Any]:
    chain = {
        "chain_id": "chain-a", "watermark": {"height": 12, "round": 0, "step": 3}, "last_sign_state": {"height": 12, "round": 0, "step": 2},
        "signed_at": NOW - 1.5, "counters": {"signed": 7, "refused": {"conflict": 2}}, "validators": [{"state": "connected" if leads else "standby"}],
        "latency_us": {"count": 7, "p50": 500.0, "p99": 1500.0},
    }  # fmt: skip
    return {
        "is_leader": leads, "leader_id": "node0", "healthy": True, "node_state": "complete", "members": MEMBERS, "chains": [chain],
        "situation": {"headline": "node0 leads and signs."}, "node": {"id": name, "uptime_s": 100.0, "version": "0.1.0"},
        "fdatasync_us": {"p99": 250.0}, "alerts": [], "events": [], **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("host", "told", "here", "found"),
    [
        ("10.0.0.11", ":8080", "10.0.0.10", Address("10.0.0.11", 8080)),
        ("10.0.0.11", "10.0.0.11:81", "10.0.0.10", Address("10.0.0.11", 81)),
        ("10.0.0.11", "192.0.2.66:80", "10.0.0.10", Address("10.0.0.11", 80)),
        ("127.0.0.1", "127.0.0.1:8081", "127.0.0.1", Address("127.0.0.1", 8081)),
        ("10.0.0.10", "127.0.0.1:8081", "10.0.0.10", Address("10.0.0.10", 8081)),
        ("10.0.0.11", "127.0.0.1:8080", "10.0.0.10", "its HTTP port (127.0.0.1:8080) is for its own machine only"),
        ("10.0.0.11", "", "10.0.0.10", "this home's node does not know where it serves HTTP"),
        ("10.0.0.11", "nonsense", "10.0.0.10", "it says no address at which it serves HTTP"),
    ],
)
def test_a_member_is_asked_at_its_own_address_whatever_host_it_names(
    host: str, told: str, here: str, found: Address | str
) -> None:
    """A member's word moves a port, and never sends the operator's machine to another host."""
    assert place_of(host, told, here) == found


def test_the_screen_has_every_node_the_chain_at_each_and_what_is_not_known() -> None:
    alert = {"name": "peer_away", "since": NOW - 30, "what": "node2 is not connected", "cure": "start it"}
    told = [
        Told("node0", status(alerts=[alert], events=[{"at": NOW - 2, "what": "leader", "leader": "node0", "term": 3}])),
        Told("node1", status("node1", leads=False)),
        Told("node2", None, "connection refused"),
    ]
    assert screen(told, NOW) == [
        "22:13:20 UTC   node0 leads and signs.",
        "",
        "NODE   ROLE     STATE     UP          CONNECTED  SYNC P99  SIGN P50/P99       VERSION",
        "node0  leads    complete  1 min 40 s  1 of 2     0.25 ms   0.50 ms / 1.50 ms  0.1.0",
        "node1  follows  complete  1 min 40 s  1 of 2     0.25 ms   -                  0.1.0",
        "node2  not known: connection refused (node0 sees it not connected: connection refused; node1 sees it not connected: connection refused)",
        "",
        "CHAIN    NODE   PROMISED  LAST SIGNED  AGO    SIGNED HERE  REFUSED  VALIDATORS",
        "chain-a  node0  12/0/3    12/0/2       1.5 s  7            2        1 of 1",
        "chain-a  node1  12/0/3    12/0/2       1.5 s  7            2        standby",
        "",
        "node0  peer away for 30.0 s: node2 is not connected; cure: start it",
        "",
        "22:13:18.000  node0: node0 leads (term 3)",
    ]


def test_what_a_node_tells_is_counted_by_its_own_clock() -> None:
    """A leader whose clock is an hour behind or ahead had signed an hour ago, or just now."""
    for ahead_s in (-3600.0, 3600.0):
        said = status(
            now=NOW + ahead_s,
            alerts=[{"name": "disk_slow", "since": NOW + ahead_s - 30, "what": "slow", "cure": "move it"}],
        )
        said["chains"][0]["signed_at"] = NOW + ahead_s - 1.5
        shown = screen([Told("node0", said)], NOW)
        assert any("12/0/2       1.5 s  7" in line for line in shown), shown
        assert "node0  disk slow for 30.0 s: slow; cure: move it" in shown


def test_a_follower_that_alone_answers_is_named_with_what_it_sees() -> None:
    told = [Told("node0", None, "no answer within 2 s"), Told("node1", status("node1", leads=False))]
    assert screen(told, NOW)[0] == "22:13:20 UTC   node0 leads and signs. (as node1 sees it)"


def test_without_any_answer_it_says_why_of_each() -> None:
    assert screen([Told("node0", None, "connection refused")], NOW) == [
        "22:13:20 UTC   no node answers",
        "node0  connection refused",
    ]


def test_a_terminal_gets_what_it_has_room_for_and_no_strangers_control_characters() -> None:
    assert fit(["abcdef", "\x1b[2Jx"], 4, 9) == ["abc…", "\\x1b"[:3] + "…"]
    assert fit([str(number) for number in range(9)], 60, 4) == [
        "0", "1", "2", "… 6 more lines: a taller window, or cmkms top --once",
    ]  # fmt: skip


# --- asking ---


@contextmanager
def serving(*answers: bytes) -> Iterator[int]:
    """A server that gives one answer after the other, and keeps the last connection open."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        kept: list[socket.socket] = []

        def serve() -> None:
            for answer in answers:
                try:
                    one, _ = listener.accept()
                except OSError:
                    return
                kept.append(one)
                one.recv(4096)
                one.sendall(answer)
                if answer:
                    one.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()
            for one in kept:
                one.close()


def http(document: object) -> bytes:
    body = json.dumps(document).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body


def told_by(tmp_path: Path, *answers: bytes) -> Told:
    settings = load_settings(tmp_path, Flags(id="node0", chain_id="c", validator_addr=("tcp://h:1",)), {})
    with serving(*answers) as port:
        return ask_all(settings, {"node0": Address("127.0.0.1", port)})[0]


def test_a_node_that_does_not_answer_in_time_is_said_not_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top, "_DEADLINE_S", 0.3)
    told = told_by(tmp_path, b"")
    assert told.status is None
    assert told.why.endswith("no answer within 0.3 s")


@pytest.mark.parametrize(
    "wrong",
    [
        {"chains": 5},
        {"members": [3]},
        {"alerts": ["x"]},
        {"node": {"id": "node0", "uptime_s": "long"}},
        {"chains": [{"chain_id": "c", "validators": 1}]},
    ],
)
def test_an_answer_that_is_not_understood_is_said_to_be_that(wrong: dict[str, Any], tmp_path: Path) -> None:
    told = told_by(tmp_path, http({"node": {"id": "node0"}, "healthy": True, **wrong}))
    assert told.status is None
    assert "is not understood" in told.why


def test_another_node_at_that_address_is_not_taken_for_the_one_that_was_meant(tmp_path: Path) -> None:
    with serving(http(status("node7"))) as port:
        assert top._ask("node1", Address("127.0.0.1", port)) == Told(
            "node1", None, f"'node7' answers at 127.0.0.1:{port}"
        )


def test_while_the_home_s_node_is_away_nobody_else_is_asked_in_its_place(tmp_path: Path) -> None:
    """On one machine each node has an HTTP port of its own, which that node alone tells: whoever
    answers at this home's is none of the others, and that nobody does says nothing of them.
    """
    with serving(http(status("node1", leads=False))) as port, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        peers = tuple(f"node{number}=127.0.0.1:{9430 + number}" for number in range(3))
        given = {"id": "node0", "peer": peers, "http_addr": f"127.0.0.1:{closed.getsockname()[1]}"}
        settings = load_settings(tmp_path, Flags(**given, chain_id="c", validator_addr=("tcp://h:1",)), {})
        own, second, third = ask_all(settings, {"node1": Address("127.0.0.1", port)})
    assert own.status is None
    assert "no node answers" in own.why
    assert (second.status or {})["node"]["id"] == "node1"
    assert third == Told(
        "node2", None, "where it serves HTTP is known from node0, which does not answer; --node node2=HOST:PORT"
    )


def test_on_machines_of_their_own_the_others_may_serve_at_the_same_port(tmp_path: Path) -> None:
    peers = tuple(f"node{number}=10.0.0.1{number}:9430" for number in range(3))
    for address, found in ((":8080", Address("10.0.0.11", 8080)), ("127.0.0.1:8080", None)):
        given = {"id": "node0", "peer": peers, "http_addr": address, "raft_addr": ":9430"}
        settings = load_settings(tmp_path, Flags(**given, chain_id="c", validator_addr=("tcp://h:1",)), {})
        place = top._guessed(settings)["node1"]
        assert place == found if found else "is known from node0" in str(place)


def test_an_address_of_a_node_that_is_no_member_is_refused(tmp_path: Path) -> None:
    """It was passed over without a word."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        given = {"id": "node0", "peer": ("node0=127.0.0.1:9430", "node1=127.0.0.1:9431", "node2=127.0.0.1:9432")}
        http_addr = f"127.0.0.1:{closed.getsockname()[1]}"
        settings = load_settings(
            tmp_path, Flags(**given, http_addr=http_addr, chain_id="c", validator_addr=("tcp://h:1",)), {}
        )
        with pytest.raises(
            ConfigError, match=r"^--node node9: no member is called so; the members are node0, node1, node2$"
        ):
            ask_all(settings, {"node9": Address("127.0.0.1", 1)})
