"""The disk that holds the promises: what one sync takes, whether it is one, and what is left on it."""

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms.limits import BLOCK_BYTES, SECTOR_BYTES
from cometkms.operator.doctor.finding import Finding, fail, note, ok, warn
from cometkms.store.promise_store import FILE_BYTES

AREA: Final = "disk"
SLOW_SYNC_MS: Final = 5.0
PROBE_TRIES: Final = 40
PROBE_S: Final = 2.0  # all tries together …
HUNG_S: Final = 10.0  # … and when one does not come back
FREE_MIN_BYTES: Final = 100 << 20
FREE_MIN_INODES: Final = 1000
PROBE_NAME: Final = ".doctor-probe"
_FORGETFUL: Final = ("tmpfs", "ramfs")
_DOUBTFUL: Final = {
    "overlay": "a container's own layer, which goes with the container",
    "nfs": "a network's file system",
    "nfs4": "a network's file system",
    "cifs": "a network's file system",
    "smb3": "a network's file system",
    "9p": "a file system shared with another machine",
    "fuse": "a file system in a user's program",
}


@dataclass(frozen=True, slots=True)
class Probe:
    """Milliseconds of each measured fdatasync of one sector; `hung`: one did not end."""

    times_ms: tuple[float, ...]
    hung: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """What is left on a file system, for us."""

    free_bytes: int
    free_inodes: int | None


def measure_syncs(directory: Path, tries: int = PROBE_TRIES) -> Probe:
    """Write one sector and sync, again and again, in a file without a name where that is possible;
    it is gone at the end.

    In a thread: a disk that does not answer is told, not waited for. Raises: OSError.
    """
    times: list[float] = []
    failure: list[OSError] = []

    def work() -> None:
        try:
            _measure(directory, tries, times)
        except OSError as error:
            failure.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(HUNG_S)
    if failure:
        raise failure[0]
    return Probe(tuple(times), thread.is_alive())


def _measure(directory: Path, tries: int, times: list[float]) -> None:
    fd = _open_probe(directory)
    try:
        os.pwrite(fd, bytes(2 * BLOCK_BYTES), 0)
        os.fsync(fd)
        until = time.monotonic() + PROBE_S
        for number in range(tries):
            os.pwrite(fd, os.urandom(SECTOR_BYTES), (number % 2) * BLOCK_BYTES)
            started = time.perf_counter()
            os.fdatasync(fd)
            times.append((time.perf_counter() - started) * 1000)
            if time.monotonic() > until:
                return
    finally:
        os.close(fd)


def _open_probe(directory: Path) -> int:
    with contextlib.suppress(OSError):  # not every file system has files without a name
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    path = directory / PROBE_NAME
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    path.unlink()
    return fd


def median_ms(probe: Probe) -> float | None:
    """Return the median of the measured syncs, or None where one did not end."""
    return None if probe.hung or not probe.times_ms else sorted(probe.times_ms)[len(probe.times_ms) // 2]


def judge_syncs(probe: Probe) -> Finding:
    """Warns when the median is above SLOW_SYNC_MS: each signature waits for two of them."""
    if probe.hung or not probe.times_ms:
        return fail(AREA, f"a sync did not end within {HUNG_S:.0f} s", "another disk; look at the kernel's log")
    ordered = sorted(probe.times_ms)
    p50, p99, most = (ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in (0.5, 0.99, 1.0))
    words = (
        f"a sync of one sector takes {p50:.2f} ms (p50), {p99:.2f} ms (p99), {most:.2f} ms at most of {len(ordered)}"
    )
    if p50 > SLOW_SYNC_MS:
        return warn(
            AREA,
            f"{words}: each signature waits for one here and one on another node",
            "an SSD with power-loss protection, not shared with other writers",
        )
    return ok(AREA, words)


def file_system_of(directory: Path, mountinfo: str) -> tuple[str, str]:
    """(type, mount point) of the mount that holds the directory, of /proc/self/mountinfo's text;
    ("", "") when none is found.
    """
    wanted = directory.resolve()
    found = ("", "")
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if not separator or len(fields) < 5 or not kinds:
            continue
        point = fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        if wanted.is_relative_to(point) and len(point) >= len(found[1]):
            found = (kinds[0], point)
    return found


def judge_file_system(kind: str, point: str) -> Finding:
    """Whether what is synced there survives."""
    if kind in _FORGETFUL:
        return fail(
            AREA,
            f"{point} is {kind}: what is promised there is forgotten when the power goes",
            "a data directory on a disk",
        )
    doubt = _DOUBTFUL.get(kind.partition(".")[0])
    if doubt is not None:
        return warn(
            AREA,
            f"{point} is {kind}, {doubt}: whether a sync is durable is not in this machine's hands",
            "a volume on a local disk (ext4, xfs)",
        )
    return ok(AREA, f"{point} is {kind}") if kind else note(AREA, "the file system's type is not known here")


def read_room(directory: Path) -> Room:
    """Raises: OSError."""
    found = os.statvfs(directory)
    return Room(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)


def judge_room(room: Room) -> Finding:
    """The store is written in place and never grows; the Raft journal and the state file need room."""
    shown = f"{room.free_bytes / (1 << 30):.1f} GiB"
    if room.free_bytes < 4 * FILE_BYTES:
        return fail(AREA, f"{shown} are free: a store or a state file cannot be made", "make room on the disk")
    if room.free_bytes < FREE_MIN_BYTES:
        return warn(AREA, f"only {shown} are free", "make room on the disk")
    if room.free_inodes is not None and room.free_inodes < FREE_MIN_INODES:
        return warn(
            AREA,
            f"only {room.free_inodes} inodes are free: files cannot be replaced",
            "remove small files on that disk",
        )
    return ok(AREA, f"{shown} and {room.free_inodes if room.free_inodes is not None else 'enough'} inodes are free")
