"""A whole node (`cmkms start`) and real validators (tests/go), as processes that tests
kill and restart.
"""

import contextlib
import fcntl
import http.client
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from click.testing import CliRunner

from cometkms.cli.commands import cli
from tests.gotools import program

CHAIN = "test-1"
# for anything that must happen; no test measures time, and a wait costs nothing when it is short
PATIENCE_S = 120.0
# of a child's last_exit: one that got no core for seconds is replaced, by no fault of its own
HAS_NOT_FAILED = frozenset({None, "its loop hung"})
# from one look for it to the next: at first, and when it has not come for a while
_LOOK_S, _LOOK_MAX_S = 0.02, 0.3


#: Below what the kernel gives to outgoing connections, one of which may take a port between a look
#: and its use, and above those that the demo chooses by itself. A process takes a block after the
#: other, and nobody else on this machine has a block that it has: a node that is down finds its
#: port free when it comes back.
_PORTS_FROM, _PORTS_TO, _BLOCK = 20_000, 32_000, 100
_locks: list[int] = []
_left: list[int] = []


def _take_block() -> None:
    """The next ports to give; the lock on their file ends with this process."""
    directory = Path(tempfile.gettempdir()) / f"cometkms-test-ports-{os.getuid()}"
    directory.mkdir(exist_ok=True)
    for first in random.sample(range(_PORTS_FROM, _PORTS_TO, _BLOCK), (_PORTS_TO - _PORTS_FROM) // _BLOCK):
        lock = os.open(directory / str(first), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        _locks.append(lock)
        _left[:] = range(first, first + _BLOCK)
        return
    raise AssertionError(f"other tests on this machine have all ports from {_PORTS_FROM} to {_PORTS_TO}")


def free_port() -> int:
    """One that is free just now, and that nobody else here got."""
    return free_ports(1)


def free_ports(count: int) -> int:
    """The first of several."""
    while True:
        if len(_left) < count:
            _take_block()
        wanted = _left[:count]
        del _left[:count]
        try:
            for port in wanted:
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return wanted[0]


def free_tcp() -> str:
    return f"tcp://127.0.0.1:{free_port()}"


def until(what: str | Callable[[], str], condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """The first true value of `condition`; an assertion when patience ends.

    `what` may be found out only then.

    What has not come soon is looked for less often: looking takes its part of the cores that the
    nodes wait for.
    """
    began = time.monotonic()
    while (waited_s := time.monotonic() - began) < patience_s:
        value = condition()
        if value:
            return value
        time.sleep(min(_LOOK_S + waited_s / 8, _LOOK_MAX_S))
    raise AssertionError(f"not within {patience_s:g} s: {what if isinstance(what, str) else what()}")


def get(
    url: str, patience_s: float = PATIENCE_S, headers: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, bytes]:
    """Code and body.

    Raises: OSError when who answers is away, frozen, only starting, or gave the connection up
    before all of it was there.
    """
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=patience_s)
    try:
        connection.request("GET", f"/{path}", headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        raise OSError("it went away in the midst of its answer") from error
    finally:
        connection.close()


def fetch(url: str, headers: Mapping[str, str] = MappingProxyType({})) -> tuple[int, str]:
    """Code and text, once there is an answer: on a busy machine a node gives up a
    connection that was slow.
    """

    def answer() -> tuple[int, str] | None:
        try:
            code, body = get(url, headers=headers)
        except OSError:
            return None
        return code, body.decode()

    found: tuple[int, str] = until(f"an answer of {url}", answer)
    return found


def environment(**more: str) -> dict[str, str]:
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith("COMETKMS_") or k in ("COMETKMS_PURE", "COMETKMS_TRACE")
    }
    return {**kept, **more}


def cmkms(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "cometkms", *arguments]
    options: dict[str, Any] = {
        "capture_output": True,
        "text": True,
        "timeout": PATIENCE_S,
        "env": environment(),
        "check": False,
    }
    return subprocess.run(command, **{**options, **more})


def make_home(*arguments: str) -> None:
    """`cmkms init` or `cmkms testnet`, in this process: a start of Python less for each home.

    Their own tests run them as a user does.
    """
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, (done.output, done.exception)


class Node:
    """`cmkms start` on throw-away keys in `home`."""

    def __init__(
        self, home: Path, *addresses: str, chain: str = CHAIN, node_id: str = "node0", key_type: str = "ed25519"
    ) -> None:
        self.home, self.addresses, self.chain, self.id = home, addresses, chain, node_id
        self.http_port = free_port()
        self.log_path = home.parent / f"{home.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.program = [sys.executable, "-m", "cometkms"]
        self.before: tuple[str, ...] = ()  # a command that starts the node's
        validators = [part for address in addresses for part in ("--validator-addr", address)]
        named = ("--home", str(home), "--id", node_id, "--chain-id", chain)
        make_home("init", *named, "--new-key", "--type", key_type, *validators)

    @property
    def state_path(self) -> Path:
        return self.home / "priv" / "priv_validator_state.json"

    @property
    def key_path(self) -> Path:
        return self.home / "priv" / "priv_validator_key.json"

    @property
    def store_path(self) -> Path:
        return self.home / "data" / self.id / "promises"

    def start(self, *arguments: str, wait: bool = True, inherit: tuple[int, ...] = (), **variables: str) -> "Node":
        command = [*self.before, *self.program, "start", "--home", str(self.home)]
        command += ["--http-addr", f"127.0.0.1:{self.http_port}", *arguments]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(**variables),
                pass_fds=inherit,
            )
        if wait:
            until(lambda: f"the node is healthy\n{self.log()}", self.healthy)
        return self

    def healthy(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        with contextlib.suppress(OSError):
            return get(f"http://127.0.0.1:{self.http_port}/healthz") == (200, b"ok")
        return False

    def look(self, patience_s: float) -> dict[str, Any]:
        """GET /status.

        Raises: OSError, ValueError when the process that answers is away, frozen or only starting.
        """
        _, body = get(f"http://127.0.0.1:{self.http_port}/status", patience_s)
        return json.loads(body)

    def fetch(self, path: str, headers: Mapping[str, str] = MappingProxyType({})) -> tuple[int, str]:
        """Code and text of a page, once it answers."""
        return fetch(f"http://127.0.0.1:{self.http_port}{path}", headers)

    def status(self) -> dict[str, Any]:
        """Once it answers."""

        def answer() -> dict[str, Any] | None:
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            with contextlib.suppress(OSError, ValueError):
                return self.look(PATIENCE_S)
            return None

        return until(lambda: f"an answer\n{self.log()}", answer)

    def child(self, name: str) -> dict[str, Any]:
        return next(child for child in self.status()["children"] if child["name"] == name)

    def kill(self) -> None:
        """SIGKILL of the supervisor; its children die with it."""
        assert self.process is not None
        children = children_of(self.process.pid)
        self.process.kill()
        self.process.wait()
        until("the children die with their parent", lambda: not any(alive(pid) for pid in children))

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=PATIENCE_S)
        finally:
            self.process.kill()

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def closed_by_itself(self, address: str = "") -> list[str]:
        return closed_by_itself(self.log(), address)

    def file_state(self) -> dict[str, Any]:
        return json.loads(self.state_path.read_text())


def closed_by_itself(log: str, address: str = "") -> list[str]:
    """A node's or an agent's lines of connections to validators (to that one) that it ended; a
    validator may lose patience and close one, and an agent that no node has told the public key yet
    may end those that ask for it.
    """
    ended, connected = [], False
    lines = log.splitlines()
    for at, line in enumerate(lines):
        if address in line and "validator connected" in line:
            connected = True
        elif address in line and "validator not connected" in line and connected:
            connected = False
            keyless = "told the chain's public key yet" in line
            if not (keyless and any("public key known" in later for later in lines[at:])):
                ended.append(line)
    assert ended or connected, f"there was no connection to {address or 'any validator'}\n{log}"
    return [line for line in ended if "closed by the validator" not in line and "reset by peer" not in line]


def alive(pid: int) -> bool:
    """Running: neither gone nor a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Validator:
    """A real validator's privval client (tests/go), driven line by line."""

    def __init__(
        self, address: str, version: str = "v038", chain: str = CHAIN, more: Sequence[str] = (), node_key: str = ""
    ) -> None:
        """`more`: further addresses and chains, in turn, of validators in the same process (for
        "load"). `node_key`: the file of who it is over noise://, v040 only.
        """
        self.address, self.chain = address, chain
        self.process = subprocess.Popen(
            [program(f"validator-{version}"), address, chain, *more],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "NODE_KEY": node_key},
        )
        assert self._line() == {"listening": True}

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        line = self.process.stdout.readline() if ready else b""
        assert line, f"the validator at {self.address} gave no answer"
        return json.loads(line)

    def send(self, **request: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        return self._line()

    def ask(self, **request: Any) -> dict[str, Any]:
        self.send(**request)
        return self._line()

    def connect(self) -> str:
        """Ask for the public key until a signer answers, as a validator does at its start."""
        return until(f"a signer serves {self.address}", lambda: self.ask(cmd="pub_key").get("pub_key"))

    def sign(self, kind: int, height: int, round_: int = 0, block: str = "aa", **more: Any) -> dict[str, Any]:
        """Ask until there is a signature or a final refusal (RetrySignerClient)."""
        request = ballot(kind, height, round_, block, **more)

        def settled() -> dict[str, Any] | None:
            answer = self.ask(**request)
            return None if answer.get("error") and not answer.get("remote") else answer

        return until(f"an answer for {request}", settled)

    def must_sign(self, kind: int, height: int, round_: int = 0, block: str = "aa", **more: Any) -> dict[str, Any]:
        answer = self.sign(kind, height, round_, block, **more)
        assert answer.get("verified"), answer
        return answer

    def must_refuse(self, kind: int, height: int, round_: int = 0, block: str = "aa", **more: Any) -> str:
        answer = self.sign(kind, height, round_, block, **more)
        assert answer.get("remote") and not answer.get("signature"), answer
        return answer["error"]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


PREVOTE, PRECOMMIT, PROPOSAL = 1, 2, 32


def ballot(kind: int, height: int, round_: int = 0, block: str = "aa", second: int = 0, **more: Any) -> dict[str, Any]:
    """A sign request; block "" is nil."""
    return {
        "cmd": "sign",
        "type": kind,
        "height": height,
        "round": round_,
        "pol_round": -1,
        "hash": block * 32,
        "total": 1 if block else 0,
        "parts": "bb" * 32 if block else "",
        "seconds": 1_700_000_000 + second,
        "nanos": 5,
        "address": "cc" * 20,
        **more,
    }
