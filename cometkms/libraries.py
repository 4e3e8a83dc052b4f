"""Where a package's own extension file is, whose exported functions are used without
importing the package.
"""

from importlib.machinery import ExtensionFileLoader, PathFinder

from cometkms.errors import OperatorError
from cometkms.keytypes import KeyType


def extension_file(module: str, key_type: KeyType) -> str:
    """The path of the extension module (`package.module`, or `module`) that has the functions of a
    type of key.

    Raises: OperatorError naming the package that is missing and the extra that installs it.
    """
    path: list[str] | None = None
    package, _, name = module.rpartition(".")
    if package:
        found = PathFinder.find_spec(package)
        path = list(found.submodule_search_locations or ()) if found is not None else []
    spec = PathFinder.find_spec(module if package else name, path)
    if spec is None or spec.origin is None or not isinstance(spec.loader, ExtensionFileLoader):
        raise OperatorError(
            f"keys of type {key_type.name} need the package {key_type.package}, which is not installed",
            cure=f"pip install 'cometkms[{key_type.extra}]'",
        )
    return spec.origin


def unusable(key_type: KeyType, why: str) -> OperatorError:
    """The library of a type of key is there and cannot be used."""
    return OperatorError(
        f"{key_type.package} cannot be used for keys of type {key_type.name}: {why}",
        cure=f"pip install --force-reinstall 'cometkms[{key_type.extra}]'",
    )
