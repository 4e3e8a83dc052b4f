"""`cmkms start` where a container engine would put it: process 1, a user without a name or a home,
nothing writable but the node's home.

Each way is tried that this machine allows; the first needs nothing of it.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.node import CHAIN, PATIENCE_S, PRECOMMIT, Validator, children_of, cmkms, free_port, free_tcp, until
from tests.e2e.realsystemd import mount_trees, program_text

NOBODY = 54321  # in no /etc/passwd
_ENTER = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /opt
{trees}
cp {program} /opt/cmkms
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir /var/lib/cometkms
mount --bind {home} /var/lib/cometkms
mount -t tmpfs -o size=64k tmpfs /dev/shm
mount -o remount,bind,ro /
exec setpriv --reuid={nobody} --regid={nobody} --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all \\
    env -i PATH=/usr/bin:/bin /opt/cmkms --home /var/lib/cometkms start
"""


@dataclass
class Contained:
    """A node.

    `process`: what was started; `pid`: of the supervisor; `health`: the image's health
    check, from outside.
    """

    process: subprocess.Popen[bytes]
    pid: int
    health: list[str]
    validator: Validator
    home: Path
    log: Path


def in_namespaces(home: Path, log: Path) -> tuple[subprocess.Popen[bytes], int, list[str]]:
    program = home.parent / "program"
    program.write_text(program_text())
    program.chmod(0o755)
    for path in [home, *home.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    text = _ENTER.format(
        trees=mount_trees("/opt"), program=shlex.quote(str(program)), home=shlex.quote(str(home)), nobody=NOBODY
    )
    command = ["unshare", "--pid", "--mount", "--ipc", "--uts", "--fork", "--kill-child", "bash", "-c", text]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    (pid,) = until("process 1", lambda: children_of(process.pid))
    enter = [
        "nsenter",
        f"--target={pid}",
        "--pid",
        "--mount",
        "--root",
        "--wd",
        f"--setuid={NOBODY}",
        f"--setgid={NOBODY}",
    ]
    return process, pid, [*enter, "env", "-i", "/opt/cmkms", "--home", "/var/lib/cometkms", "status"]


def bare(home: Path, log: Path) -> tuple[subprocess.Popen[bytes], int, list[str]]:
    command = [sys.executable, "-m", "cometkms", "--home", str(home)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "start"], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={}, start_new_session=True
        )
    return process, process.pid, [*command, "status"]


def _namespaces_work() -> bool:
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "setpriv"))):
        return False
    tried = ["unshare", "--pid", "--mount", "--ipc", "--uts", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/opt"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


WAYS = [bare, *([in_namespaces] if _namespaces_work() else [])]


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way.__name__)
def contained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contained]:
    directory = tmp_path_factory.mktemp("contained")
    home, log, address = directory / "home", directory / "log", free_tcp()
    init = ["init", "--home", str(home), "--new-key", "--chain-id", CHAIN, "--validator-addr", address]
    done = cmkms(*init, "--http-addr", f"127.0.0.1:{free_port()}")
    assert done.returncode == 0, done.stderr
    validator = Validator(address)
    process, pid, health = request.param(home, log)
    try:
        yield Contained(process, pid, health, validator, home, log)
    finally:
        validator.close()
        if process.poll() is None:
            process.kill()
        process.wait()


def healthy(contained: Contained) -> bool:
    assert contained.process.poll() is None, contained.log.read_text()
    return subprocess.run(contained.health, capture_output=True, check=False, timeout=PATIENCE_S).returncode == 0


def test_it_signs_and_its_health_check_says_so(contained: Contained) -> None:
    until("healthy", lambda: healthy(contained))
    contained.validator.connect()
    contained.validator.must_sign(PRECOMMIT, 1)
    if (
        contained.pid != contained.process.pid
    ):  # it is process 1: what others leave behind becomes its own, and is reaped
        before = set(children_of(contained.pid))
        command = [*contained.health[: contained.health.index("env")], "sh", "-c", "sleep 0.1 & sleep 0.2 &"]
        subprocess.run(command, check=True, timeout=PATIENCE_S)
        until("nobody is left", lambda: set(children_of(contained.pid)) == before)


def test_a_stop_of_the_container_is_a_planned_stop(contained: Contained) -> None:
    os.kill(contained.pid, signal.SIGTERM)
    assert contained.process.wait(timeout=PATIENCE_S) == 0
    assert "why=SIGTERM" in contained.log.read_text()
