"""Describe the C core to cffi: reads the declarations, lists the sources; and write the two headers
of C that follow from Python's tables.
"""

import runpy
import struct
from pathlib import Path

import cffi

CSRC = Path(__file__).parent / "csrc"
#: The bounds that C shares, by the name that Python has for each.
BOUNDS = {
    "CHAIN_ID_MAX": "CHAIN_ID_MAX_BYTES",
    "HASH_BYTES": "BLOCK_HASH_BYTES",
    "ADDRESS_BYTES": "ADDRESS_BYTES",
    "VOTE_EXTENSION_MAX": "VOTE_EXTENSION_MAX_BYTES",
    "MESSAGE_MAX": "MESSAGE_MAX_BYTES",
    "RESPONSE_MAX": "RESPONSE_MAX_BYTES",
    "SIGN_BYTES_MAX": "SIGN_BYTES_MAX_BYTES",
    "EXTENSION_SIGN_BYTES_MAX": "EXTENSION_SIGN_BYTES_MAX_BYTES",
    "ERROR_TEXT_MAX": "ERROR_TEXT_MAX_BYTES",
    "PREPARED_MAX": "PREPARED_MAX_BYTES",
    "RAW_VALUE_MAX": "RAW_VALUE_MAX_BYTES",
    "RAW_UNIQUE_ID_MAX": "RAW_UNIQUE_ID_MAX_BYTES",
    "RAW_UNIQUE_IDS_MAX": "RAW_UNIQUE_IDS_MAX",
    "FRAME_DATA": "FRAME_DATA_BYTES",
    "FRAME_PLAIN": "FRAME_PLAIN_BYTES",
    "FRAME_SEALED": "FRAME_SEALED_BYTES",
    "NOISE_PLAIN": "NOISE_PLAIN_BYTES",
    "NOISE_SEALED": "NOISE_SEALED_BYTES",
    "INBOX": "INBOX_BYTES",
    "QUEUE_SLOT": "QUEUE_SLOT_BYTES",
    "RING_SLOTS": "QUEUE_SLOTS",
    "ROWS_MAX": "CHAINS_MAX",
    "MEMBERS_MAX": "MEMBERS_MAX",
    "SECTOR": "SECTOR_BYTES",
    "BLOCK": "BLOCK_BYTES",
    "SEQ_MAX": "SEQ_MAX",
    "SEQ_STEP_MAX": "SEQ_STEP_MAX",
    "SEAL_PASSES_MAX": "SEAL_PASSES_MAX",
    "SEAL_MEMORY_MIN": "SEAL_MEMORY_MIN_BYTES",
    "SEAL_MEMORY_MAX": "SEAL_MEMORY_MAX_BYTES",
    "PUBLIC_KEY_MAX": "PUBLIC_KEY_MAX_BYTES",
    "SIGNATURE_MAX": "SIGNATURE_MAX_BYTES",
    "SECRET_MAX": "SECRET_MAX_BYTES",
    "AUDIT_VALIDATOR_MAX": "AUDIT_VALIDATOR_MAX_BYTES",
    "AUDIT_LINE_MAX": "AUDIT_LINE_MAX_BYTES",
}


def _tables(module: str) -> dict[str, object]:
    """What a module of Python says, without the package, which need not be importable
    where it is built.
    """
    return runpy.run_path(str(CSRC.parent / "cometkms" / f"{module}.py"))


def _header(guard: str, what: str, lines: list[str]) -> str:
    return "\n".join([f"/* {what} */", f"#ifndef {guard}", f"#define {guard}", "", *lines, "", "#endif", ""])


def _bounds() -> str:
    limits = _tables("limits")
    lines = [f"#define CK_{name} {limits[pythons]}" for name, pythons in BOUNDS.items()]
    return _header("CK_BOUNDS_H", "The bounds that C shares. Made by build_ffi.py, from cometkms/limits.py.", lines)


def _layouts() -> str:
    tables = _tables("layouts")
    lines = [
        f'#define CK_ROW_MAGIC "{tables["ROW_MAGIC"].decode()}"',
        f"#define CK_SECTOR_CHECK {tables['SECTOR_CHECK_BYTES']}",
    ]
    for name, fields in tables["LAYOUTS"].items():
        lines.append("")
        at = 0
        for field, form in fields.items():
            size = struct.calcsize("<" + form)
            lines.append(f"#define CK_{name.upper()}_{field.upper()} {at}, {size}")
            at += size
        lines.append(f"#define CK_{name.upper()}_HEAD {at}")
    what = "Where each field of a record begins, and its size. Made by build_ffi.py, from cometkms/layouts.py."
    return _header("CK_LAYOUTS_H", what, lines)


def headers() -> dict[Path, str]:
    """The headers of C that follow from Python's tables."""
    return {CSRC / "bounds.h": _bounds(), CSRC / "layouts.h": _layouts()}


for path, text in headers().items():
    if not path.exists() or path.read_text() != text:
        path.write_text(text)

HEADERS = sorted(CSRC.glob("*.h"))
SOURCES = sorted(CSRC.glob("*.c"))
DECLARATIONS = sorted((CSRC / "cdef").glob("*.h"))

ffi = cffi.FFI()
for declarations in DECLARATIONS:
    ffi.cdef(declarations.read_text())
ffi.set_source(
    "cometkms._native",
    "\n".join(f'#include "{header.name}"' for header in HEADERS),
    sources=[str(source.relative_to(CSRC.parent)) for source in SOURCES],
    depends=[str(header.relative_to(CSRC.parent)) for header in HEADERS],
    include_dirs=["csrc"],
    extra_compile_args=["-std=c11", "-O2", "-fno-strict-aliasing", "-fstack-protector-strong", "-D_GNU_SOURCE"],
    libraries=["dl"],
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
