"""What a peer, a status server or a file says moves no cursor and begins no line of a terminal,
whichever command shows it.
"""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cometkms.log import Log
from cometkms.printable import printable
from tests.unit.cli.fake_node import FakeNode
from tests.unit.cli.inside import cmkms

EVIL = "\x1b[2J\x1b]0;owned\x07\r\nWARNING   fine\x9b31m\u202eelbat\x7f\u2028"
MEMBER = {
    "id": EVIL, "addr": EVIL, "connection": EVIL, "state": EVIL, "error": EVIL, "self": False, "connected": False, "version": EVIL,
    "marks": [{"chain_id": EVIL, "height": EVIL, "round": EVIL, "step": EVIL}], "facts": {"http_addr": ""},
}  # fmt: skip
PEERS: dict[str, Any] = {
    "ok": True, "node_id": EVIL, "leader_id": EVIL, "leader_addr": EVIL, "members": [MEMBER], "epoch": EVIL, "digest": EVIL, "term": EVIL,
    "why": EVIL, "from": EVIL, "to": EVIL, "took_ms": EVIL, "rows": [], "warnings": [EVIL],
}  # fmt: skip
STATUS: dict[str, Any] = {
    "node": {"id": EVIL, "version": EVIL, "core": EVIL, "home": EVIL},
    "healthy": True,
    "leader_id": EVIL,
    "term": EVIL,
    "epoch": EVIL,
    "members": [MEMBER, MEMBER],
    "children": [{"name": EVIL, "pid": EVIL, "state": EVIL, "restarts": EVIL, "last_exit": EVIL}],
    "chains": [
        {"chain_id": EVIL, "address": EVIL, "watermark": {"height": EVIL}, "counters": {"signed": EVIL, "refused": {EVIL: EVIL}},
         "validators": [{"addr": EVIL, "state": EVIL, "last_error": EVIL}]}
    ],
    "trouble": [EVIL],
    "warnings": [EVIL],
}  # fmt: skip


def is_plain(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n")) and "\nWARNING   fine" not in text


def test_one_function_makes_it_plain() -> None:
    assert is_plain(printable(EVIL))
    assert printable('höhe → 5 \\ "x"') == 'höhe → 5 \\ "x"'
    assert "\\x1b[2J" in printable(EVIL)
    assert printable("\udc9b") == "\\udc9b"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    done = cmkms(
        "init", "--home", str(tmp_path / "h"), "--new-key", "--chain-id", "c", "--validator-addr", "tcp://127.0.0.1:1"
    )
    assert done.returncode == 0, done.stderr
    return tmp_path / "h"


@pytest.mark.parametrize(
    "answer", [PEERS, {"ok": False, "error": EVIL}, {**PEERS, "leader_id": None}], ids=["yes", "no", "nobody"]
)
@pytest.mark.parametrize(
    "command",
    [["peers"], ["peers", "--json"], ["leader", "show"], ["leader", "transfer"], ["drill", "--yes"], ["doctor"]],
    ids=" ".join,
)
def test_what_a_running_node_answers(home: Path, command: list[str], answer: dict[str, Any]) -> None:
    node = FakeNode(home, "node0", answer)
    try:
        done = cmkms(*command, "--home", str(home))
    finally:
        node.close()
    assert done.stdout + done.stderr
    assert is_plain(done.stdout)
    assert is_plain(done.stderr)


@pytest.fixture
def hostile() -> Iterator[str]:
    """A status server: its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(STATUS).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_a_status_server_answers(home: Path, hostile: str) -> None:
    for more in ([], ["--json"]):
        done = cmkms("status", "--home", str(home), "--http-addr", hostile, *more)
        assert done.stdout
        assert is_plain(done.stdout)
    done = cmkms("doctor", "--home", str(home), "--http-addr", hostile, "--rpc", f"http://{hostile}")
    assert is_plain(done.stdout + done.stderr)


def test_what_reaches_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    for form in ("plain", "json"):
        Log("debug", form).info(EVIL, peer=EVIL, why=EVIL)
    out = capfd.readouterr().out
    assert is_plain(out)
    assert len(out.splitlines()) == 2
