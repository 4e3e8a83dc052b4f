"""The replicated sign state and the election: pysyncobj, hardened from outside, sans-I/O. The only importer of pysyncobj.

It gives liveness: who leads, and the last sign state on every node. What may be signed never rests on it (docs/SAFETY.md).
"""

from cometkms.raftlog.journal import discard_journal
from cometkms.raftlog.log import RaftBrokenError, RaftLog

__all__ = ["RaftBrokenError", "RaftLog", "discard_journal"]
