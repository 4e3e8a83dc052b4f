"""Which system calls a process may make: the rules, and the classic BPF program the kernel runs
before each call.

An allowlist. What happens to a call:

    named, harmless                 allowed (the kernel caches these by number: the program does not
                                    even run)
    named, with rules               allowed if its arguments are within one of its rules, else
                                    EACCES
    deadly (execve, ptrace, …)      the process is killed: no honest signer does that
    newer than this program         ENOSYS: the C library then does what it does on an older kernel
    anything else                   EPERM
    another machine's calls, x32    the process is killed

A filter sees numbers, never what a pointer points at: paths and addresses are Landlock's
(landlock.py).
"""

import ctypes
import errno
import os
import platform
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cometkms.errors import WordedError, said
from cometkms.hardening import kernel
from cometkms.hardening.measures import UnavailableError
from cometkms.hardening.syscalls import CALM, DEADLY, FILES, GUARDED, HOT, MACHINES, UNIFIED, Machine, numbers

ALLOW: Final = 0x7FFF_0000
KILL_PROCESS: Final = 0x8000_0000
_ERRNO: Final = 0x0005_0000
REFUSE: Final = _ERRNO | errno.EACCES  # a call that is possible, but not with these arguments
DENY: Final = _ERRNO | errno.EPERM
UNKNOWN: Final = _ERRNO | errno.ENOSYS

# struct seccomp_data: nr 4 | arch 4 | instruction pointer 8 | six arguments of 8 bytes; both
# machines are little-endian
_NR_AT: Final = 0
_ARCH_AT: Final = 4
_ARGUMENTS_AT: Final = 16
# linux/bpf_common.h
_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
_JUMP_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_X32: Final = 0x4000_0000
_WHOLE: Final = 0xFFFF_FFFF

_SET_MODE_FILTER: Final = 1
_ALL_THREADS: Final = 1  # SECCOMP_FILTER_FLAG_TSYNC
_TELL_AUDIT: Final = 2  # SECCOMP_FILTER_FLAG_LOG, Linux 4.14
# SECCOMP_FILTER_FLAG_SPEC_ALLOW, 4.17: else kernels below 5.16 slow the whole process down
_NO_SLOWDOWN: Final = 4

_STREAM, _DATAGRAM = int(socket.SOCK_STREAM), int(socket.SOCK_DGRAM)
_KIND_MASK: Final = 0xF  # SOCK_TYPE_MASK
_TCP, _UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
_FAST_OPEN: Final = 0x2000_0000  # MSG_FASTOPEN connects without connect(), past Landlock
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | 0x40_0000  # … | O_TMPFILE's own bit
_EXECUTABLE: Final = 4  # PROT_EXEC
_THREAD: Final = 0x1_0000  # CLONE_THREAD
_NEW_NAMESPACES: Final = 0x7E02_0000
_SET_NAME: Final = 15  # PR_SET_NAME
#: fcntl: F_DUPFD, F_GETFD, F_SETFD, F_GETFL; the locks' F_GETLK to F_SETLKW, F_OFD_GETLK to
#: F_OFD_SETLKW; F_DUPFD_CLOEXEC, F_GETPIPE_SZ, F_GET_SEALS. Not F_SETOWN and F_SETSIG: with them
#: the kernel sends any signal to any process of the same user, past the rule for kill().
_DESCRIPTOR_WORK: Final = (0, 1, 2, 3, 5, 6, 7, 36, 37, 38, 1030, 1032, 1034)
_SET_FLAGS: Final = 4  # F_SETFL
_SIGNAL_DRIVEN: Final = 0o20000  # O_ASYNC: a terminal's would go to all processes before it
_OWN_FILE: Final = 0o600
#: FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, TCGETS: nothing that types into a terminal.
_IOCTLS: Final = (0x541B, 0x5421, 0x5451, 0x5450, 0x5401)


@dataclass(frozen=True, slots=True)
class Check:
    """The lower half of an argument, masked, is one of `values`. The kernel takes these arguments
    as ints: it never sees the rest."""

    argument: int
    values: tuple[int, ...]
    mask: int = _WHOLE


Rule = tuple[Check, ...]  # all of them
_ANY: Final[Rule] = ()


@dataclass(frozen=True, slots=True)
class Needs:
    """What the process works with. tcp, unix: it connects that way; names: it looks hosts up;
    accepts: on a socket that is there already, binds: on one of its own; reads, files: it opens
    files, or makes them too; replaces: it puts private ones in the place of others; pid: its
    own."""

    tcp: bool
    unix: bool
    names: bool
    pid: int
    accepts: bool = False
    binds: bool = False
    reads: bool = False
    files: bool = False
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class Instruction:
    """struct sock_filter: code, where to jump if true and if false (counted from the next),
    constant."""

    code: int
    true: int
    false: int
    constant: int

    def encode(self) -> bytes:
        """8 bytes."""
        return struct.pack("=HBBI", self.code, self.true, self.false, self.constant)


def rules(needs: Needs) -> dict[str, tuple[Rule, ...]]:
    """Return for each guarded call the rules of which any one allows it."""
    reads = needs.names or needs.reads
    reading: tuple[Rule, ...] = (_ANY,) if needs.files else ((Check(2, (0,), _WRITING),),) if reads else ()
    opened: tuple[Rule, ...] = (_ANY,) if needs.files else ((Check(1, (0,), _WRITING),),) if reads else ()
    accepts = (_ANY,) if needs.accepts or needs.binds else ()
    return {
        "socket": tuple(_sockets(needs)),
        # Two streams that are connected for good; a pair of datagrams would reach every socket of
        # this machine by its path.
        "socketpair": ((Check(0, (int(socket.AF_UNIX),)), Check(1, (_STREAM,), _KIND_MASK), Check(2, (0,))),),
        "connect": (_ANY,) if needs.tcp or needs.unix or needs.names else (),
        "bind": (_ANY,) if needs.binds else (),
        "listen": accepts,
        "accept": accepts,
        "accept4": accepts,
        "sendto": ((Check(3, (0,), _FAST_OPEN),),),
        "sendmsg": ((Check(2, (0,), _FAST_OPEN),),),
        "sendmmsg": ((Check(3, (0,), _FAST_OPEN),),),
        "mmap": ((Check(2, (0,), _EXECUTABLE),),),
        "mprotect": ((Check(2, (0,), _EXECUTABLE),),),
        "ioctl": ((Check(1, _IOCTLS),),),
        "prctl": ((Check(0, (_SET_NAME,)),),),
        "prlimit64": ((Check(0, (0, needs.pid)),),),
        "clone": ((Check(0, (_THREAD,), _THREAD | _NEW_NAMESPACES),),),
        "kill": ((Check(0, (needs.pid,)),),),
        "tgkill": ((Check(0, (needs.pid,)),),),
        "open": opened,
        "openat": reading,
        "fcntl": (
            (Check(1, _DESCRIPTOR_WORK),),
            (Check(1, (_SET_FLAGS,)), Check(2, (0,), _SIGNAL_DRIVEN)),
        ),
        # Landlock does not look at modes: who reads Python's code, and is its owner, could shut or
        # open it for the next start.
        "fchmod": ((Check(1, (_OWN_FILE,)),),) if needs.replaces else (),
    }


def _sockets(needs: Needs) -> Iterator[Rule]:
    """Family, kind and protocol: Landlock's ports hold for TCP alone, so that another protocol
    (MPTCP, SCTP) would be a way around them."""
    families = tuple(int(one) for one in (socket.AF_INET, socket.AF_INET6))
    if needs.tcp:
        yield Check(0, families), Check(1, (_STREAM,), _KIND_MASK), Check(2, (0, _TCP))
    if needs.names:  # DNS, and the choice between a name's addresses
        yield Check(0, families), Check(1, (_DATAGRAM,), _KIND_MASK), Check(2, (0, _UDP))
    if needs.unix:
        yield Check(0, (int(socket.AF_UNIX),)), Check(1, (_STREAM,), _KIND_MASK), Check(2, (0,))


def program(machine: Machine, needs: Needs) -> list[Instruction]:
    """The filter. Every path through it ends in a return."""
    guarded = numbers(GUARDED, machine)
    allowed = rules(needs)
    code = [Instruction(_LOAD, 0, 0, _ARCH_AT), Instruction(_JUMP_EQUAL, 1, 0, machine.audit_arch)]
    code += [_returns(KILL_PROCESS), Instruction(_LOAD, 0, 0, _NR_AT)]
    if machine.x32:
        code += [Instruction(_JUMP_AT_LEAST, 0, 1, _X32), _returns(KILL_PROCESS)]
    code += _each(numbers(HOT, machine), ALLOW)
    for name, number in guarded.items():
        block = _judge(allowed[name])
        code += [Instruction(_JUMP_EQUAL, 0, len(block), number), *block]
    code += _each({**numbers(CALM, machine), **(numbers(FILES, machine) if needs.files else {})}, ALLOW)
    code += _each(numbers(DEADLY, machine), KILL_PROCESS)
    return [*code, Instruction(_JUMP_AT_LEAST, 0, 1, UNIFIED), _returns(UNKNOWN), _returns(DENY)]


def _returns(action: int) -> Instruction:
    return Instruction(_RETURN, 0, 0, action)


def _each(calls: dict[str, int], action: int) -> Iterator[Instruction]:
    for number in calls.values():
        yield Instruction(_JUMP_EQUAL, 0, 1, number)
        yield _returns(action)


def _judge(allowed: Sequence[Rule]) -> list[Instruction]:
    """The number is in the accumulator and is not needed again."""
    code: list[Instruction] = []
    for rule in allowed:
        checks = [_compare(check) for check in rule]
        body = [*(one for check in checks for one in check), _returns(ALLOW)]
        done = 0
        # the last instruction of each jumps over the rest of the rule if nothing is equal
        for check in checks:
            done += len(check)
            body[done - 1] = Instruction(_JUMP_EQUAL, 0, len(body) - done, body[done - 1].constant)
        code += body
    return [*code, _returns(REFUSE)]


def _compare(check: Check) -> list[Instruction]:
    code = [Instruction(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * check.argument)]
    if check.mask != _WHOLE:
        code.append(Instruction(_AND, 0, 0, check.mask))
    last = len(check.values) - 1
    return code + [Instruction(_JUMP_EQUAL, last - n, 0, value) for n, value in enumerate(check.values)]


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def this_machine() -> Machine:
    """Raises: UnavailableError."""
    name = platform.machine()
    if name not in MACHINES:
        known = ", ".join(MACHINES)
        raise UnavailableError(f"this program has the system calls of {known}, and this machine is {name}")
    return MACHINES[name]


def install(needs: Needs) -> int:
    """Install the filter for every thread of this process, for ever, and return its number of
    instructions. No new privileges must be set.

    Raises: UnavailableError; OSError when the kernel has filters and does not take this one.
    """
    machine = this_machine()
    _check_there()
    code = program(machine, needs)
    data = b"".join(one.encode() for one in code)
    told = _Program(len(code), data)
    number = {"x86_64": 317, "aarch64": 277}[platform.machine()]
    for flags in (_TELL_AUDIT | _NO_SLOWDOWN, _TELL_AUDIT, 0):
        try:
            other = kernel.syscall(number, _SET_MODE_FILTER, _ALL_THREADS | flags, ctypes.byref(told))
        except OSError as error:
            if error.errno == errno.EINVAL and flags:  # a flag this kernel does not know
                continue
            if error.errno in (errno.ENOSYS, errno.EPERM):
                raise UnavailableError("the container's own filter refuses seccomp()") from error
            raise
        if other != 0:
            raise WordedError(errno.EBUSY, f"thread {other} does not take the filter")
        break
    return len(code)


def _check_there() -> None:
    """Filters are there if the kernel looks at the program, of which there is none. Raises:
    UnavailableError."""
    try:
        kernel.prctl(kernel.PR_SET_SECCOMP, 2, 0)
    except OSError as error:
        if error.errno == errno.EFAULT:
            return
        raise UnavailableError(f"this kernel has no seccomp filters ({said(error)})") from error
    raise WordedError(errno.EPROTO, "the kernel took a filter that was not there")
