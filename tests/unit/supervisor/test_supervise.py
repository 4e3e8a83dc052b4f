"""The supervisor over dummy children, each test in a process of its own (it forks,
blocks signals and reaps).
"""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PRELUDE = """
import asyncio, json, os, signal, sys, time
from cometkms.errors import ConfigError, StoreFailure
from cometkms.board.status_board import Board
from cometkms.log import Log
from cometkms.ipc.child import run_loop
from cometkms.supervisor.child import ChildSpec, Timing
from cometkms.supervisor.supervise import Supervisor

NAMES = ("state", "signer")
board = Board(("supervisor", "reload", *NAMES), NAMES)
log = Log("info", "plain", fd=2)

def idle(context):
    async def main(stop):
        context.ready()
        await stop.wait()
        print("stopped", context.name, flush=True)
    return run_loop(context, main, log.bind(immediate=False))

def supervise(*runs, timing=Timing()):
    state, signer = runs
    specs = [
        ChildSpec("state", state, keeps_store=True, hands_over=True),
        ChildSpec("signer", signer, stops_first=True),
    ]
    supervisor = Supervisor(specs, board, log, {"version": "0"}, timing)
    code = supervisor.run()
    try:
        os.waitpid(-1, os.WNOHANG)
        print("a child is left", flush=True)
    except ChildProcessError:
        pass
    return code
"""


def play(script: str, tmp_path: Path, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "script.py"
    path.write_text(PRELUDE + textwrap.dedent(script))
    return subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=timeout_s, check=False, env={**os.environ}
    )


def test_the_signer_stops_first_and_nothing_is_left(tmp_path: Path) -> None:
    done = play(
        """
        def signer(context):
            async def main(stop):
                context.ready()
                os.kill(os.getppid(), signal.SIGTERM)
                await stop.wait()
                print("stopped signer", flush=True)
            return run_loop(context, main, log.bind(immediate=False))
        sys.exit(supervise(idle, signer))
        """,
        tmp_path,
    )
    assert (done.returncode, done.stdout.split("\n")) == (0, ["stopped signer", "stopped state", ""]), done.stderr


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        ("ConfigError('no such thing; cure: make it')", 3, "no such thing; cure: make it"),
        ("ValueError('boom')", 70, "boom"),
    ],
)
def test_a_failed_boot_ends_the_parent_with_the_childs_reason(
    raised: str, code: int, words: str, tmp_path: Path
) -> None:
    done = play(
        f"""
        def broken(context):
            raise {raised}
        sys.exit(supervise(idle, broken))
        """,
        tmp_path,
    )
    assert done.returncode == code
    assert words in done.stderr
    assert "stopped state" in done.stdout
    assert "a child is left" not in done.stdout


def test_a_child_that_never_boots_ends_the_parent(tmp_path: Path) -> None:
    done = play(
        """
        sys.exit(supervise(lambda context: time.sleep(1000), idle, timing=Timing(boot_timeout_s=0.3)))
        """,
        tmp_path,
    )
    assert done.returncode == 70
    assert "state was not ready" in done.stderr


def test_a_store_failure_ends_the_parent_with_its_code(tmp_path: Path) -> None:
    done = play(
        """
        def failing(context):
            async def main(stop):
                context.ready()
                await asyncio.sleep(0.1)
                raise StoreFailure("disk: Input/output error")
            return run_loop(context, main, log.bind(immediate=False))
        sys.exit(supervise(failing, idle))
        """,
        tmp_path,
    )
    assert done.returncode == 7
    assert "Error: disk: Input/output error" in done.stderr


def test_a_loop_that_hangs_is_killed_and_replaced_and_one_that_ignores_the_stop_is_killed(tmp_path: Path) -> None:
    done = play(
        """
        def hanging(context):
            async def main(stop):
                context.ready()
                await asyncio.sleep(0.05)
                if board.section("signer").read() is None:
                    board.section("signer").write({"hung": True})
                    time.sleep(1000)
                os.kill(os.getppid(), signal.SIGTERM)
                time.sleep(1000)
            return run_loop(context, main, log.bind(immediate=False))
        code = supervise(idle, hanging, timing=Timing(hung_after_s=4.0, stop_timeout_s=4.0))
        print(json.dumps(board.section("supervisor").read()["children"]))
        sys.exit(code)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    state, signer = json.loads(done.stdout.strip().split("\n")[-1])
    assert (state["restarts"], signer["restarts"]) == (0, 1)
    assert "child hangs" in done.stderr
    assert "did not stop in time" in done.stderr
    assert "a child is left" not in done.stdout
