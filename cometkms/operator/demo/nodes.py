"""The demo's nodes, and perhaps their agent: real processes in a directory of their own, killed,
frozen, started again and stopped."""

import asyncio
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from cometkms.core import choose
from cometkms.errors import CometKMSError
from cometkms.hardening.kernel import PR_SET_PDEATHSIG, prctl
from cometkms.net.control import ask

CHAIN_ID: Final = "demo-1"
NODES: Final = 3
AGENT: Final = "agent"
STOP_S: Final = 30.0  # SIGTERM to SIGKILL; a node needs less than 2 where the machine is not busy
STATUS_TIMEOUT_S: Final = 1.0
LOG_TAIL_LINES: Final = 40  # a whole start, and what came after it
PORT_TRIES: Final = 100


class DemoFailure(CometKMSError):
    """The demo did not show what it should; the text says what happened."""


class Service:
    """One home and the `cmkms` that runs in it."""

    def __init__(self, home: Path, command: str, *, freezes: bool) -> None:
        """`freezes`: it may be stopped with SIGSTOP; then only SIGKILL reaches it when this process
        dies."""
        self.home = home
        self.id = home.name
        self.log = home / "node.log"
        self._command = command
        self._at_death = signal.SIGKILL if freezes else signal.SIGTERM
        self._frozen: list[int] = []
        self.down_on_purpose = False
        self._process: asyncio.subprocess.Process | None = None
        self._starting: asyncio.Task[None] | None = None

    @property
    def exit_code(self) -> int | None:
        """Return the exit code, or None while it runs or when it never did."""
        return self._process.returncode if self._process is not None else None

    async def start(self) -> None:
        """Also after it was killed: the same home, the same addresses. Cancelled or not, what was
        started is known to stop()."""
        self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        with self.log.open("ab") as log:
            self._process = await _cmkms(
                self._command, "--home", str(self.home), output=log.fileno(), at_death=self._at_death
            )
        self.down_on_purpose = False

    async def kill(self) -> None:
        """SIGKILL; its children die with it."""
        self.down_on_purpose = True
        if self._process is not None:
            self._process.kill()
            await self._process.wait()

    async def freeze(self) -> None:
        """SIGSTOP to every process of it, as a host that hangs: its connections stay, and nobody
        answers."""
        if self._process is None:
            return
        self._frozen = [self._process.pid]
        for pid in self._frozen:  # grows meanwhile
            os.kill(pid, signal.SIGSTOP)
            self._frozen += _children(pid)

    def thaw(self) -> None:
        """SIGCONT."""
        frozen, self._frozen = self._frozen, []
        for pid in reversed(frozen):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    async def stop(self) -> str:
        """SIGTERM, and SIGKILL if that does not end it. What went wrong; "" if nothing did."""
        self.thaw()
        if self._starting is not None:
            await self._starting
        process = self._process
        if process is None or self.down_on_purpose:
            return ""
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            return f"{self.id} did not stop within {STOP_S} s:\n{self.log_tail()}"
        # the latter: stopped before it had begun
        if process.returncode not in (0, -signal.SIGTERM):
            return f"{self.id} ended with exit code {process.returncode}:\n{self.log_tail()}"
        return ""

    def log_tail(self) -> str:
        """Its last lines; "" if it never ran."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])


class Node(Service):
    """A node."""

    def __init__(self, home: Path, http_addr: str, *, freezes: bool) -> None:
        super().__init__(home, "start", freezes=freezes)
        self.http_addr = http_addr

    async def hand_over(self) -> None:
        """`cmkms leader transfer`. Raises: OperatorError with the node's no."""
        path = self.home / "data" / self.id / "control.sock"
        await asyncio.to_thread(ask, path, {"op": "leader_transfer", "to": None})

    async def status(self) -> dict[str, Any]:
        """GET /status; {} while it does not answer."""
        return await asyncio.to_thread(_fetch, f"http://{self.http_addr}/status")


class Cluster:
    """Three nodes with one key, on ports that are free. `agent`: stands between them and the
    validator; None: they dial it themselves."""

    def __init__(self, directory: Path, *, agent: bool = False) -> None:
        self._directory = directory / "homes"
        self.agent = Service(self._directory / AGENT, "agent", freezes=False) if agent else None
        self._raft_port = self._choose_ports()
        http_port = self._raft_port + NODES
        self.nodes = [
            Node(self._directory / f"node{n}", f"127.0.0.1:{http_port + n}", freezes=agent) for n in range(NODES)
        ]
        self._services: list[Service] = [*self.nodes, *([self.agent] if self.agent is not None else [])]

    def _choose_ports(self) -> int:
        """The first of the consecutive ports of all nodes. Raises: DemoFailure."""
        return _free_ports((3 if self.agent is not None else 2) * NODES)

    @contextlib.asynccontextmanager
    async def running(self, validator_addr: str) -> AsyncIterator[None]:
        """Made, started, and stopped at the end. Raises: DemoFailure if a node cannot be made or
        does not stop; not over a failure under way."""
        await self._make(validator_addr)
        try:
            for one in self._services:
                await one.start()
            yield
        finally:
            failing = sys.exc_info()[0] is not None
            wrong = [words for words in await asyncio.gather(*(one.stop() for one in self._services)) if words]
            if wrong and not failing:
                raise DemoFailure("\n".join(wrong))

    async def _make(self, validator_addr: str) -> None:
        ports = ("--starting-port", str(self._raft_port), "--http-port", str(self._raft_port + NODES))
        names = ("--dir", str(self._directory), "--chain-id", CHAIN_ID, "--validator-addr", validator_addr)
        agent = ("--agent", AGENT, "--agent-port", str(self._raft_port + 2 * NODES)) if self.agent is not None else ()
        process = await _cmkms("testnet", "--nodes", str(NODES), *names, *ports, *agent, output=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        if process.returncode != 0:
            raise DemoFailure(f"cmkms testnet failed:\n{said.decode(errors='replace')}")

    async def statuses(self) -> list[dict[str, Any]]:
        """Every node's, in order; {} of one that does not answer."""
        return list(await asyncio.gather(*(node.status() for node in self.nodes)))

    def ended(self) -> Service | None:
        """A node, or the agent, that ended though nobody killed it."""
        return next((one for one in self._services if one.exit_code is not None and not one.down_on_purpose), None)

    def log_tails(self) -> str:
        """Return the ends of all logs, for a failure of nobody in particular."""
        return "\n".join(f"--- {one.id}\n{one.log_tail()}" for one in self._services)


def leader_of(statuses: list[dict[str, Any]]) -> str | None:
    """Who says of itself that it leads."""
    return next((one["node"]["id"] for one in statuses if one.get("is_leader")), None)


def missing_of(statuses: list[dict[str, Any]], nodes: list[Node]) -> list[str]:
    """The nodes that do not sign, or that another does not see."""
    missing = {node.id for node, one in zip(nodes, statuses, strict=True) if not one.get("healthy")}
    for one in statuses:
        if one.get("healthy"):  # a node that comes back does not see the others yet
            missing |= {member["id"] for member in one.get("members", []) if not member.get("connected")}
    return sorted(missing)


def _fetch(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(url, timeout=STATUS_TIMEOUT_S) as response:  # noqa: S310 - our own http://127.0.0.1
            found = json.load(response)
    except (OSError, ValueError, http.client.HTTPException):  # it may be killed within its answer
        return {}
    return found if isinstance(found, dict) else {}


def _children(pid: int) -> list[int]:
    """Return the children of a process that does not run, or [] of one that is gone."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


async def _cmkms(*arguments: str, output: int, at_death: int = signal.SIGTERM) -> asyncio.subprocess.Process:
    """Ctrl-C at the terminal reaches this process alone, which then stops the nodes; its death
    stops them too."""
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
        preexec_fn=partial(_die_with_parent, os.getpid(), at_death),
    )


def _is_setting(variable: str) -> bool:
    """The operator's own COMETKMS_* settings must not reach the demo's nodes; which core to use
    may."""
    return variable.startswith("COMETKMS_") and variable != choose.PURE_VARIABLE


def _die_with_parent(parent: int, at_death: int) -> None:
    """Ask for that signal when the parent dies; it comes at once where the parent died during the
    fork."""
    prctl(PR_SET_PDEATHSIG, at_death)
    if os.getppid() != parent:
        os._exit(128 + at_death)


#: Below what Linux gives to outgoing connections, one of which would take a port before its node
#: does.
_PORTS_FROM: Final = 10_000
_PORTS_TO: Final = 20_000


def _free_ports(count: int) -> int:
    """The first of `count` consecutive ports that nobody has. Raises: DemoFailure."""
    for _ in range(PORT_TRIES):
        with contextlib.ExitStack() as held:
            first = random.randrange(_PORTS_FROM, _PORTS_TO - count)  # noqa: S311 - no secret
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return first
    raise DemoFailure(f"no {count} consecutive free ports were found on 127.0.0.1")
