"""Numbers of the system calls that the filters name, for the machines it knows. Data only.

Made from the kernel's own headers (asm/unistd_64.h, asm-generic/unistd.h); a test compares them
with those of the machine it runs on. A call that a machine lacks (aarch64 has no open, only openat)
is None there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: From here on all machines share their numbers, and what is not named is newer than this program:
#: it is told that it does not exist, which is what C libraries expect of an older kernel.
UNIFIED: Final = 424


@dataclass(frozen=True, slots=True)
class Machine:
    """audit_arch: what the kernel calls it in a filter's data; column: in the tables below; x32: it
    has a second table of calls."""

    audit_arch: int
    column: int
    x32: bool


MACHINES: Final[Mapping[str, Machine]] = {
    "x86_64": Machine(0xC000_003E, 0, True),
    "aarch64": Machine(0xC000_00B7, 1, False),
}

_Table = Mapping[str, tuple[int | None, int | None]]

#: What a signature costs: first, so that the kernel decides these with the fewest comparisons.
HOT: Final[_Table] = {
    "epoll_pwait": (281, 22),
    "epoll_wait": (232, None),
    "recvfrom": (45, 207),
    "read": (0, 63),
    "write": (1, 64),
    "epoll_ctl": (233, 21),
    "getpid": (39, 172),
    "futex": (202, 98),
    "poll": (7, None),
    "ppoll": (271, 73),
    "recvmsg": (47, 212),
    "readv": (19, 65),
    "writev": (20, 66),
}

#: What CPython, uvloop, libsodium and glibc's name resolution use, and their neighbours in other
#: versions and in musl.
CALM: Final[_Table] = {
    "close": (3, 57),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "lseek": (8, 62),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "pipe": (22, None),
    "pipe2": (293, 59),
    "close_range": (436, 436),
    "select": (23, None),
    "pselect6": (270, 72),
    "epoll_create": (213, None),
    "epoll_create1": (291, 20),
    "epoll_pwait2": (441, 441),
    "eventfd": (284, None),
    "eventfd2": (290, 19),
    "timerfd_create": (283, 85),
    "timerfd_settime": (286, 86),
    "timerfd_gettime": (287, 87),
    "recvmmsg": (299, 243),
    "shutdown": (48, 210),
    "getsockname": (51, 204),
    "getpeername": (52, 205),
    "getsockopt": (55, 209),
    "setsockopt": (54, 208),
    "stat": (4, None),
    "fstat": (5, 80),
    "lstat": (6, None),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "getcwd": (79, 17),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "brk": (12, 214),
    "madvise": (28, 233),
    "mincore": (27, 232),
    "mlock": (149, 228),
    "mlock2": (325, 284),
    "munlock": (150, 229),
    "membarrier": (324, 283),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137),
    "rt_sigsuspend": (130, 133),
    "sigaltstack": (131, 132),
    "pause": (34, None),
    "restart_syscall": (219, 128),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "set_robust_list": (273, 99),
    "get_robust_list": (274, 100),
    "set_tid_address": (218, 96),
    "rseq": (334, 293),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "getcpu": (309, 168),
    "futex_waitv": (449, 449),
    "gettid": (186, 178),
    "getppid": (110, 173),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getresuid": (118, 148),
    "getresgid": (120, 150),
    "getgroups": (115, 158),
    "getpgrp": (111, None),
    "getpgid": (121, 155),
    "getsid": (124, 156),
    "capget": (125, 90),
    "uname": (63, 160),
    "sysinfo": (99, 179),
    "getrusage": (98, 165),
    "getrlimit": (97, 163),
    "times": (100, 153),
    "getrandom": (318, 278),
}

#: For who works with files. Which ones is Landlock's and the owner's.
FILES: Final[_Table] = {
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "sync_file_range": (277, 84),
    "ftruncate": (77, 46),
    "fallocate": (285, 47),
    "fadvise64": (221, 223),
    "getdents64": (217, 61),
    "flock": (73, 32),
    "umask": (95, 166),
    "fstatfs": (138, 44),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
}

#: Looked at with their arguments (cometkms/hardening/seccomp.py).
GUARDED: Final[_Table] = {
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "ioctl": (16, 29),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "clone": (56, 220),
    "kill": (62, 129),
    "tgkill": (234, 131),
    "open": (2, None),
    "openat": (257, 56),
    "fcntl": (72, 25),
    "fchmod": (91, 52),
}

#: No honest process of a node comes near them: whoever does is killed, and the supervisor's log
#: says so.
DEADLY: Final[_Table] = {
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "vfork": (58, None),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "bpf": (321, 280),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "setns": (308, 268),
    "unshare": (272, 97),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "open_by_handle_at": (304, 265),
    "personality": (135, 92),
    "capset": (126, 91),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
}

#: For a process's own slice, before it is shut off (cometkms/hardening/scheduling.py).
SCHEDULING: Final[_Table] = {"sched_setattr": (314, 274), "sched_getattr": (315, 275)}

#: Refused like everything else that is not named here; told by their names in tests and documents.
REFUSED: Final[_Table] = {
    "seccomp": (317, 277),
    "setuid": (105, 146),
    "chown": (92, None),
    "fchownat": (260, 54),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "mknod": (133, None),
    "mknodat": (259, 33),
}


def numbers(table: _Table, machine: Machine) -> dict[str, int]:
    """The calls of a table that this machine has, in the table's order."""
    found = {name: both[machine.column] for name, both in table.items()}
    return {name: number for name, number in found.items() if number is not None}
