"""System calls of a node that fail, or kill it: tests/faults/shim.c under its own."""

import subprocess
from pathlib import Path

SHIM = Path(__file__).parent.parent / "faults" / "shim.c"


def build_shim(target: Path) -> str:
    """The library that is preloaded."""
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(target), str(SHIM), "-ldl"], check=True)
    return str(target)


def faulty(shim: str, call: str, path: str, how: str, armed: Path) -> dict[str, str]:
    return {
        "LD_PRELOAD": shim,
        "CK_FAULT_CALL": call,
        "CK_FAULT_PATH": path,
        "CK_FAULT_HOW": how,
        "CK_FAULT_NTH": "1",
        "CK_FAULT_ARMED": str(armed),
    }
