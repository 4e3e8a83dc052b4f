"""What code needs of a log: one event a line, with fields.

`cometkms.log.Log` is one; tests give others.
"""

from typing import Protocol


class Logger(Protocol):
    """Says what happened, at one of four levels. No call blocks or raises (`cometkms/log.py`)."""

    def debug(self, event: str, **fields: object) -> None:
        """Log an event for whoever looks for a fault."""
        ...

    def info(self, event: str, **fields: object) -> None:
        """Something happened that an operator may want to know."""
        ...

    def warning(self, event: str, **fields: object) -> None:
        """Something is not as it should be, and the node goes on."""
        ...

    def error(self, event: str, **fields: object) -> None:
        """Something failed, and an operator has to look."""
        ...
