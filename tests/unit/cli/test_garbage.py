"""What answers at a status address may be no node, or lie: commands say so in words, and take
nothing for a healthy node that is none.
"""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from cometkms.cli.commands import cli
from cometkms.errors import CometKMSError
from tests.e2e.node import cmkms
from tests.unit.cli.test_top import status

NODE = {
    **status(),
    "children": [{"name": "state", "pid": 1, "state": "running", "restarts": 0}],
    "trouble": [],
    "warnings": [],
}
NODE["events"] = [{"at": 1_700_000_000.5, "what": "leader", "leader": "node0", "term": 3}]
NODE["agents"] = {"door": {}, "links": [{"name": "agent:a", "about": {"host": "h"}, "without_lead": 1}]}


def every(value: object) -> bytes:
    """The node's status with this in the place of each value."""

    def put(one: Any) -> Any:
        if isinstance(one, dict):
            return {key: put(inner) if isinstance(inner, dict | list) else value for key, inner in one.items()}
        return [put(inner) if isinstance(inner, dict | list) else value for inner in one]

    return json.dumps({**put(NODE), "healthy": True, "node": {**put(NODE["node"]), "id": "node0"}}).encode()


def instead(value: object) -> bytes:
    """The same in the place of each list and table."""
    return json.dumps(dict.fromkeys(NODE, value) | {"healthy": True, "node": {"id": "node0"}}).encode()


VALUES = (None, [1], {"a": []}, 10**400, -1e308, float("nan"), "x", True, "")
BODIES = {
    **{f"every value is {str(value)[:12]}": every(value) for value in VALUES},
    **{f"every part is {str(value)[:12]}": instead(value) for value in VALUES},
    "deep": b"[" * 200_000,
    "deep inside": b'{"healthy": true, "node": {"id": "node0"}, "events": ' + b"[" * 900 + b"]" * 900 + b"}",
    "bytes": bytes(range(256)),
    "half": json.dumps(NODE).encode()[:200],
    "surrogates": b'{"healthy": true, "node": {"id": "\\ud800"}, "leader_id": "\\udfff", "events": [{"at": 1, "what": "\\ud800"}]}',
}
NO_NODE = (
    b"{}",
    b"null",
    b"[]",
    b'{"status": "ok"}',
    b'{"node": {"id": "node0"}}',
    b'{"healthy": true}',
    b'{"node": [], "healthy": true}',
)


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], str]]:
    """A server that answers everything so: its address."""
    body = [b""]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body[0])

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def answers(told: bytes) -> str:
        body[0] = told
        return f"127.0.0.1:{server.server_port}"

    yield answers
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["events"], ["events", "--json"]], ids=" ".join)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_status_that_makes_no_sense_is_an_error_in_words(
    serve: Callable[[bytes], str], command: list[str], body: bytes
) -> None:
    done = CliRunner().invoke(cli, [*command, "--http-addr", serve(body)], standalone_mode=False)
    assert done.exception is None or isinstance(done.exception, CometKMSError), done.exception


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_top_says_of_it_that_it_is_not_known_or_shows_it(
    serve: Callable[[bytes], str], tmp_path_factory: pytest.TempPathFactory, body: bytes
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / "config.toml").write_text('id = "node0"\nchain_id = "c"\nvalidator_addr = "127.0.0.1:1"\n')
    arguments = ["top", "--once", "--home", str(home), "--node", f"node0={serve(body)}"]
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert done.exception is None or isinstance(done.exception, CometKMSError), done.exception


@pytest.mark.parametrize("body", NO_NODE)
def test_a_server_that_is_no_node_is_not_healthy(serve: Callable[[bytes], str], body: bytes) -> None:
    """A container's health check asks `cmkms status`."""
    done = cmkms("status", "--http-addr", serve(body))
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not a CometKMS node" in done.stderr
