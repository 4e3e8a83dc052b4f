"""The replicated sign state and the election: pysyncobj, hardened from outside, sans-I/O.

The only importer of pysyncobj.

It gives liveness: who leads, and the last sign state on every node. What may be signed never rests
on it (docs/SAFETY.md).
"""

from cometkms.state.raft.log import RaftLog

__all__ = ["RaftLog"]
