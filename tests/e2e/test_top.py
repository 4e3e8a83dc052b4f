"""`cmkms top` and `cmkms events` beside real nodes: all of them there, one frozen, one
dead; and in a terminal.
"""

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.node import PATIENCE_S, PREVOTE, Validator, cmkms, environment, free_tcp, until


def top(cluster: Cluster, asked: str, *more: str) -> subprocess.CompletedProcess[str]:
    """From the home of one node, whose own port is told, since these nodes have it from a flag."""
    node = cluster.nodes[asked]
    return cmkms("top", "--home", str(node.home), "--node", f"{asked}=127.0.0.1:{node.http_port}", *more)


def test_the_whole_cluster_is_shown_and_a_node_that_is_not_known_is_said_to_be_that(
    make_validator: Callable[..., Validator], tmp_path: Path
) -> None:
    address = free_tcp()
    cluster, validator = Cluster(tmp_path, 3, address), make_validator(address)
    cluster.start()
    try:
        leader = cluster.wait_leader()
        validator.connect()
        validator.must_sign(PREVOTE, 7)

        # homes have each node's own id in data/ only: the one that is asked from is the first,
        # whose settings say node0
        def shown() -> bool:
            """A promise is shown before it is known to be signed, and a node's own row once its
            page is served.
            """
            lines = top(cluster, "node0").stdout.splitlines()
            rows = [[name, "leads" if name == leader else "follows"] for name in cluster.ids]
            known = all(any(line.split()[:2] == row for line in lines) for row in rows)
            return known and any("7/0/2" in line for line in lines) and f"{leader} leads and signs." in "\n".join(lines)

        until("the signature and every node are shown", shown)
        told = json.loads(top(cluster, "node0", "--json").stdout)
        assert {name: one["node"]["id"] for name, one in told.items()} == {name: name for name in cluster.ids}

        frozen = next(name for name in cluster.ids if name not in (leader, "node0"))
        api = cluster.nodes[frozen].child("api")["pid"]
        supervisor = cluster.nodes[frozen].process
        assert supervisor is not None
        os.kill(supervisor.pid, signal.SIGSTOP)  # else it would start another
        os.kill(api, signal.SIGSTOP)
        try:
            row = next(line for line in top(cluster, "node0").stdout.splitlines() if line.startswith(f"{frozen} "))
        finally:
            os.kill(api, signal.SIGCONT)
            os.kill(supervisor.pid, signal.SIGCONT)
        assert "no answer within 2 s" in row
        assert "node0 sees it connected, complete" in row

        cluster.nodes[frozen].kill()

        def gone() -> str:
            rows = [line for line in top(cluster, "node0").stdout.splitlines() if line.startswith(f"{frozen} ")]
            return rows[0] if "not connected" in rows[0] else ""

        assert "connection refused" in until("it is gone", gone)
        http = f"127.0.0.1:{cluster.nodes['node0'].http_port}"
        events = [json.loads(line) for line in cmkms("events", "--http-addr", http, "--json").stdout.splitlines()]
        assert any(one["words"].startswith(f"{frozen} disconnected") for one in events)
        assert [one["at"] for one in events] == sorted(one["at"] for one in events)
        raised = until("the alert is an event", lambda: [
            line for line in cmkms("events", "--http-addr", http).stdout.splitlines() if f"alert raised: peer away: {frozen} is not connected" in line
        ])  # fmt: skip
        assert len(raised) == 1
    finally:
        for node in cluster.nodes.values():
            if node.process is not None:
                node.stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_a_terminal_it_goes_on_until_it_is_ended_and_leaves_the_screen_as_it_was(
    number: signal.Signals, make_node: Callable[..., object]
) -> None:
    node = make_node(free_tcp()).start()  # type: ignore[attr-defined]
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "cometkms",
        "top",
        "--home",
        str(node.home),
        "--node",
        f"node0=127.0.0.1:{node.http_port}",
    ]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(TERM="xterm"), start_new_session=True
    )
    os.close(theirs)
    shown = b""

    def read() -> bytes:
        nonlocal shown
        ready, _, _ = select.select([ours], [], [], 0.1)
        if ready:
            try:
                shown += os.read(ours, 65536)
            except OSError:
                return shown
        return shown

    try:
        until(lambda: f"two looks: {shown!r}", lambda: read().count(b"\x1b[H") >= 2)
        assert b"node0 leads" in shown
        process.send_signal(number)
        until("it ends", lambda: (read(), process.poll() is not None)[1])
        assert process.wait(PATIENCE_S) == 0
        assert shown.rstrip().endswith(b"\x1b[?1049l") or b"\x1b[?1049l" in read()
        assert b"Traceback" not in shown
    finally:
        process.kill()
        os.close(ours)
