"""Choose the implementation of `cometkms.core.interface.Core`: the C core, or its pure-Python twin."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cometkms.core.interface import Core

PURE_VARIABLE = "COMETKMS_PURE"
TRACE_VARIABLE = "COMETKMS_TRACE"


def load() -> "Core":
    """The C core; its pure-Python twin where COMETKMS_PURE=1 asks for it or the C core
    was never built.

    A C core that was built but does not load (libsodium's symbols missing) is an error, never a
    silent fallback. Raises: OperatorError with what is missing.
    """
    if chosen_name() == "pure":
        from cometkms.core.pure.core import CORE

        return CORE
    from cometkms.core import native

    return native.load()


def chosen_name() -> str:
    """ "native" or "pure": which one load() gives, without loading it."""
    return "pure" if os.environ.get(PURE_VARIABLE, "") == "1" or not native_is_built() else "native"


def native_is_built() -> bool:
    """Whether the extension module is installed beside this package (without loading it)."""
    from importlib.util import find_spec

    return find_spec("cometkms._native") is not None


@contextmanager
def tracing(name: str) -> Iterator[None]:
    """Write the C core's hops of this process at the end into the directory that COMETKMS_TRACE
    names (benchmarks.budget reads them).

    Raises: OSError when the directory cannot be written.
    """
    directory = os.environ.get(TRACE_VARIABLE, "")
    if not directory or chosen_name() == "pure":
        yield
        return
    from cometkms.core.native.trace import Trace

    trace = Trace(Path(directory), name)
    try:
        yield
    finally:
        trace.save()
