"""Builds the C core where a C compiler is there; says in one line where it is not.

All else is in pyproject.toml.
"""

import sys

from setuptools import setup
from setuptools.command.build_ext import build_ext


class OptionalBuildExt(build_ext):
    """The package works without the extension (cometkms/core/pure), so a missing
    compiler is no failure.
    """

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:  # noqa: BLE001 - any compiler's or linker's failure has its own type
            print(f"cometkms: the C core was not built ({error}); the pure-Python twin will run", file=sys.stderr)


setup(cffi_modules=["build_ffi.py:ffi"], cmdclass={"build_ext": OptionalBuildExt})
