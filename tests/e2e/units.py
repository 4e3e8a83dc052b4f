"""A machine on which the package's units run: a real systemd in namespaces where one works here, or
one that is played.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.e2e import realsystemd, systemdlike
from tests.e2e.node import cmkms

UNITS: Final = systemdlike.PROJECT / "packaging" / "systemd"
PROGRAM: Final = "/opt/cometkms/current/bin/cmkms"
TO_FILE: Final = "StandardOutput=append:/run/cmkms.log\nStandardError=append:/run/cmkms.log\n"
Managed = systemdlike.Manager | realsystemd.RealManager


def machine_for(account: str, directory: Path, *, real: bool) -> tuple[Managed, Path, Callable[..., str]]:
    """The service manager, the account's home below /var/lib, and cmkms as that account
    with that home.
    """
    if real:
        return _real(account)
    manager = systemdlike.Manager(directory)
    manager.add_program(PROGRAM, [sys.executable, "-m", "cometkms"])
    home = manager.home(account)

    def run(*arguments: str) -> str:
        done = cmkms(*arguments, "--home", str(home))
        assert done.returncode == 0, done.stderr
        return done.stdout

    return manager, home, run


def _real(account: str) -> tuple[Managed, Path, Callable[..., str]]:
    manager = realsystemd.RealManager()
    manager.add_user(UNITS / "sysusers.conf")
    manager.add_program(PROGRAM)
    home = f"/var/lib/{account}"
    manager.inside("install", "-d", "-o", account, "-g", account, "-m", "700", home)
    as_user = ("setpriv", f"--reuid={account}", f"--regid={account}", "--clear-groups", PROGRAM)
    return manager, manager.home(account), lambda *words: manager.inside(*as_user, *words, "--home", home)
