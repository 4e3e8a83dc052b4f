"""What runs: this program, its libraries, its C core; and what the other nodes say of theirs."""

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any, Final

from cometkms import __version__
from cometkms.core import choose
from cometkms.errors import CometKMSError
from cometkms.operator.doctor.finding import Finding, fail, note, ok, warn

AREA: Final = "versions"
LIBRARIES: Final = ("cffi", "PyNaCl", "uvloop", "falcon", "uvicorn", "click", "msgpack", "pysyncobj")
_PINNED: Final = {"pysyncobj": "0.3.17"}  # its insides are relied upon (state/raft/pinned.py)


def library_versions() -> dict[str, str | None]:
    """Return the versions by name; None means that it is not installed."""
    found: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def judge_libraries(found: Mapping[str, str | None]) -> list[Finding]:
    """All there, and the pinned one as pinned."""
    missing = [name for name, version in found.items() if version is None]
    if missing:
        return [fail(AREA, f"not installed: {', '.join(missing)}", "pip install the program anew")]
    odd = [
        fail(
            AREA,
            f"{name} {found[name]} is installed, and only {version} is known to be safe here",
            f"pip install {name}=={version}",
        )
        for name, version in _PINNED.items()
        if found.get(name) != version
    ]
    shown = ", ".join(f"{name} {version}" for name, version in found.items())
    return odd or [ok(AREA, f"CometKMS {__version__}, Python {platform.python_version()}; {shown}")]


def judge_core() -> list[Finding]:
    """Whether the C core is there and loads."""
    try:
        core = choose.load()
    except CometKMSError as error:
        return [fail(AREA, f"the C core does not load: {error}", "build it anew (pip install . with a C compiler)")]
    if core.name == "pure" or choose.chosen_name() == "pure":
        return [
            warn(
                AREA,
                "the pure-Python core is used: slower, and without the shared-memory ring",
                "a C compiler, then pip install .",
            )
        ]
    return [ok(AREA, "the C core is there")]


def judge_running(status: Mapping[str, Any]) -> list[Finding]:
    """The program that runs may be older than the one that is installed."""
    running = str((status.get("node") or {}).get("version") or "")
    if running and running != __version__:
        return [
            note(
                AREA,
                f"the running node is CometKMS {running}, and {__version__} is installed",
                "restart the node to run that",
            )
        ]
    return []


def judge_differences(differences: list[Mapping[str, Any]]) -> list[Finding]:
    """What other members said of their settings, where it matters and differs."""
    return [
        warn(
            "config",
            f"{one.get('member')} differs in {one.get('what')}: here {one.get('here')}, there {one.get('there')}",
            "the same version on every node, once the upgrade is through"
            if one.get("what") == "version"
            else "the same on every node, or a reason that you know",
        )
        for one in differences
    ]
