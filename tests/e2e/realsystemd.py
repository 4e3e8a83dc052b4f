"""A real systemd as PID 1 of namespaces of its own, with the interface of systemdlike.Manager.

Needs root and a systemd to run.

What is the machine's stays as it is: every file system is read-only there or a fresh one in memory
(/dev, /etc, /opt, /run, /tmp, /var), and of the distribution's units, generators and tmpfiles none
is there to be started. It shares the network, for the tests' validators. The interpreter and this
tree are mounted below /opt, so that the unit's user reaches them wherever they are.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path
from typing import Any, Final

from tests.e2e.systemdlike import PROJECT, add_unit

SYSTEMD: Final = Path("/lib/systemd/systemd")
_WORKS: Final = "CMKMS_TEST_SYSTEMD"
_PATIENCE_S: Final = 120.0
#: The units that ours, and systemd's own defaults, refer to. Nothing of the distribution's is
#: started beside them.
_TARGETS: Final = ("cometkms-test", "sysinit", "basic", "shutdown", "multi-user", "network-online", "time-sync")
_BOOT: Final = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /mnt
cd /mnt
mkdir etc opt run tmp var dev python
cp -a /etc/passwd /etc/group /etc/shadow /etc/gshadow /etc/nsswitch.conf /etc/hosts /etc/ld.so.cache etc/
echo 0123456789abcdef0123456789abcdef > etc/machine-id
mkdir -p run/systemd/system var/lib/private var/tmp var/log opt/cometkms/current/bin dev/shm dev/pts
ln -s /run var/run
chmod 1777 tmp var/tmp dev/shm
for one in null zero full random urandom tty ptmx; do touch dev/$one; mount --bind /dev/$one dev/$one; done
touch dev/console; mount --bind {console} dev/console
{trees}
for one in {targets}; do
    printf '[Unit]\nDescription=%s\nDefaultDependencies=no\nAllowIsolate=yes\n' $one > run/systemd/system/$one.target
done
mount -o remount,bind,ro /
for one in etc opt run tmp var dev; do mount --rbind /mnt/$one /$one; done
mount -t tmpfs -o ro tmpfs /usr/lib/systemd/system
mount -t tmpfs -o ro tmpfs /usr/lib/systemd/system-generators
mount -t tmpfs -o ro tmpfs /usr/lib/tmpfiles.d
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -o remount,bind,ro /sys
mount --make-rshared /
cd /
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=cometkms-test SYSTEMD_UNIT_PATH=/run/systemd/system {systemd} --system \
    --unit=cometkms-test.target --log-target=console --log-level=info --show-status=no
"""


def mount_trees(below: str) -> str:
    """Shell text: the interpreter, its packages and this tree, read-only below a directory that
    becomes /opt.
    """
    trees = {"python": sys.base_prefix, "packages": sysconfig.get_path("purelib"), "source": str(PROJECT)}
    return "\n".join(
        f"mkdir -p {below}/{name}; mount --rbind {shlex.quote(tree)} {below}/{name}; mount -o remount,bind,ro {below}/{name}"
        for name, tree in trees.items()
    )


def program_text() -> str:
    """A script that is `cmkms`, of what mount_trees() mounted."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        "#!/bin/sh\nexport LD_LIBRARY_PATH=/opt/python/lib PYTHONHOME=/opt/python PYTHONPATH=/opt/source:/opt/packages "
        f'PYTHONDONTWRITEBYTECODE=1\nexec /opt/python/bin/python{version} -m cometkms "$@"\n'
    )


class RealManager:
    """See systemdlike.Manager."""

    def __init__(self) -> None:
        """Boot it. Raises: AssertionError with what it said when it does not come up."""
        self._group = Path(f"/sys/fs/cgroup/unified/cometkms-test-{os.getpid()}")
        if not self._group.parent.is_dir():
            self._group = Path(f"/sys/fs/cgroup/cometkms-test-{os.getpid()}")
        self._group.mkdir()
        self._master, slave = os.openpty()
        self._said = b""
        self._reader = threading.Thread(target=self._read_console, daemon=True)
        self._reader.start()
        script = _BOOT.format(
            console=os.ttyname(slave),
            trees=mount_trees("opt"),
            targets=" ".join(_TARGETS),
            systemd=SYSTEMD,
        )
        unshare = "unshare --pid --mount --fork --kill-child --cgroup --uts --ipc bash -c"
        join = f"echo $BASHPID > {self._group}/cgroup.procs; exec {unshare} {shlex.quote(script)}"
        self._outer = subprocess.Popen(["bash", "-c", join], stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
        os.close(slave)
        try:
            self._pid = self._first_child()
            self._await_boot()
        except BaseException:
            self.close()
            raise

    def _read_console(self) -> None:
        with contextlib.suppress(OSError):  # the other end is closed: it is over
            while data := os.read(self._master, 4096):
                self._said += data

    def said(self) -> str:
        """What systemd said so far."""
        return self._said.decode(errors="replace")

    def _first_child(self) -> int:
        deadline = time.monotonic() + _PATIENCE_S
        path = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        while time.monotonic() < deadline and self._outer.poll() is None:
            if found := path.read_text().split():
                return int(found[0])
            time.sleep(0.02)
        raise AssertionError(f"unshare did not work: {self.said()}")

    def _await_boot(self) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and self._outer.poll() is None:
            if self._run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"):
                return
            time.sleep(0.05)
        raise AssertionError(f"systemd does not come up: {self.said()}")

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        inside = ["nsenter", "-t", str(self._pid), "--all", "--", *command]
        return subprocess.run(inside, capture_output=True, text=True, check=False, timeout=_PATIENCE_S)

    def inside(self, *command: str) -> str:
        """Run a command there. Raises: AssertionError when it fails."""
        done = self._run(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}\n{self.said()[-4000:]}"
        return done.stdout

    def path(self, inside: str) -> Path:
        """A file there, seen from here."""
        return Path(f"/proc/{self._pid}/root{inside}")

    def add(self, unit: Path) -> None:
        add_unit(unit, self.path("/run/systemd/system"))
        self.inside("systemctl", "daemon-reload")

    def add_user(self, sysusers: Path) -> None:
        """What systemd-sysusers makes of that file."""
        self.path("/run/sysusers.d").mkdir()
        shutil.copy(sysusers, self.path("/run/sysusers.d/cometkms.conf"))
        self.inside("systemd-sysusers", "/run/sysusers.d/cometkms.conf")

    def add_program(self, path: str) -> None:
        """`cmkms` at that path, of this tree."""
        target = self.path(path)
        target.write_text(program_text())
        target.chmod(0o755)

    def home(self, name: str) -> Path:
        return self.path(f"/var/lib/{name}")

    def show(self, name: str) -> dict[str, Any]:
        wanted = ("ActiveState", "SubState", "Result", "MainPID", "NRestarts", "StatusText", "ExecMainStatus")
        lines = self.inside("systemctl", "show", name, f"--property={','.join(wanted)}").splitlines()
        shown: dict[str, Any] = dict(line.partition("=")[::2] for line in lines)
        return {**shown, "MainPID": int(shown["MainPID"]), "NRestarts": int(shown["NRestarts"])}

    def _command(self, command: str, name: str) -> dict[str, Any]:
        self._run("systemctl", command, name)
        return self.show(name)

    def start(self, name: str) -> dict[str, Any]:
        return self._command("start", name)

    def stop(self, name: str) -> dict[str, Any]:
        return self._command("stop", name)

    def reload(self, name: str) -> dict[str, Any]:
        return self._command("reload", name)

    def kill(self, name: str, number: int) -> None:
        self.inside("systemctl", "kill", "--kill-whom=main", f"--signal={signal.Signals(number).name}", name)

    def journal(self, name: str) -> str:
        """There is no journald: systemd's own words, and what the unit wrote to its file."""
        unit_log = self.path("/run/cmkms.log")
        said = unit_log.read_text(errors="replace") if unit_log.exists() else ""
        return self.said() + said

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._outer.poll() is None:
                os.kill(getattr(self, "_pid", self._outer.pid), signal.SIGKILL)
                self._outer.kill()
        self._outer.wait()
        self._reader.join(timeout=10)
        os.close(self._master)
        deadline = time.monotonic() + _PATIENCE_S
        while self._group.is_dir() and time.monotonic() < deadline:
            for one in sorted(self._group.rglob("*"), key=lambda path: -len(path.parts)):
                if one.is_dir():
                    with contextlib.suppress(OSError):
                        one.rmdir()
            with contextlib.suppress(OSError):
                self._group.rmdir()
            time.sleep(0.02)


def works_here() -> bool:
    """Whether a systemd can be run here at all. Found out once: every worker must come to the same."""
    known = os.environ.get(_WORKS)
    if known is None:
        known = os.environ[_WORKS] = "yes" if _boots() else "no"
    return known == "yes"


def _boots() -> bool:
    if os.geteuid() != 0 or not SYSTEMD.exists() or shutil.which("unshare") is None:
        return False
    try:
        RealManager().close()
    except (AssertionError, OSError, subprocess.SubprocessError):
        return False
    return True
