"""pysyncobj 0.3.17, with the module globals that make it deterministic, pickle-free and durable
replaced and asserted.

Everything of the library that is not a public argument is named here; another version, or one in
which a global is missing, is refused at import. The replacements serve the RaftLog that is running
(`running`): several may live in one process.
"""

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgpack

from cometkms.spared import spared

# What its own journal, snapshots and connections are made with; others stand in their place here.
with spared("pysyncobj.pickle", "gzip", "shutil"):
    import pysyncobj
    import pysyncobj.syncobj as library
    from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf, replicated
    from pysyncobj.config import SERIALIZER_STATE
    from pysyncobj.node import Node
    from pysyncobj.transport import Transport
    from pysyncobj.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cometkms.state.raft.log import RaftLog

PINNED: Final = "0.3.17"
_GLOBALS: Final = (
    "createJournal",
    "createPoller",
    "monotonicTime",
    "random",
    "pickle",
    "Serializer",
    "PIPE_NOTIFIER_ENABLED",
)

if VERSION != PINNED:
    raise ImportError(
        f"pysyncobj {PINNED} is needed exactly, and {VERSION} is installed; cure: pip install pysyncobj=={PINNED}"
    )
for _name in _GLOBALS:
    if not hasattr(library, _name):
        raise ImportError(f"pysyncobj.syncobj has no {_name}: it is not the {PINNED} that was audited")

logging.getLogger("pysyncobj").addHandler(logging.NullHandler())


class _Running:
    """Which RaftLog the library is working for just now."""

    log: "RaftLog"


running: Final = _Running()


@contextmanager
def working_for(log: "RaftLog") -> "Iterator[None]":
    """Every call into the library is made inside: where the log stands may be another
    place afterwards.
    """
    running.log = log
    try:
        yield
    finally:
        log.forget_facts()


def _clock() -> float:
    return running.log.library_clock()


class _Random:
    def random(self) -> float:
        return running.log.rng.random()


class _NoPoller:
    """Nothing is polled: frames are handed in."""

    def subscribe(self, *_: object) -> None: ...

    def unsubscribe(self, *_: object) -> None: ...

    def poll(self, _timeout: float) -> None: ...


class _NoPickle:
    """Commands as msgpack: no byte that came from another node is unpickled."""

    @staticmethod
    def dumps(value: Any) -> bytes:
        packed: bytes = msgpack.packb(value)
        return packed

    @staticmethod
    def loads(data: bytes) -> Any:
        return msgpack.unpackb(data, use_list=False)


class _Snapshots:
    """Take the place of the library's Serializer: no file of its own, no fork; the snapshot lives
    in the journal.
    """

    def __init__(self, *_: object) -> None:
        self._log = running.log
        self._taken: int | None = None

    def checkSerializing(self) -> tuple[Any, int | None]:  # noqa: N802 - the library's name
        taken, self._taken = self._taken, None
        state = SERIALIZER_STATE.NOT_SERIALIZING if taken is None else SERIALIZER_STATE.SUCCESS
        return state, taken

    def serialize(self, data: Any, number: int) -> None:
        self._log.take_snapshot(data[2], data[1])
        self._taken = number

    def deserialize(self) -> tuple[None, Any, Any, tuple[()]]:
        before_last, last = self._log.load_snapshot()
        return None, last, before_last, ()

    def getTransmissionData(self, _node: object) -> tuple[bytes, bool, bool]:  # noqa: N802
        return self._log.snapshot_blob(), True, True

    def setTransmissionData(self, data: tuple[bytes, bool, bool]) -> bool:  # noqa: N802
        return self._log.stage_snapshot(data[0])

    def cancelTransmisstion(self, _node: object) -> None: ...  # noqa: N802


def next_deadline(replica: SyncObj) -> float:
    """Return when the library has something to do without being told: stand for election, or send
    its heartbeat.
    """
    name = "newAppendEntriesTime" if replica._isLeader() else "raftElectionDeadline"
    return float(getattr(replica, f"_SyncObj__{name}"))


library.createJournal = lambda _file: running.log.journal
library.createPoller = lambda _kind: _NoPoller()
library.monotonicTime = _clock
library.random = _Random()
library.pickle = _NoPickle
library.Serializer = _Snapshots
library.PIPE_NOTIFIER_ENABLED = False

__all__ = [
    "FAIL_REASON",
    "Node",
    "SyncObj",
    "SyncObjConf",
    "Transport",
    "next_deadline",
    "pysyncobj",
    "replicated",
    "running",
    "working_for",
]
