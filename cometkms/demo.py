"""`cmkms demo`: one node on throw-away keys and a stand-in validator that verifies every signature, live.

The node is a real `cmkms start` in its own processes; the stand-in runs here. Nothing is left behind.
"""

import asyncio
import contextlib
import ctypes
import itertools
import json
import os
import signal
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import uvloop

from cometkms import core
from cometkms.errors import CometKMSError
from cometkms.standin import StandIn, listen, quantile

CHAIN_ID: Final = "demo-1"
HEIGHT_INTERVAL_S: Final = 0.05  # far quicker than any chain, slow enough to read along
CONFLICT_EVERY: Final = 10  # heights; the stand-in then asks for another block at a place already signed
BOOT_S: Final = 20.0  # until the signer has dialled and /status answers
POLL_S: Final = 0.05
LEADER_INTERVAL_S: Final = 1.0
STALL_S: Final = 10.0  # one height; CometBFT's rounds last a few seconds
STOP_S: Final = 5.0  # SIGTERM to SIGKILL; a node needs less than 2
LOG_TAIL_LINES: Final = 20
PR_SET_PDEATHSIG: Final = 1


class DemoFailure(CometKMSError):
    """The demo did not show what it should; the text says what happened."""


@dataclass(frozen=True, slots=True)
class Node:
    """A running `cmkms start`."""

    process: asyncio.subprocess.Process
    http_addr: str
    log: Path

    def log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])


def run(seconds: float | None = None, out: IO[str] = sys.stdout) -> int:
    """Run until Ctrl-C or for `seconds`. The exit code: 0, or 1 if a signature failed to verify or signing stalled."""
    return uvloop.run(_demo(seconds, out))


async def _demo(seconds: float | None, out: IO[str]) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    loaded = core.load()
    validator = StandIn(loaded, listen(loaded, "tcp://127.0.0.1:0"), CHAIN_ID)
    try:
        with tempfile.TemporaryDirectory(prefix="cmkms-demo-") as home:
            async with _node(Path(home), validator.address) as node:
                print(f"One CometKMS node ({loaded.name} core) on throw-away keys in {home}", file=out)
                print(f"signs for a stand-in validator on {validator.address}", file=out)
                print(f"status: http://{node.http_addr}/status", file=out, flush=True)
                await _sign_until(stop, seconds, validator, node, Screen(out))
    except CometKMSError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    finally:
        await validator.close()
    print(_summary(validator), file=out, flush=True)
    return 0


def _summary(validator: StandIn) -> str:
    return (
        f"{validator.signatures} signatures, all verified; {validator.refusals} conflicting requests, all refused; "
        f"p50 {_ms(validator, 0.5)}, p99 {_ms(validator, 0.99)}"
    )


def _ms(validator: StandIn, q: float) -> str:
    return f"{quantile(validator.latencies_us, q) / 1000:.2f} ms"


# --- the node ---


@contextlib.asynccontextmanager
async def _node(home: Path, validator_addr: str) -> AsyncIterator[Node]:
    """A node of its own in `home`, stopped at the end. Raises: DemoFailure if it does not begin or does not stop."""
    init = ("init", "--home", str(home), "--new-key", "--chain-id", CHAIN_ID, "--validator-addr", validator_addr)
    process = await _cmkms(*init, output=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    if process.returncode != 0:
        raise DemoFailure(f"cmkms init failed:\n{said.decode(errors='replace')}")
    http_addr, raft_addr = _free_address(), _free_address()
    log = home / "node.log"
    start = ("start", "--home", str(home), "--id", "demo", "--http-addr", http_addr, "--raft-addr", raft_addr)
    with log.open("wb") as log_file:
        node = Node(await _cmkms(*start, output=log_file.fileno()), http_addr, log)
    try:
        yield node
    finally:
        await _stop(node)


async def _cmkms(*arguments: str, output: int) -> asyncio.subprocess.Process:
    """Ctrl-C at the terminal reaches this process alone, which then stops the node; its death stops the node too."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cometkms",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=asyncio.subprocess.STDOUT,
        env={name: value for name, value in os.environ.items() if not _is_setting(name)},
        start_new_session=True,
        preexec_fn=_die_with_parent,
    )


def _is_setting(variable: str) -> bool:
    """The operator's own COMETKMS_* settings must not reach the demo's node; which core to use may."""
    return variable.startswith("COMETKMS_") and variable != core.PURE_VARIABLE


def _die_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


async def _stop(node: Node) -> None:
    """Raises: DemoFailure if it does not stop by itself, or with a failure; not over a failure that is under way."""
    failing = sys.exc_info()[0] is not None
    if node.process.returncode is None:
        node.process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_S):
            await node.process.wait()
    except TimeoutError:
        node.process.kill()
        await node.process.wait()
        if not failing:
            raise DemoFailure(f"the node did not stop within {STOP_S} s:\n{node.log_tail()}") from None
    if node.process.returncode != 0 and not failing:
        raise DemoFailure(f"the node ended with exit code {node.process.returncode}:\n{node.log_tail()}")


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


# --- the show ---


class Screen:
    """A live line, rewritten in place on a terminal, or one line a second elsewhere."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._in_place = out.isatty()
        self._next = 0.0

    def show(self, line: str) -> None:
        if self._in_place:
            print(f"\r\x1b[K{line}", end="", file=self._out, flush=True)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + 1.0
            print(line, file=self._out, flush=True)

    def finish(self) -> None:
        if self._in_place:
            print(file=self._out, flush=True)


async def _sign_until(
    stop: asyncio.Event, seconds: float | None, validator: StandIn, node: Node, screen: Screen
) -> None:
    """Sign heights until told to stop. Raises: DemoFailure, BadSignature, SignerRefused, SignerSilent."""
    ends = [
        asyncio.create_task(stop.wait()),
        asyncio.create_task(node.process.wait()),
        asyncio.create_task(_sign_for_ever(validator, node, screen)),
    ]
    try:
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if ends[2].done():
            ends[2].result()
        if ends[1].done():
            raise DemoFailure(f"the node ended by itself, exit code {node.process.returncode}:\n{node.log_tail()}")
    finally:
        for task in ends:
            task.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
        screen.finish()
    if not stop.is_set() and validator.signatures == 0:
        raise DemoFailure(f"nothing was signed in {seconds} s:\n{node.log_tail()}")


async def _sign_for_ever(validator: StandIn, node: Node, screen: Screen) -> None:
    leader = await _boot(validator, node)
    asked_at = time.monotonic()
    for height in itertools.count(1):
        try:
            async with asyncio.timeout(STALL_S):
                await validator.sign_height(height)
                if height % CONFLICT_EVERY == 0:
                    await validator.try_conflict(height)
        except TimeoutError:
            raise DemoFailure(f"signing stalled for {STALL_S} s at height {height}:\n{node.log_tail()}") from None
        if time.monotonic() - asked_at > LEADER_INTERVAL_S:
            leader, asked_at = await asyncio.to_thread(_leader, node.http_addr), time.monotonic()
        screen.show(
            f"height {height}  {validator.signatures} signatures verified  {validator.refusals} conflicts refused  "
            f"p50 {_ms(validator, 0.5)}  p99 {_ms(validator, 0.99)}  {leader or 'no status'}"
        )
        await asyncio.sleep(HEIGHT_INTERVAL_S)


async def _boot(validator: StandIn, node: Node) -> str:
    """Wait for the signer and for /status; who leads. Raises: DemoFailure."""
    try:
        async with asyncio.timeout(BOOT_S):
            await validator.wait_for_signer()
            await validator.ask_public_key()
            while not (leader := await asyncio.to_thread(_leader, node.http_addr)):
                await asyncio.sleep(POLL_S)
            return leader
    except TimeoutError:
        raise DemoFailure(f"the node was not there within {BOOT_S} s:\n{node.log_tail()}") from None


def _leader(http_addr: str) -> str:
    """Who leads, in words; "" while /status does not answer."""
    try:
        with urllib.request.urlopen(f"http://{http_addr}/status", timeout=1.0) as response:
            status = json.load(response)
    except (OSError, ValueError):
        return ""
    return f"{status.get('leader_id') or 'nobody'} leads"
