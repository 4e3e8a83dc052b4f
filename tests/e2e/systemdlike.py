"""A service manager that treats a unit as systemd does, where there is no systemd: for tests, and
for the documents' commands.

    python -m tests.e2e.systemdlike --root DIR install               `systemctl`, `journalctl`, `sudo`, … into DIR/bin
    DIR/bin/systemctl start|stop|restart|reload|kill|status|is-active|show|reset-failed|enable|disable|daemon-reload [--now] [UNIT]
    DIR/bin/journalctl -u UNIT

It reads the real unit files, drop-ins and templates below DIR/etc/systemd/system, and plays what
CometKMS relies on: Type=notify with NOTIFY_SOCKET and NotifyAccess=main, WATCHDOG_USEC and SIGABRT
when it is silent, TimeoutStartSec/StopSec, ExecReload, Restart=on-failure (and always, which is the
same while nothing ends by itself) with RestartPreventExitStatus, RestartSteps and the start limit,
StateDirectory, Environment, EnvironmentFile, LoadCredential, KillMode=mixed, LimitCORE. Paths of
the unit are below DIR (%S is DIR/var/lib). Sandboxing is not played: tests/e2e/realsystemd.py is
for that, where it works.

Each started unit has a process of its own that watches it and answers on a socket; it ends when the
unit is inactive and nobody waits.
"""

import argparse
import contextlib
import json
import math
import os
import re
import resource
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

PROJECT: Final = Path(__file__).resolve().parents[2]
_UNITS: Final = "etc/systemd/system"
_CREDENTIALS: Final = struct.Struct("3i")
_PATIENCE_S: Final = 120.0
_LATER_S: Final = 0.001  # than a deadline, so that it has passed
_UNIT_WORDS: Final = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """systemd.time(7), as far as units here use it: "15min", "3min 20s", "5"."""
    found = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text)
    return sum(float(number) * _UNIT_WORDS[word or "s"] for number, word in found)


def parse_unit(text: str, into: dict[str, list[str]] | None = None) -> dict[str, list[str]]:
    """Directives of all sections by name, each with its values in order; an empty value clears what
    stood before.
    """
    found = {} if into is None else into
    lines = text.replace("\\\n", " ").splitlines()
    for line in (one.strip() for one in lines):
        if not line or line[0] in "#;[":
            continue
        key, _, value = line.partition("=")
        if value.strip():
            found.setdefault(key.strip(), []).append(value.strip())
        else:
            found[key.strip()] = []
    return found


class Unit:
    """A unit's directives, specifiers replaced."""

    def __init__(self, root: Path, name: str) -> None:
        self.name = name if "." in name else f"{name}.service"
        self.root = root
        self.instance = self.name.partition("@")[2].rpartition(".")[0]
        template = re.sub(r"@.*\.", "@.", self.name)
        directory = root / _UNITS
        path = next((directory / one for one in (self.name, template) if (directory / one).exists()), None)
        if path is None:
            raise SystemExit(f"Unit {self.name} could not be found.")
        self.values = parse_unit(path.read_text())
        for one in dict.fromkeys((template, self.name)):
            for drop_in in sorted((directory / f"{one}.d").glob("*.conf")):
                parse_unit(drop_in.read_text(), self.values)

    def get(self, key: str, default: str = "") -> str:
        return self._specify(self.values[key][-1]) if self.values.get(key) else default

    def all(self, key: str) -> list[str]:
        return [self._specify(value) for value in self.values.get(key, [])]

    def seconds(self, key: str, default: str) -> float:
        return seconds(self.get(key, default))

    def at_root(self, path: str) -> Path:
        """A path of the unit, below the root unless it is there already (%S)."""
        return Path(path) if path.startswith(str(self.root)) else self.root / path.lstrip("/")

    def _specify(self, text: str) -> str:
        known = {
            "i": self.instance,
            "n": self.name,
            "S": str(self.root / "var/lib"),
            "t": str(self.root / "run"),
            "%": "%",
        }
        return re.sub(r"%(.)", lambda found: known[found[1]], text)


class Watched:
    """One unit, watched: the state machine of systemd.service(5) as far as Type=notify goes."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.unit = root, Unit(root, name)
        self.state, self.sub, self.result, self.status = "inactive", "dead", "success", ""
        self.main: subprocess.Popen[bytes] | None = None
        self.ends: list[int] = []  # the descriptor that says that the main process ended
        self.restarts = 0
        self.exit_status = 0
        self.starts: list[float] = []
        self.deadline = 0.0  # of the present state; 0: none
        self.alive_at = 0.0
        run = root / "run" / self.unit.name
        run.mkdir(parents=True, exist_ok=True)
        self.journal = (root / "run" / f"{self.unit.name}.journal").open("ab", buffering=0)
        self.notify_path = run / "notify"
        self.notify_path.unlink(missing_ok=True)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self.notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.notify.bind(str(self.notify_path))

    def say(self, words: str) -> None:
        self.journal.write(f"systemd[1]: {self.unit.name}: {words}\n".encode())

    # --- what the operator asks ---

    def start(self) -> None:
        if self.state in ("active", "activating", "reloading"):
            return
        self.unit = Unit(self.root, self.unit.name)
        self.restarts = 0
        self._start()

    def _start(self) -> None:
        now = time.monotonic()
        interval = self.unit.seconds("StartLimitIntervalSec", "10s")
        self.starts = [one for one in self.starts if now - one < interval]
        if interval and len(self.starts) >= int(self.unit.get("StartLimitBurst", "5")):
            self.say("Start request repeated too quickly.")
            self._enter("failed", "failed", result="start-limit-hit")
            return
        self.starts.append(now)
        for name in self.unit.get("StateDirectory").split():
            made = self.root / "var/lib" / name
            made.mkdir(parents=True, exist_ok=True)
            made.chmod(int(self.unit.get("StateDirectoryMode", "0755"), 8))
        self._enter("activating", "start", within_s=self.unit.seconds("TimeoutStartSec", "90s"))
        self.status, self.result = "", "success"
        self.main = self._spawn()
        self.ends = [os.pidfd_open(self.main.pid)]
        self.alive_at = time.monotonic()

    def _spawn(self) -> subprocess.Popen[bytes]:
        words = shlex.split(self.unit.get("ExecStart"))
        words[0] = str(self.unit.at_root(words[0]))
        environment = {
            "PATH": os.environ["PATH"],
            "NOTIFY_SOCKET": str(self.notify_path),
            "INVOCATION_ID": os.urandom(16).hex(),
        }
        environment |= {key: value for key, value in os.environ.items() if key.startswith("PYTHON")}
        for pair in (pair for line in self.unit.all("Environment") for pair in shlex.split(line)):
            name, _, value = pair.partition("=")
            environment[name] = value
        for file in self.unit.all("EnvironmentFile"):
            path = self.unit.at_root(file.lstrip("-"))
            if path.exists() or not file.startswith("-"):
                environment |= {k: v[-1] for k, v in parse_unit(path.read_text()).items() if v}
        watchdog_s = self.unit.seconds("WatchdogSec", "0")
        if watchdog_s:
            environment["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
        environment |= self._load_credentials()
        umask = int(self.unit.get("UMask", "0022"), 8)
        core = self.unit.get("LimitCORE") == "0"

        def limit() -> None:
            os.umask(umask)
            if core:
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        with_pid = ["/bin/sh", "-c", 'WATCHDOG_PID=$$; export WATCHDOG_PID; exec "$@"', "sh", *words]
        return subprocess.Popen(
            with_pid,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=self.journal,
            stderr=self.journal,
            start_new_session=True,
            preexec_fn=limit,
        )

    def _load_credentials(self) -> dict[str, str]:
        # here nothing is encrypted
        loaded = self.unit.all("LoadCredential") + self.unit.all("LoadCredentialEncrypted")
        if not loaded:
            return {}
        directory = self.root / "run/credentials" / self.unit.name
        directory.mkdir(parents=True, exist_ok=True)
        for one in loaded:
            name, _, path = one.partition(":")
            (directory / name).write_bytes(self.unit.at_root(path).read_bytes())
            (directory / name).chmod(0o400)
        return {"CREDENTIALS_DIRECTORY": str(directory)}

    def stop(self) -> None:
        if self.main is None:
            self._enter("inactive", "dead")
            return
        self._enter("deactivating", "stop-sigterm", within_s=self.unit.seconds("TimeoutStopSec", "90s"))
        self._signal(signal.SIGTERM)  # KillMode=mixed: the main process alone

    def reload(self) -> None:
        if self.state != "active" or self.main is None:
            raise SystemExit(f"{self.unit.name} is not active, cannot reload.")
        self._enter("reloading", "reload", within_s=self.unit.seconds("TimeoutStartSec", "90s"))
        words = shlex.split(self.unit.get("ExecReload").replace("$MAINPID", str(self.main.pid)))
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=self.journal, stderr=self.journal, check=False)
        if done.returncode:
            self._enter("active", "running", result="exit-code")
        else:
            select.select(
                [self.notify], [], [], 1.0
            )  # Type=notify goes on at once; this waits, as Type=notify-reload does
            if "RELOADING" not in self._read_notify():
                self._enter("active", "running")

    # --- what happens ---

    def step(self, command: socket.socket) -> None:
        """Wait for what the unit or an operator says, for the main process's end or for the next
        deadline; then see to it.
        """
        with contextlib.suppress(InterruptedError):
            select.select([self.notify, command, *self.ends], [], [], self._patience_s(time.monotonic()))
        self._read_notify()
        if self.main is not None and self.main.poll() is not None:
            self._on_exit(self.main.returncode)
        now = time.monotonic()
        if self.deadline and now > self.deadline:
            self._on_time(now)
        if self._silent_at() < now:
            self.say(f"Watchdog timeout (limit {self.unit.get('WatchdogSec')})!")
            self._enter("deactivating", "stop-watchdog", within_s=1.0, result="watchdog")
            self._signal(signal.SIGABRT)

    def _silent_at(self) -> float:
        """When the main process has said nothing for too long."""
        watchdog_s = self.unit.seconds("WatchdogSec", "0")
        return self.alive_at + watchdog_s if watchdog_s and self.state in ("active", "reloading") else math.inf

    def _patience_s(self, now: float) -> float | None:
        """Until the next deadline; None: there is none."""
        next_at = min(self.deadline or math.inf, self._silent_at())
        return None if next_at == math.inf else max(next_at - now, 0.0) + _LATER_S

    def _read_notify(self) -> str:
        said = ""
        while True:
            try:
                data, ancillary, _, _ = self.notify.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
            except BlockingIOError:
                return said
            sender = _CREDENTIALS.unpack(ancillary[0][2])[0] if ancillary else 0
            if self.main is None or sender != self.main.pid:
                self.say(
                    f"Got notification message from PID {sender}, but reception only permitted for the main process"
                )
                continue
            text = data.decode()
            said += text
            self._on_notify(dict(line.partition("=")[::2] for line in text.splitlines()))

    def _on_notify(self, fields: dict[str, str]) -> None:
        self.alive_at = time.monotonic() if "WATCHDOG" in fields else self.alive_at
        self.status = fields.get("STATUS", self.status)
        if "RELOADING" in fields and self.state in ("active", "reloading"):
            self._enter("reloading", "reload", within_s=self.unit.seconds("TimeoutStartSec", "90s"))
        if "READY" in fields and self.state in ("activating", "reloading"):
            self._enter("active", "running")
            self.alive_at = time.monotonic()
        if "STOPPING" in fields and self.state in ("active", "reloading", "activating"):
            self._enter("deactivating", "stop-sigterm", within_s=self.unit.seconds("TimeoutStopSec", "90s"))

    def _on_time(self, now: float) -> None:
        if self.sub == "auto-restart":
            self.restarts += 1
            self._start()
            return
        if self.state == "activating":
            self.say("start operation timed out. Terminating.")
            self._enter(
                "deactivating", "stop-sigterm", within_s=self.unit.seconds("TimeoutStopSec", "90s"), result="timeout"
            )
            self._signal(signal.SIGTERM)
            return
        self.say("State 'stop-sigterm' timed out. Killing.")
        self._kill_all()
        self.deadline = now + 5.0

    def _on_exit(self, code: int) -> None:
        was = self.state
        self._kill_all()  # what is left of its session
        os.close(self.ends.pop())
        self.main, self.exit_status = None, code
        if self.result == "success" and (code or was == "activating"):
            self.result = "signal" if code < 0 else "exit-code" if code else "protocol"
        wanted = was == "deactivating" and self.result == "success"
        self.say(f"Main process exited, code={'killed' if code < 0 else 'exited'}, status={abs(code)}")
        prevented = str(code) in self.unit.get("RestartPreventExitStatus").split()
        if (
            self.result != "success"
            and not wanted
            and not prevented
            and self.unit.get("Restart") in ("on-failure", "always")
        ):
            self._enter("activating", "auto-restart", within_s=self._restart_delay_s(), result=self.result)
        elif self.result != "success":
            self.say(f"Failed with result '{self.result}'.")
            self._enter("failed", "failed", result=self.result)
        else:
            self._enter("inactive", "dead")

    def _restart_delay_s(self) -> float:
        """From RestartSec to RestartMaxDelaySec in RestartSteps, each longer by the same factor."""
        first, steps = self.unit.seconds("RestartSec", "100ms"), int(self.unit.get("RestartSteps", "0"))
        most = self.unit.seconds("RestartMaxDelaySec", "0")
        if not steps or most <= first:
            return first
        return min(most, first * (most / first) ** (self.restarts / steps))

    def _signal(self, number: int) -> None:
        if self.main is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.main.pid, number)
                if number not in (signal.SIGKILL, signal.SIGSTOP):
                    os.kill(self.main.pid, signal.SIGCONT)

    def _kill_all(self) -> None:
        if self.main is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.main.pid, signal.SIGKILL)

    def _enter(self, state: str, sub: str, within_s: float = 0.0, result: str | None = None) -> None:
        self.state, self.sub = state, sub
        self.deadline = time.monotonic() + within_s if within_s else 0.0
        if result is not None:
            self.result = result

    def show(self) -> dict[str, Any]:
        return {
            "Id": self.unit.name,
            "ActiveState": self.state,
            "SubState": self.sub,
            "Result": self.result,
            "MainPID": self.main.pid if self.main is not None else 0,
            "NRestarts": self.restarts,
            "StatusText": self.status,
            "ExecMainStatus": abs(self.exit_status),
        }


# --- one process for each started unit, and the commands that talk to it ---


def _socket_path(root: Path, name: str) -> Path:
    return root / "run" / f"{name}.sock"


def watch(root: Path, name: str) -> None:
    """Start the unit and serve commands until it is inactive and has been told so."""
    watched = Watched(root, name)
    path = _socket_path(root, watched.unit.name)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as server:
        server.bind(str(path))
        server.listen()
        server.setblocking(False)
        try:
            while True:
                watched.step(server)
                with contextlib.suppress(BlockingIOError):
                    connection, _ = server.accept()
                    with connection:
                        command = connection.makefile().readline().strip()
                        try:
                            _obey(watched, command)
                            connection.sendall(json.dumps(watched.show()).encode())
                        except SystemExit as error:
                            connection.sendall(json.dumps({"error": str(error)}).encode())
                    if command == "exit":
                        return
        finally:
            watched._kill_all()
            path.unlink(missing_ok=True)


def _obey(watched: Watched, command: str) -> None:
    if command.startswith("kill "):
        watched._signal(int(command.split()[1]))
    elif command == "reset-failed":
        watched.starts.clear()
    elif command in ("start", "stop", "reload"):
        getattr(watched, command)()


def add_unit(unit: Path, directory: Path) -> None:
    """Put it where it belongs; see Manager.add()."""
    if unit.suffix == ".conf":
        (directory / unit.parent.name).mkdir(exist_ok=True)
        shutil.copy(unit, directory / unit.parent.name)
    elif unit.is_dir():
        shutil.copytree(unit, directory / unit.name)
    else:
        shutil.copy(unit, directory)


class Manager:
    """What `systemctl` talks to, as an object. Every command waits as systemctl does."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / _UNITS).mkdir(parents=True, exist_ok=True)
        (root / "run").mkdir(exist_ok=True)
        (root / "var/lib").mkdir(parents=True, exist_ok=True)

    def add(self, unit: Path) -> None:
        """Install a unit file, a directory of drop-ins, or one drop-in out of such a directory."""
        add_unit(unit, self.root / _UNITS)

    def at_root(self, path: str) -> Path:
        """A path of the machine's."""
        return self.root / path.lstrip("/")

    def add_program(self, path: str, command: list[str], *, variables: str = "") -> None:
        """A program at an absolute path of the unit's: a script that runs `command`."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f'#!/bin/sh\n{variables}exec {shlex.join(command)} "$@"\n')
        target.chmod(0o755)

    def home(self, name: str) -> Path:
        return self.root / "var/lib" / name

    def systemctl(self, *words: str) -> dict[str, Any]:
        """Send a command of a unit's. Raises: SystemExit as systemctl fails."""
        command, name = " ".join(words[:-1]), Unit(self.root, words[-1]).name
        answer = self._ask(command, name)
        if answer is None:
            if command not in ("start", "restart"):
                return {
                    "Id": name,
                    "ActiveState": "inactive",
                    "SubState": "dead",
                    "MainPID": 0,
                    "NRestarts": 0,
                    "StatusText": "",
                }
            self._spawn_watcher(name)
            answer = self._ask("start", name)
        if "error" in (answer or {}):
            raise SystemExit(answer["error"])
        return answer or {}

    def show(self, name: str) -> dict[str, Any]:
        return self.systemctl("show", name)

    def start(self, name: str) -> dict[str, Any]:
        self.systemctl("start", name)
        return self._settled(name, "activating")

    def stop(self, name: str) -> dict[str, Any]:
        self.systemctl("stop", name)
        return self._settled(name, "deactivating")

    def reload(self, name: str) -> dict[str, Any]:
        self.systemctl("reload", name)
        return self._settled(name, "reloading")

    def kill(self, name: str, number: int) -> None:
        self.systemctl("kill", str(int(number)), name)

    def restart(self, name: str) -> dict[str, Any]:
        self.stop(name)
        return self.start(name)

    def journal(self, name: str) -> str:
        path = self.root / "run" / f"{Unit(self.root, name).name}.journal"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self) -> None:
        for path in (self.root / "run").glob("*.sock"):
            with contextlib.suppress(SystemExit, OSError):
                self._ask("exit", path.name.removesuffix(".sock"))

    def _settled(self, name: str, passing: str) -> dict[str, Any]:
        """As systemctl waits for its job. A unit that waits for its restart has failed that job."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            shown = self.show(name)
            if shown["ActiveState"] != passing or shown["SubState"] == "auto-restart":
                return shown
            time.sleep(0.02)
        raise SystemExit(f"{name} is still {passing}\n{self.journal(name)}")

    def _ask(self, command: str, name: str) -> dict[str, Any] | None:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(_PATIENCE_S)
                client.connect(str(_socket_path(self.root, name)))
                client.sendall(command.encode() + b"\n")
                data = client.makefile().read()
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        return json.loads(data) if data else {}

    def _spawn_watcher(self, name: str) -> None:
        log = (self.root / "run" / f"{name}.watcher").open("ab")
        subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.systemdlike", "--root", str(self.root), "watch", name],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        deadline = time.monotonic() + _PATIENCE_S
        while self._ask("show", name) is None:
            if time.monotonic() > deadline:
                raise SystemExit(f"no watcher for {name}: {Path(log.name).read_text()}")
            time.sleep(0.02)


#: `sudo [-u USER] COMMAND…`: absolute paths of the machine's are below the root.
_SUDO: Final = """[ "$1" = -u ] && shift 2
for word; do
    case $word in /etc/*|/opt/*|/var/lib/*|/usr/lib/*) word={root}$word;; esac
    words+=("$word")
done
exec "${{words[@]}}\""""


def _install(root: Path) -> None:
    """Programs of systemd's names for a shell."""
    Manager(root)
    programs = root / "bin"
    programs.mkdir(exist_ok=True)
    here = f'PYTHONPATH="{PROJECT}" exec {sys.executable} -m tests.e2e.systemdlike --root {shlex.quote(str(root))}'
    for name, line in (
        ("systemctl", f'{here} systemctl "$@"'),
        ("journalctl", f'{here} journalctl "$@"'),
        ("sudo", _SUDO.format(root=root)),
        ("systemd-sysusers", ":"),  # on this machine there is one user
        ("chown", ":"),
    ):
        (programs / name).write_text(f"#!/bin/bash\n{line}\n")
        (programs / name).chmod(0o755)
    print(programs)


def _systemctl(manager: Manager, words: list[str]) -> int:
    names = [word for word in words[1:] if not word.startswith("-")]
    now = "--now" in words
    command = words[0]
    if command == "daemon-reload":
        return 0
    for name in names:
        match command:
            case "enable":
                shown = manager.start(name) if now else manager.show(name)
            case "disable":
                shown = manager.stop(name) if now else manager.show(name)
            case "start" | "stop" | "restart" | "reload":
                shown = getattr(manager, command)(name)
            case "kill":
                number = next((w.partition("=")[2] for w in words if w.startswith("--signal=")), "SIGTERM")
                manager.kill(name, signal.Signals[number if number.startswith("SIG") else f"SIG{number}"])
                shown = manager.show(name)
            case "reset-failed":
                shown = manager.systemctl("reset-failed", name)
            case "show" | "is-active" | "status":
                shown = manager.show(name)
            case _:
                raise SystemExit(f"Unknown command verb {command}.")
        if command == "show":
            print("\n".join(f"{key}={value}" for key, value in shown.items()))
        elif command == "is-active":
            print(shown["ActiveState"])
        elif command == "status":
            print(f"● {shown['Id']}\n     Active: {shown['ActiveState']} ({shown['SubState']})")
            print(f'   Main PID: {shown["MainPID"]}\n     Status: "{shown["StatusText"]}"')
        if command in ("start", "restart", "enable") and shown["ActiveState"] in ("failed", "activating"):
            print(f'Job for {shown["Id"]} failed. See "journalctl -u {name}" for details.', file=sys.stderr)
            return 1
        if command in ("is-active", "status") and shown["ActiveState"] not in ("active", "reloading"):
            return 3
    return 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="systemdlike")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("command", choices=["install", "watch", "systemctl", "journalctl"])
    parser.add_argument("words", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    root = given.root.absolute()
    if given.command == "install":
        _install(root)
    elif given.command == "watch":
        watch(root, given.words[0])
    elif given.command == "systemctl":
        return _systemctl(Manager(root), given.words)
    else:
        print(Manager(root).journal(given.words[given.words.index("-u") + 1]), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
