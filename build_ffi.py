"""Describe the C core to cffi: reads the declarations, lists the sources. No logic."""

from pathlib import Path

import cffi

CSRC = Path(__file__).parent / "csrc"
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
