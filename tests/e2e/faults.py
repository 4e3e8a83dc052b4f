"""System calls of a node that fail, or kill it: tests/faults/shim.c under its own."""

import ctypes
import mmap
import subprocess
from pathlib import Path

SHIM = Path(__file__).parent.parent / "faults" / "shim.c"


def build_shim(target: Path) -> str:
    """The library that is preloaded."""
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(target), str(SHIM), "-ldl"], check=True)
    return str(target)


class _Shared(ctypes.Structure):
    """As in tests/faults/shim.c."""

    _fields_ = (
        ("armed", ctypes.c_uint32),
        ("injected", ctypes.c_uint32),
        ("blind", ctypes.c_uint32),
        ("unused", ctypes.c_uint32),
        ("ahead_s", ctypes.c_int64),
    )


class Faults:
    """One node's: memory that every process of it shares from its first moment, whoever it becomes
    and whatever it closes and gives up.
    """

    def __init__(self, shim: str, path: Path) -> None:
        path.write_bytes(bytes(ctypes.sizeof(_Shared)))
        with path.open("r+b") as file:
            self._shared = _Shared.from_buffer(mmap.mmap(file.fileno(), 0))
        self._shim, self._path = shim, path

    def of(self, call: str, path: str, how: str) -> dict[str, str]:
        """The environment of the node; nothing fails until arm()."""
        return {
            "LD_PRELOAD": self._shim,
            "CK_FAULT_CALL": call,
            "CK_FAULT_PATH": path,
            "CK_FAULT_HOW": how,
            "CK_FAULT_NTH": "1",
            "CK_FAULT_SHARED": str(self._path),
        }

    def arm(self) -> None:
        self._shared.armed = 1

    def disarm(self) -> None:
        self._shared.armed = 0

    def set_clock(self, ahead_s: int) -> None:
        self._shared.ahead_s = ahead_s

    @property
    def injected(self) -> int:
        """How often a call was made to fail, or killed its process."""
        return self._shared.injected

    def must_have_happened(self) -> None:
        """A test of a fault that was none would prove nothing."""
        assert not self._shared.blind, f"{self._shared.blind} calls whose file could not be told"
        assert self.injected, "the fault was never injected"
