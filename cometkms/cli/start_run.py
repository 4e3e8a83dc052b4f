"""What `cmkms start` runs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cometkms.cli.loading import loading

if TYPE_CHECKING:
    from cometkms.config.table import Flags


def run_plainly(home: Path) -> int:
    """Run the node of that home with the settings of its file and of the environment; the exit
    code.

    Raises: CometKMSError when it cannot start.
    """
    with loading():
        from cometkms.config.table import Flags
    return run_node(home, Flags())


def run_node(home: Path, flags: "Flags") -> int:
    """Run the node of that home until it is told to stop; the exit code.

    Raises: CometKMSError when it cannot start.
    """
    with loading():
        from cometkms.config.load import load_settings
        from cometkms.keys.validator_key import load_sealed
        from cometkms.log import Log
        from cometkms.supervisor import start as node

    settings = load_settings(home, flags, here=True)
    typed = None
    keys = [chain.key_file for chain in settings.chains]
    # nobody is there otherwise, and the start says what to configure
    asks = settings.key_passphrase is None and sys.stdin.isatty()
    if asks and any(load_sealed(path) is not None for path in keys):
        with loading():
            from cometkms.cli.passphrase import to_open
        typed = to_open(keys, settings)
    return node.run(settings, Log(settings.log_level, settings.log_format, node=settings.id), flags, typed)
