"""Where a key in memory could get out: core dumps and swap.

The signer takes care of both itself; here is what it finds.
"""

import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms.operator.doctor.finding import Finding, fail, note, ok, warn

AREA: Final = "memory"
#: libsodium guards and locks a few pages for each key, and the passphrase's page is locked too.
LOCKED_PER_KEY_BYTES: Final = 64 << 10
_READ_MAX_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """`swaps`: /proc/swaps' lines.

    `lockable_bytes`: RLIMIT_MEMLOCK, None for no limit. `core_bytes`: RLIMIT_CORE of this shell.
    """

    core_pattern: str
    core_bytes: int | None
    swaps: tuple[str, ...]
    lockable_bytes: int | None
    privileged: bool


def read_memory_facts() -> MemoryFacts:
    """What cannot be read is empty."""
    core, _ = resource.getrlimit(resource.RLIMIT_CORE)
    lock, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    swaps = [line.split()[0] for line in _read("/proc/swaps").splitlines()[1:] if line.strip()]
    return MemoryFacts(
        core_pattern=_read("/proc/sys/kernel/core_pattern").strip(),
        core_bytes=None if core == resource.RLIM_INFINITY else core,
        swaps=tuple(swaps),
        lockable_bytes=None if lock == resource.RLIM_INFINITY else lock,
        privileged=_may_lock(_read("/proc/self/status")),
    )


def _read(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(_READ_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _may_lock(status: str) -> bool:
    """CAP_IPC_LOCK: the limit does not count."""
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) & (1 << 14))
    return False


def judge_memory(facts: MemoryFacts, keys: int) -> list[Finding]:
    """`keys`: how many chains sign."""
    found = []
    where = (
        f"kernel.core_pattern is {facts.core_pattern!r}" if facts.core_pattern else "kernel.core_pattern cannot be read"
    )
    found.append(ok(AREA, f"the signer makes no core dump, whatever the limit says; {where}"))
    need = LOCKED_PER_KEY_BYTES * max(1, keys)
    if facts.lockable_bytes is None or facts.privileged:
        found.append(ok(AREA, "memory can be locked without a limit"))
    elif facts.lockable_bytes < need:
        found.append(
            fail(
                AREA,
                f"only {facts.lockable_bytes >> 10} KiB can be locked, and {need >> 10} KiB are needed",
                "ulimit -l unlimited, or LimitMEMLOCK= in the unit",
            )
        )
    else:
        found.append(ok(AREA, f"{facts.lockable_bytes >> 10} KiB of memory can be locked"))
    if facts.swaps:
        found.append(
            note(AREA, f"swap is on ({', '.join(facts.swaps)}): the key's own pages are locked and never go there")
        )
    else:
        found.append(ok(AREA, "no swap"))
    return found


def read_process(pid: int) -> dict[str, str]:
    """Read core limit, VmLck, NoNewPrivs and Seccomp of a running signer; {} where
    /proc does not say.
    """
    told: dict[str, str] = {}
    for line in _read(f"/proc/{pid}/limits").splitlines():
        if line.startswith("Max core file size"):
            told["core"] = line[len("Max core file size") :].split()[0]
    for line in _read(f"/proc/{pid}/status").splitlines():
        name, _, value = line.partition(":")
        if name in ("VmLck", "NoNewPrivs", "Seccomp"):
            told[name] = value.strip()
    return told


def judge_process(told: dict[str, str]) -> list[Finding]:
    """What the kernel says of the running signer."""
    if not told:
        return [note(AREA, "the running signer cannot be looked at from here")]
    found = []
    if told.get("core", "0") != "0":
        found.append(
            warn(
                AREA,
                f"the running signer may dump core ({told['core']} bytes)",
                "restart the node and report this: it is a bug",
            )
        )
    locked = told.get("VmLck", "0 kB").split()[0]
    if locked == "0":
        found.append(
            warn(
                AREA,
                "the running signer has no locked memory",
                "raise the limit of locked memory (LimitMEMLOCK=) and restart the node",
            )
        )
    else:
        found.append(ok(AREA, f"the running signer has {locked} kB locked, and dumps no core"))
    return found
