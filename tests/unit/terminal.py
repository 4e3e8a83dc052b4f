"""What a program wrote on a terminal of its own."""

import os


def read_to_end(terminal: int) -> bytes:
    """All that is shown until the other end is closed; it comes in parts."""
    shown = b""
    try:
        while part := os.read(terminal, 4096):
            shown += part
    except OSError:  # the other end is closed, and nothing is left
        pass
    return shown
