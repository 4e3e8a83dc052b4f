"""The supervisor over real processes (dummies.py), and a service manager that listens.

Conditions are polled; no speed is asserted.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

PATIENCE_S = 120.0


HUNG_S = 4.0  # where a child is to be found hung; a busy machine lets a healthy one wait for less


T = TypeVar("T")
#: No waiting before a restart, and patience with what a busy machine is slow at.


QUICK = {"restart_min_s": 0.01, "restart_max_s": 0.04, "hung_after_s": 30.0, "stop_timeout_s": 20.0}


def until(what: str, condition: Callable[[], T]) -> T:
    """Poll until `condition` gives something true; return it."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if outcome := condition():
            return outcome
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {PATIENCE_S:g} s")


def exists(pid: int) -> bool:
    """Whether there is such a process, zombies included."""
    return Path(f"/proc/{pid}").exists()


class Dummies:
    """A running supervisor with its children, and what they logged."""

    def __init__(
        self,
        directory: Path,
        children: dict[str, str],
        timing: dict[str, float],
        manager: "Manager | None",
        **more: object,
    ) -> None:
        self._log_path, self._stderr_path = directory / "log", directory / "stderr"
        settings = {"children": children, "timing": timing, **more}
        variables = {} if manager is None else manager.variables
        with self._log_path.open("wb") as log, self._stderr_path.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.unit.supervisor.dummies", json.dumps(settings)],
                stdout=log,
                stderr=stderr,
                env={**os.environ, **variables},
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self, event: str | None = None, **fields: object) -> list[dict[str, Any]]:
        """The whole lines logged so far: those of this event with these fields."""
        lines = self._log_path.read_text().split("\n")[:-1]
        entries = [json.loads(line) for line in lines]
        return [
            entry
            for entry in entries
            if event in (None, entry["event"]) and all(entry.get(key) == value for key, value in fields.items())
        ]

    def stderr(self) -> str:
        return self._stderr_path.read_text()

    def await_log(self, event: str, count: int = 1, **fields: object) -> dict[str, Any]:
        """The count-th such line, when it is there."""

        def line() -> dict[str, Any] | None:
            lines = self.log(event, **fields)
            if len(lines) >= count:
                return lines[count - 1]
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode} before {event} {fields}: {self.stderr()}")
            return None

        return until(f"{event} {fields}", line)

    def await_running(self, *names: str) -> list[int]:
        """The children's pids, when they run."""
        return [self.await_log("child running", child=name)["pid"] for name in names]

    def children(self) -> set[int]:
        return {int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()}

    def look_around(self) -> None:
        """Let the supervisor go through its rounds: it answers a SIGHUP in each."""
        for _ in range(3):
            before = len(self.log("SIGHUP ignored"))
            os.kill(self.pid, signal.SIGHUP)
            self.await_log("SIGHUP ignored", before + 1)

    def wait(self) -> int:
        return self.process.wait(timeout=PATIENCE_S)

    def stop(self) -> int:
        self.process.terminate()
        return self.wait()


class Manager:
    """A service manager that listens."""

    def __init__(self, directory: Path, watchdog_s: float = 0.2) -> None:
        path = directory / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(str(path))
        self.variables = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(int(watchdog_s * 1e6))}
        self._heard: list[str] = []
        self.senders: set[int] = set()

    def heard(self) -> list[str]:
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(12))
            except BlockingIOError:
                return self._heard
            self.senders.add(int.from_bytes(ancillary[0][2][:4], sys.byteorder))
            self._heard.append(data.decode().split("\n")[0])

    def forget(self) -> None:
        self.heard()
        self._heard = []

    def changes(self) -> list[str]:
        return [one for one in self.heard() if not one.startswith(("STATUS", "WATCHDOG"))]

    def close(self) -> None:
        self._socket.close()


ALL = {"state": "works", "signer": "works", "api": "works"}
