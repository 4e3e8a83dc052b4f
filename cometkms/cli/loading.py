"""Import without the garbage collector."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """What is imported stays: to look through it again and again while it comes in is a sixth of
    what a node's start computes.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
