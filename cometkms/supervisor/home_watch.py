"""Notice that the home's lock file is no longer the one that this node holds, and hold it anew."""

from pathlib import Path
from typing import Final

from cometkms.errors import CometKMSError
from cometkms.store.lock import LOCK_NAME, hold_anew
from cometkms.supervisor.child import SupervisorLog

#: Of a home that was moved, say: whoever made a new one at its name would have two.
_CURE: Final = "put the home of this running node back as it was, or stop the node; make no other one at its name"


class HomeWatch:
    """Looks when it is asked; never raises."""

    def __init__(self, home: Path, lock: int, log: SupervisorLog) -> None:
        self._home, self._lock, self._log = home, lock, log
        self._why = ""

    def look(self) -> str:
        """Why the lock is not held, which is logged once an episode; "": it is."""
        try:
            was_gone = hold_anew(self._home, self._lock)
        except CometKMSError as error:
            if error.what != self._why:
                self._why = error.what
                self._log.error("the home's lock is not held", why=error.what, cure=_cure(error))
            return self._why
        self._why = ""
        if was_gone:
            self._log.error(
                "the home's lock file was removed or replaced, and is held anew",
                file=str(self._home / LOCK_NAME),
                cure="leave it alone while a node runs: it keeps commands for stopped nodes out",
            )
        return ""


def _cure(error: CometKMSError) -> str:
    """A file that cannot be made has its own cure; a home that is not there at its name has ours."""
    return _CURE if isinstance(error.__cause__, FileNotFoundError) or not error.cure else error.cure
