"""Import a library without what it imports for others: annotations, a command line, formats that
are never asked for here.

What a process imports after the fork costs it twice the size of the code, because the import counts
references to everything that it shares with the other processes. falcon and uvicorn bring a cookie
jar with an HTTP client and a mail parser, an XML writer, and process pools; pysyncobj brings pickle
and archives; this program uses none of them.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from cometkms.errors import InvariantError


class _Spared(ModuleType):
    """Has every public name; whoever calls what is behind one is told that it is not there."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        where = f"{self.__name__}.{name}"

        def refuse(_self: object, *_: object, **__: object) -> None:
            raise InvariantError(f"{where} was not imported: nothing here was to use it", cure="report it")

        return type(name, (), {"__init__": refuse})


@contextmanager
def spared(*names: str) -> Iterator[None]:
    """Within, each of these modules is an empty one, unless it is there already. Afterwards an
    import of it is what it always was."""
    absent = [name for name in names if name not in sys.modules]
    for name in absent:
        sys.modules[name] = _Spared(name)
    try:
        for name in absent:
            if package := name.rpartition(".")[0]:
                importlib.import_module(package)
        yield
    finally:
        for name in absent:
            del sys.modules[name]
