"""`cmkms demo`: three nodes on throw-away keys and a stand-in validator that verifies every
signature, live.

The nodes are real `cmkms start`s in processes of their own; the stand-in runs here. A key (or a
timer) kills the leader with SIGKILL, starts it again, and shows how long signing stopped. With an
agent a key freezes it, too. Nothing is left behind.

    nodes      start, kill, restart, stop the nodes; ask who leads
    show       the validator's heights, and what is done to the leader meanwhile
    screen     the terminal: a live line, lasting lines, keys
"""

import asyncio
import signal
import sys
import tempfile
from pathlib import Path
from typing import IO

import uvloop

from cometkms.core import choose
from cometkms.errors import CometKMSError
from cometkms.operator.demo.nodes import CHAIN_ID, Cluster
from cometkms.operator.demo.screen import Screen, pressed_keys
from cometkms.operator.demo.show import Show
from cometkms.operator.standin import StandIn, listen


def run(
    seconds: float | None = None, kill_every_s: float | None = None, out: IO[str] = sys.stdout, *, agent: bool = False
) -> int:
    """Run until Ctrl-C or for `seconds`, and kill the leader every `kill_every_s`. `agent`: one
    stands between the nodes and the validator.

    The exit code: 0, or 1 if a signature failed to verify, a node failed or signing stalled.
    """
    return uvloop.run(_demo(seconds, kill_every_s, out, agent=agent))


async def _demo(seconds: float | None, kill_every_s: float | None, out: IO[str], *, agent: bool) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    loaded = choose.load()
    screen = Screen(out)
    validator = StandIn(loaded, listen(loaded, "tcp://127.0.0.1:0"), CHAIN_ID)
    try:
        with tempfile.TemporaryDirectory(prefix="cmkms-demo-") as directory:
            cluster = Cluster(Path(directory), agent=agent)
            async with cluster.running(validator.address):
                screen.say(f"Three CometKMS nodes ({loaded.name} core) on throw-away keys in {directory}")
                through = " through an agent beside it" if agent else ""
                screen.say(
                    f"sign{through} for a stand-in validator on {validator.address} that verifies every signature"
                )
                screen.say(f"page:   {'  '.join(f'http://{node.http_addr}/' for node in cluster.nodes)}")
                screen.say(f"status: {'  '.join(f'http://{node.http_addr}/status' for node in cluster.nodes)}")
                with pressed_keys(screen) as keys:
                    show = Show(validator, cluster, screen, stop)
                    await show.run(seconds, kill_every_s, keys)
    except CometKMSError as error:
        screen.finish()
        print(f"Error: {error}", file=sys.stderr)
        return 1
    finally:
        await validator.close()
    screen.finish()
    for line in show.summary():
        print(line, file=out, flush=True)
    return 0
