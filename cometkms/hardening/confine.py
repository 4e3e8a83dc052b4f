"""What the measures have in common for every process: apply one, try it, and say what became of
it."""

import contextlib
import ctypes
import errno
import importlib
import ipaddress
import os
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from cometkms.errors import HardeningError, said
from cometkms.hardening import kernel, landlock, seccomp
from cometkms.hardening.account import ProcStatus
from cometkms.hardening.landlock import Beneath, Files
from cometkms.hardening.measures import Measure, State, UnavailableError, not_effective

#: What glibc reads to find a host's address.
NAME_FILES: Final = (
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/services",
    "/etc/protocols",
)
DNS_PORT: Final = 53  # over TCP: answers that are too long for UDP
#: An audit event (sys.addaudithook), with the process's name: from here on it is shut off.
SHUT_EVENT: Final = "cometkms.shut"
#: Imported by asyncio, uvloop or codecs when they first need them.
LATE_MODULES: Final = ("encodings.idna", "stringprep", "unicodedata", "asyncio.timeouts", "traceback", "linecache")
_DEVICES: Final = (Path("/dev/null"), Path("/dev/urandom"), Path("/dev/random"))
_LIBRARIES: Final = (Path("/usr"), Path("/lib"), Path("/lib64"))
#: Loaded by the C library when they are first needed.
_LATE_LIBRARIES: Final = ("libgcc_s.so.1", "libnss_files.so.2", "libnss_dns.so.2")
#: One that everybody may list, to see that nobody may any more.
_LISTED: Final = (Path("/"), Path("/proc"), Path("/dev"))


class Told:
    """The measures of one process, in their order."""

    def __init__(self, process: str) -> None:
        self.process = process
        self.measures: list[Measure] = []

    def add(self, measure: str, state: State, why: str) -> None:
        """It became this."""
        self.measures.append(Measure(self.process, measure, state, why))

    def attempt(self, measure: str, apply: Callable[[], str]) -> bool:
        """`apply` does it, tries it and returns what holds now. True if it holds.

        Raises: HardeningError when the kernel has it and it fails or does not hold.
        """
        try:
            self.add(measure, State.ON, apply())
        except UnavailableError as error:
            self.add(measure, State.UNAVAILABLE, str(error))
            return False
        except OSError as error:
            raise not_effective(measure, said(error)) from error
        return True


def check_no_dump(told: Told, status: ProcStatus) -> None:
    """Set at the process's very beginning (hardening/prctl.py): read back. Raises:
    HardeningError."""
    dumpable = kernel.prctl(kernel.PR_GET_DUMPABLE)
    if dumpable != 0:
        raise not_effective("no_dump", f"PR_GET_DUMPABLE is {dumpable}")
    told.add("no_dump", State.ON, "no core dump, no debugger but root's")
    no_new = status.read().get("NoNewPrivs", "unknown")
    if no_new != "1":
        raise not_effective("no_new_privs", f"NoNewPrivs is {no_new}")
    told.add("no_new_privs", State.ON, "nothing it starts gains privileges")


def code_directories(protected: Iterable[Path]) -> tuple[Beneath, ...]:
    """Python, its libraries and this package, for reading: what is imported late is found. None
    that holds a protected path."""
    paths = {Path(one) for one in sys.path if Path(one).is_absolute()}
    paths |= {Path(__file__).parents[1], *_LIBRARIES}
    safe = [path for path in sorted(paths) if not _holds(path, protected)]
    return tuple(Beneath(path, Files.READ_FILE | Files.READ_DIR | Files.EXECUTE) for path in safe) + tuple(
        Beneath(path, Files.READ_FILE) for path in _DEVICES
    )


def is_address(host: str) -> bool:
    """Whether it is an IPv4 or IPv6 address, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def name_files() -> tuple[Beneath, ...]:
    """Return the files that finding a host's address takes: those very files of /etc, which has
    others' secrets too; where a link leads elsewhere, say to systemd-resolved's own directory, what
    lies in that, because there a new file takes the name of the old one."""
    found = []
    for name in NAME_FILES:
        path = Path(os.path.realpath(name))
        own = path.parent != Path(name).parent and path.parent.parent != Path("/") and _is_public(path.parent)
        found.append(Beneath(path.parent if own else path, Files.READ_FILE))
    return tuple(dict.fromkeys(found))


def _is_public(directory: Path) -> bool:
    """Whether all that lies in it is for everybody to read."""
    try:
        return all(one.lstat().st_mode & 0o004 for one in directory.iterdir())
    except OSError:
        return False


class NameWatch:
    """Whether the resolver's files are still those that this process may read: who replaces one
    makes another file of it."""

    def __init__(self) -> None:
        """Begin to watch, before the process is shut off."""
        self._allowed = {rule.path for rule in name_files()}
        self._known = {name: self._file(name) for name in NAME_FILES}

    def changed(self) -> str:
        """The first one that another file took the name of, out of reach; "": none. Costs a look at
        each, and opens nothing."""
        return next((name for name in NAME_FILES if self._file(name) not in (None, self._known[name])), "")

    def _file(self, name: str) -> tuple[str, int, int] | None:
        """None: not there, or where a new file is within reach, too."""
        path = os.path.realpath(name)
        try:
            found = Path(path).stat()
        except OSError:
            return None
        return None if Path(path).parent in self._allowed else (path, found.st_dev, found.st_ino)


def preload(modules: Iterable[str], *, names: bool) -> None:
    """What would be imported or loaded later, when it cannot be. `names`: with what hosts'
    addresses are found with. What was loaded before the fork costs nothing again."""
    for module in modules:
        if module not in sys.modules:
            importlib.import_module(module)
    _load_late_libraries()
    if names:
        with contextlib.suppress(OSError):
            socket.getaddrinfo("localhost", None)


@cache
def _load_late_libraries() -> None:
    """Once, in the process that forks the others."""
    for library in _LATE_LIBRARIES:
        with contextlib.suppress(OSError):  # this C library has none
            ctypes.CDLL(library)


def _holds(directory: Path, protected: Iterable[Path]) -> bool:
    real = Path(os.path.realpath(directory))
    return any(Path(os.path.realpath(path)).is_relative_to(real) for path in protected)


def _listed_now() -> Path | None:
    """A directory that this process may list now."""
    for path in _LISTED:
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            return path
    return None


def _check_shut(path: Path) -> None:
    """Opening it must fail, and because it is forbidden. Raises: HardeningError."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except PermissionError:
        return
    except OSError as error:
        raise not_effective("filesystem", f"opening {path}: {said(error)}") from error
    raise not_effective("filesystem", f"{path} can be opened")


def check_refused(family: int, measure: str) -> None:
    """A socket of that family must be refused. Raises: HardeningError."""
    try:
        socket.socket(family, socket.SOCK_STREAM).close()
    except PermissionError:
        return
    except OSError as error:
        raise not_effective(measure, f"a socket of family {family}: {said(error)}") from error
    raise not_effective(measure, f"a socket of family {family} can be made")


def _check_ports_shut(allowed: frozenset[int]) -> None:
    """Connecting elsewhere and listening must be forbidden; nothing leaves this machine. Raises:
    HardeningError."""
    port = next(one for one in range(1, 65536) if one not in allowed)
    for what in ("connect", "bind"):
        try:
            probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        except OSError:  # a kernel without IPv4: nothing to try it with
            return
        with probe:
            probe.setblocking(False)
            try:
                probe.connect(("127.0.0.1", port)) if what == "connect" else probe.bind(("127.0.0.1", 0))
            except OSError as error:
                if error.errno == errno.EACCES:
                    continue
                raise not_effective("tcp_ports", f"{what}: {said(error)}") from error
            raise not_effective("tcp_ports", f"{what} is possible")


@dataclass(frozen=True, slots=True)
class Outside:
    """What a process keeps of what is outside of it. words: `rules`, for people. shut: files that
    must not open afterwards."""

    rules: tuple[Beneath, ...]
    words: str
    connect: frozenset[int]
    bind: frozenset[int]
    shut: tuple[Path, ...]
    parent: int


def shut_outside(told: Told, outside: Outside) -> None:
    """Landlock over files, TCP ports and signals, each tried. Raises: HardeningError."""
    try:
        version = landlock.abi()
    except UnavailableError as error:
        for measure in ("filesystem", "tcp_ports", "scope"):
            told.add(measure, State.UNAVAILABLE, str(error))
        return
    one_thread()
    seen = _listed_now()
    try:
        ruleset = landlock.Ruleset(outside.rules, outside.connect, outside.bind, scoped=True)
        landlock.restrict(ruleset, version)
    except OSError as error:
        raise not_effective("filesystem", said(error)) from error
    for path in (*outside.shut, *((seen,) if seen is not None else ())):
        _check_shut(path)
    told.add("filesystem", State.ON, outside.words)
    if landlock.has_ports(version):
        _check_ports_shut(outside.connect)
        words = f"connects to {_ports(outside.connect)}, listens on {_ports(outside.bind)}"
        told.add("tcp_ports", State.ON, words)
    else:
        told.add("tcp_ports", State.UNAVAILABLE, f"Landlock ABI {version} has no ports (4, Linux 6.7)")
    if landlock.has_scopes(version):
        _check_signals_shut(outside.parent)
        told.add("scope", State.ON, "no signals to other processes, none of their abstract sockets")
    else:
        told.add("scope", State.UNAVAILABLE, f"Landlock ABI {version} has no scopes (6, Linux 6.12)")


def _check_signals_shut(parent: int) -> None:
    try:
        os.kill(parent, 0)
    except PermissionError:
        return
    raise not_effective("scope", f"process {parent} can be signalled")


def _ports(ports: frozenset[int]) -> str:
    return ", ".join(str(one) for one in sorted(ports)) if ports else "none"


def one_thread() -> None:
    """Landlock holds for the thread that asks, and those it starts. Raises: HardeningError."""
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    if threads != 1:
        raise HardeningError(f"{threads} threads run before the process is shut off", cure="report it")


def filter_calls(told: Told, status: ProcStatus, needs: seccomp.Needs) -> None:
    """The filter of system calls, read back, and a socket of each family tried that must fail.
    Raises: HardeningError."""
    inet = (socket.AF_INET, socket.AF_INET6)
    refused = [socket.AF_PACKET, socket.AF_NETLINK]
    refused += [] if needs.unix else [socket.AF_UNIX]
    refused += [] if needs.tcp else inet
    families = (["AF_INET", "AF_INET6"] if needs.tcp else []) + (["AF_UNIX"] if needs.unix else [])

    def apply() -> str:
        size = seccomp.install(needs)
        seen = status.read().get("Seccomp", "unknown")
        if seen != "2":
            raise not_effective("system_calls", f"Seccomp is {seen}")
        return f"a filter of {size} instructions: nothing is executed, forked, traced, mounted or made executable"

    if not told.attempt("system_calls", apply):
        told.add("network_families", State.UNAVAILABLE, "no filter of system calls")
        return
    for family in refused:
        check_refused(family, "network_families")
    told.add("network_families", State.ON, ", ".join(families) or "none: it makes no socket")
