"""Notice that the open promise store is not the file of its name any more.

What is promised into such a file is durable for nobody: the next start looks for the store by its
name. So nothing more is promised, and the node says why, until that very file is back.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from cometkms.durable import why_gone
from cometkms.errors import os_words
from cometkms.logger import Logger
from cometkms.state.facts import STORE_FACT, STORE_GONE
from cometkms.state.node import ClusterNode
from cometkms.store.promise_store import STORE_NAME, PromiseStore

CURE: Final = "put that very file back under its name, no copy: it goes on by itself. Else do not restart this node before docs/RUNBOOK.md, store_gone, is read"


def watch_store(
    store: PromiseStore, node: ClusterNode, log: Logger, publish_soon: Callable[[], None]
) -> Callable[[], None]:
    """What is to be called at each heartbeat, in the directory in which the store lies."""

    def on_store(gone: str) -> None:
        let_promise(node, gone)
        publish_soon()

    return StoreWatch(store.path, store.fileno(), log, on_store).look


def let_promise(node: ClusterNode, gone: str) -> None:
    """Nothing more, and no lead, while the store is gone (why); else ("") as before. Membership
    has it.
    """
    node.membership.on_store(gone)
    node.roster.tell_fact(STORE_FACT, STORE_GONE if gone else "")
    node.leadership.hold()
    node.leadership.update_lease()


class StoreWatch:
    """Looks at each heartbeat of the process that keeps the store, in whose directory it works."""

    def __init__(self, path: Path, fd: int, log: Logger, on_store: Callable[[str], None]) -> None:
        """`path`: for people. `on_store` hears each change: why it is gone, or "": it is back."""
        self._path, self._fd, self._log, self._on_store = path, fd, log, on_store
        self._inside = Path.cwd()
        self._gone = ""

    def look(self) -> None:
        """What on_store() raises."""
        try:
            why = why_gone(Path(STORE_NAME), self._fd, self._inside)
        except OSError as error:  # a disk that fails says so to the next write
            self._log.debug("the store cannot be looked at", why=os_words(error))
            return
        gone = f"the promise store {self._path} is gone: {why}" if why else ""
        if gone == self._gone:
            return
        self._gone = gone
        if gone:
            self._log.error("nothing is promised", why=gone, cure=CURE)
        else:
            self._log.warning("the promise store is back", path=str(self._path))
        self._on_store(gone)
