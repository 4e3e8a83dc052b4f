"""What the signing code needs of a log: one event a line, with fields. `cometkms.log.Log` is one."""

from typing import Protocol


class EventLog(Protocol):
    """See cometkms.log."""

    def debug(self, event: str, **fields: object) -> None: ...

    def info(self, event: str, **fields: object) -> None: ...

    def warning(self, event: str, **fields: object) -> None: ...

    def error(self, event: str, **fields: object) -> None: ...
