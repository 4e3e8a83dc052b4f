"""The filter, instruction by instruction against tables for both machines, and then in the kernel."""

import ctypes
import errno
import fcntl
import os
import platform
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cometkms.hardening import kernel, seccomp
from cometkms.hardening.measures import UnavailableError
from cometkms.hardening.prctl import make_undumpable
from cometkms.hardening.seccomp import ALLOW, DENY, KILL_PROCESS, REFUSE, UNKNOWN, Instruction, Needs, program
from cometkms.hardening.syscalls import (
    CALM,
    DEADLY,
    FILES,
    GUARDED,
    HOT,
    MACHINES,
    REFUSED,
    SCHEDULING,
    Machine,
    numbers,
)
from tests.unit.hardening.child import in_child, opened, outcome

PID = 4711
ALL = Needs(tcp=True, unix=True, names=True, pid=PID)
TCP = Needs(tcp=True, unix=False, names=False, pid=PID)
UNIX = Needs(tcp=False, unix=True, names=False, pid=PID)
EACH_MACHINE = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)


def run(code: Sequence[Instruction], arch: int, number: int, arguments: Sequence[int] = ()) -> int:
    """What a classic BPF machine returns: linux/filter.h, the part that seccomp allows."""
    words = [*(one & (1 << 64) - 1 for one in arguments), *(0 for _ in range(6 - len(arguments)))]
    data = struct.pack("<iIQ6Q", number, arch, 0xDEAD_BEEF, *words)
    at = accumulator = 0
    while True:
        one = code[at]
        at += 1
        if one.code == 0x20:  # ld
            assert one.constant % 4 == 0
            accumulator = struct.unpack_from("<I", data, one.constant)[0]
        elif one.code == 0x54:  # and
            accumulator &= one.constant
        elif one.code in (0x15, 0x35):  # jeq, jge
            true = accumulator == one.constant if one.code == 0x15 else accumulator >= one.constant
            at += one.true if true else one.false
        elif one.code == 0x06:  # ret
            return one.constant
        else:
            raise AssertionError(f"instruction {one} is none that a filter needs")


def judge(needs: Needs, machine: Machine, name: str, *arguments: int) -> int:
    table = {**HOT, **CALM, **GUARDED, **DEADLY, **REFUSED}
    number = table[name][machine.column]
    assert number is not None, name
    return run(program(machine, needs), machine.audit_arch, number, arguments)


@EACH_MACHINE
@pytest.mark.parametrize("needs", [ALL, TCP, UNIX], ids=["all", "tcp", "unix"])
def test_every_named_call_has_the_fate_of_its_table(machine: Machine, needs: Needs) -> None:
    code = program(machine, needs)
    for table, fate in ((HOT, ALLOW), (CALM, ALLOW), (DEADLY, KILL_PROCESS), (REFUSED, DENY), (SCHEDULING, DENY)):
        for name, number in numbers(table, machine).items():
            assert run(code, machine.audit_arch, number, [0xFFFF_FFFF_FFFF_FFFF] * 6) == fate, name


@EACH_MACHINE
def test_a_call_that_is_not_named_is_refused_and_a_newer_one_does_not_exist(machine: Machine) -> None:
    code = program(machine, ALL)
    tables = (HOT, CALM, FILES, GUARDED, DEADLY, REFUSED, SCHEDULING)
    named = {number for table in tables for number in numbers(table, machine).values()}
    for number in range(1000):
        if number not in named:
            assert run(code, machine.audit_arch, number) == (UNKNOWN if number >= 424 else DENY), number


@EACH_MACHINE
def test_clone3_and_io_uring_do_not_exist_so_that_libraries_do_without(machine: Machine) -> None:
    for number in (425, 426, 427, 435):
        assert run(program(machine, ALL), machine.audit_arch, number) == UNKNOWN


def test_another_machines_calls_kill() -> None:
    """On x86_64 a process may make 32-bit calls, whose numbers mean something else; and x32's, with
    a bit of their own.
    """
    x86, arm = MACHINES["x86_64"], MACHINES["aarch64"]
    for arch in (0x4000_0003, arm.audit_arch, 0):
        assert run(program(x86, ALL), arch, 0) == KILL_PROCESS
    assert run(program(x86, ALL), x86.audit_arch, 0x4000_0000) == KILL_PROCESS
    assert run(program(arm, ALL), x86.audit_arch, 63) == KILL_PROCESS
    assert run(program(arm, ALL), arm.audit_arch, 0x4000_0000) == UNKNOWN


INET, INET6, LOCAL, NETLINK, PACKET, VSOCK = 2, 10, 1, 16, 17, 40
STREAM, DATAGRAM, RAW, SEQPACKET = 1, 2, 3, 5
FLAGS = 0o2004000  # SOCK_CLOEXEC | SOCK_NONBLOCK


@EACH_MACHINE
@pytest.mark.parametrize(
    ("needs", "allowed"),
    [
        (TCP, {(INET, STREAM), (INET6, STREAM)}),
        (UNIX, {(LOCAL, STREAM)}),
        (Needs(True, False, True, PID), {(INET, STREAM), (INET6, STREAM), (INET, DATAGRAM), (INET6, DATAGRAM)}),
        (ALL, {(INET, STREAM), (INET6, STREAM), (INET, DATAGRAM), (INET6, DATAGRAM), (LOCAL, STREAM)}),
    ],
)
def test_sockets_are_of_the_families_and_kinds_that_are_needed(
    machine: Machine, needs: Needs, allowed: set[tuple[int, int]]
) -> None:
    for family in (0, LOCAL, INET, INET6, NETLINK, PACKET, VSOCK, 38):
        for kind in (STREAM, DATAGRAM, RAW, SEQPACKET):
            expected = ALLOW if (family, kind) in allowed else REFUSE
            for flags in (0, FLAGS):
                assert judge(needs, machine, "socket", family, kind | flags, 0) == expected, (family, kind)
    assert judge(needs, machine, "socket", INET, STREAM, 262) == REFUSE, "MPTCP: Landlock does not see its ports"
    assert judge(needs, machine, "socket", INET, STREAM, 132) == REFUSE, "SCTP"


@EACH_MACHINE
@pytest.mark.parametrize(
    ("name", "arguments", "fate"),
    [
        ("sendto", (3, 0, 10, 0x4040, 0, 0), ALLOW),
        ("sendto", (3, 0, 10, 0x2000_0000, 0, 0), REFUSE),  # MSG_FASTOPEN
        ("sendmsg", (3, 0, 0x2000_0040), REFUSE),
        ("sendmmsg", (3, 0, 2, 0x4000), ALLOW),
        ("sendmmsg", (3, 0, 2, 0x2000_0000), REFUSE),
        ("mmap", (0, 4096, 3, 0x22), ALLOW),
        ("mmap", (0, 4096, 5, 0x2), REFUSE),
        ("mprotect", (0, 4096, 1), ALLOW),
        ("mprotect", (0, 4096, 7), REFUSE),
        ("ioctl", (1, 0x5421), ALLOW),
        ("ioctl", (1, 0x5412), REFUSE),  # TIOCSTI types into a terminal
        ("prctl", (15, 0), ALLOW),
        ("prctl", (4, 1), REFUSE),  # dumpable again
        ("prlimit64", (0, 3), ALLOW),
        ("prlimit64", (1, 3), REFUSE),
        ("clone", (0x003D_0F00,), ALLOW),  # as glibc makes a thread
        ("clone", (0x0120_0011,), REFUSE),  # as it forks
        ("clone", (0x003D_0F00 | 0x1000_0000,), REFUSE),  # a thread in a new user namespace
        ("kill", (PID, 9), ALLOW),
        ("kill", (1, 9), REFUSE),
        ("kill", (-1, 9), REFUSE),
        ("tgkill", (PID, PID, 6), ALLOW),
        ("tgkill", (1, 1, 9), REFUSE),
        ("fcntl", (1, 1030, 0), ALLOW),
        ("fcntl", (1, 4, 0o4000), ALLOW),
        ("fcntl", (1, 4, 0o24000), REFUSE),  # O_ASYNC
        ("fcntl", (1, 8, 1), REFUSE),  # F_SETOWN: whom the kernel signals
        ("fcntl", (1, 10, 9), REFUSE),  # F_SETSIG: with what
        ("fcntl", (1, 15, 0), REFUSE),  # F_SETOWN_EX
        ("fcntl", (1, 1026, 0), REFUSE),  # F_NOTIFY
        ("fchmod", (1, 0o600), REFUSE),
    ],
)
def test_guarded_calls_are_judged_by_their_arguments(
    machine: Machine, name: str, arguments: tuple[int, ...], fate: int
) -> None:
    assert judge(ALL, machine, name, *arguments) == fate


@EACH_MACHINE
@pytest.mark.parametrize(
    ("flags", "with_names"),
    [(os.O_RDONLY | os.O_CLOEXEC, ALLOW), *((one, REFUSE) for one in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC))],
)
def test_nothing_is_opened_and_with_names_only_for_reading(machine: Machine, flags: int, with_names: int) -> None:
    assert judge(ALL, machine, "openat", 0, 0, flags) == with_names
    assert judge(TCP, machine, "openat", 0, 0, flags) == REFUSE
    if machine.column == 0:
        assert judge(ALL, machine, "open", 0, flags) == with_names
        assert judge(TCP, machine, "open", 0, flags) == REFUSE


@EACH_MACHINE
def test_a_signatures_calls_are_the_first_to_be_looked_at(machine: Machine) -> None:
    """The longest way of a hot call through the program is short, whatever else is in it."""
    code = program(machine, ALL)
    last = numbers(HOT, machine)[list(numbers(HOT, machine))[-1]]
    at = next(n for n, one in enumerate(code) if one.code == 0x15 and one.constant == last and n > 2)
    assert at < 35
    assert next(iter(numbers(GUARDED, machine))) == "sendto"


@EACH_MACHINE
@pytest.mark.parametrize("needs", [ALL, TCP, UNIX], ids=["all", "tcp", "unix"])
def test_the_program_fits_and_no_jump_leaves_it(machine: Machine, needs: Needs) -> None:
    code = program(machine, needs)
    assert len(code) < 4096
    for at, one in enumerate(code):
        assert len(one.encode()) == 8
        if one.code in (0x15, 0x35):
            assert at + 1 + max(one.true, one.false) < len(code)
    assert code[-1].code == 0x06


# --- in the kernel ---


def filtered(needs: Callable[[int], Needs], *steps: Callable[[], object]) -> object:
    def life() -> list[str]:
        make_undumpable()
        seccomp.install(needs(os.getpid()))
        return [outcome(step) for step in steps]

    return in_child(life)


def tcp_only(pid: int) -> Needs:
    return Needs(tcp=True, unix=False, names=False, pid=pid)


def everything(pid: int) -> Needs:
    return Needs(tcp=True, unix=True, names=True, pid=pid)


def test_the_kernel_takes_it_and_says_so() -> None:
    def life() -> list[str]:
        make_undumpable()
        status = os.open("/proc/self/status", os.O_RDONLY)
        seccomp.install(tcp_only(os.getpid()))
        text = os.pread(status, 1 << 16, 0).decode()
        return [line for line in text.splitlines() if line.startswith("Seccomp:")]

    assert in_child(life) == ["Seccomp:\t2"]


def test_sockets_files_and_descriptors_in_the_kernel() -> None:
    def kill_by_a_descriptor() -> None:
        fcntl.fcntl(1, fcntl.F_SETOWN, os.getppid())

    def thread() -> None:
        one = threading.Thread(target=lambda: None)
        one.start()
        one.join()

    assert filtered(
        tcp_only,
        lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        lambda: opened(Path("/dev/null"), "rb"),
        lambda: os.listdir("/"),
        lambda: socket.socketpair()[0],
        lambda: os.urandom(8),
        lambda: os.eventfd(0),
        thread,
        lambda: os.kill(os.getpid(), 0),
        lambda: os.kill(os.getppid(), 0),
        kill_by_a_descriptor,
        lambda: os.set_blocking(1, True),
        lambda: fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 0),
        lambda: socket.create_server(("127.0.0.1", 0)),
        os.fork,
        lambda: Path("/tmp").chmod(0o1777),
    ) == [
        "done", "EACCES", "EACCES", "EACCES", "EACCES", "EACCES", "done", "done", "done", "done", "done", "EACCES", "EACCES",
        "done", "done", "EACCES", "EACCES", "EPERM",
    ]  # fmt: skip


def test_names_bring_reading_and_datagrams() -> None:
    assert filtered(
        everything,
        lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
        lambda: opened(Path("/etc/hosts"), "rb"),
        lambda: opened(Path("/dev/null"), "wb"),
        lambda: socket.getaddrinfo("localhost", 80),
    ) == ["done", "done", "EACCES", "done"]


@pytest.mark.parametrize(
    "step",
    [
        lambda: os.execv("/bin/true", ["true"]),
        lambda: ctypes.CDLL(None).ptrace(0, 0, 0, 0),
        lambda: ctypes.CDLL(None).process_vm_readv(os.getppid(), 0, 0, 0, 0, 0),
        lambda: ctypes.CDLL(None).unshare(0x1000_0000),
        lambda: ctypes.CDLL(None).mount(0, 0, 0, 0, 0),
        lambda: ctypes.CDLL(None).personality(0xFFFF_FFFF),
    ],
    ids=["exec", "ptrace", "process_vm_readv", "unshare", "mount", "personality"],
)
def test_who_does_what_no_signer_does_is_killed(step: Callable[[], object]) -> None:
    assert filtered(everything, step) == "killed by SIGSYS"


def test_without_no_new_privileges_the_kernel_refuses_and_that_is_an_error() -> None:
    """What is there and fails is not "unavailable". Root needs no such promise."""

    def life() -> str:
        try:
            seccomp.install(tcp_only(os.getpid()))
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return "taken"

    assert in_child(life) == ("taken" if os.geteuid() == 0 else "EACCES")


def test_a_machine_without_a_table_and_a_kernel_without_filters_are_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: int) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(kernel, "prctl", refuse)
    with pytest.raises(UnavailableError, match="no seccomp filters"):
        seccomp.install(tcp_only(1))
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(UnavailableError, match="this machine is riscv64"):
        seccomp.install(tcp_only(1))


def test_a_container_that_refuses_seccomp_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(kernel, "syscall", refuse)
    with pytest.raises(UnavailableError, match="container"):
        seccomp.install(tcp_only(1))


SERVES = Needs(tcp=False, unix=False, names=False, pid=PID, accepts=True, reads=True)
WORKS = Needs(tcp=True, unix=False, names=False, pid=PID, binds=True, reads=True, files=True)
WRITES = Needs(tcp=False, unix=False, names=False, pid=PID, files=True, replaces=True)


@EACH_MACHINE
@pytest.mark.parametrize(
    ("needs", "allowed"),
    [
        (TCP, {"connect"}),
        (UNIX, {"connect"}),
        (SERVES, {"listen", "accept", "accept4"}),
        (WORKS, {"connect", "bind", "listen", "accept", "accept4"}),
        (WRITES, set()),
    ],
    ids=["signer", "dialer", "api", "state", "writer"],
)
def test_who_connects_and_who_serves(machine: Machine, needs: Needs, allowed: set[str]) -> None:
    for name in ("connect", "bind", "listen", "accept", "accept4"):
        assert judge(needs, machine, name, 3, 4096, 16) == (ALLOW if name in allowed else REFUSE), name
    for kind, fate in (
        (STREAM, ALLOW),
        (STREAM | FLAGS, ALLOW),
        (DATAGRAM, REFUSE),
        (SEQPACKET, REFUSE),
        (RAW, REFUSE),
    ):
        assert judge(needs, machine, "socketpair", LOCAL, kind, 0) == fate, (
            "a pair of datagrams reaches any socket by its path"
        )


@EACH_MACHINE
def test_files_are_worked_with_by_whom_that_is_the_work_of(machine: Machine) -> None:
    write, read = os.O_RDWR | os.O_CREAT, os.O_RDONLY | os.O_CLOEXEC
    for needs, reads, writes in (
        (TCP, REFUSE, REFUSE),
        (SERVES, ALLOW, REFUSE),
        (WORKS, ALLOW, ALLOW),
        (WRITES, ALLOW, ALLOW),
    ):
        assert judge(needs, machine, "openat", -100, 4096, read) == reads
        assert judge(needs, machine, "openat", -100, 4096, write) == writes
        code = program(machine, needs)
        for name, number in numbers(FILES, machine).items():
            assert run(code, machine.audit_arch, number) == (ALLOW if needs.files else DENY), name
        assert judge(needs, machine, "fchmod", 3, 0o600) == (ALLOW if needs.replaces else REFUSE)
        for mode in (0o000, 0o644, 0o666, 0o777, 0o4600):
            assert judge(needs, machine, "fchmod", 3, mode) == REFUSE, "nobody's file is shut or opened for others"
