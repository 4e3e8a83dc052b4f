"""What the figures of a run were measured on."""

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.figures import quantiles_us


def fdatasync_us(directory: Path, count: int = 300) -> dict[str, float]:
    """Of one 512-byte sector, as a promise is written."""
    path = directory / "fdatasync"
    times = []
    with path.open("wb+", buffering=0) as file:
        file.write(bytes(1 << 16))
        os.fsync(file.fileno())
        for number in range(count):
            started = time.perf_counter_ns()
            os.pwrite(file.fileno(), bytes([number & 255]) * 512, 4096 * (number & 1))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter_ns() - started)
    path.unlink()
    return quantiles_us(times)


def facts(directory: Path) -> dict[str, Any]:
    """Machine, software, and how fast its disk syncs now."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "filesystem": _words("stat", "-f", "-c", "%T", str(directory)),
        "fdatasync_us": fdatasync_us(directory),
        "python": platform.python_version(),
        "commit": _words("git", "rev-parse", "--short", "HEAD"),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _words(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
