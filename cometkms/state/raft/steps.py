"""Which numbers of a Raft message are believed (docs/ARCHITECTURE.md, rule 12).

Pure: the time comes in.

| of a message                                   | is believed                                                                    |
|------------------------------------------------|--------------------------------------------------------------------------------|
| a term                                         | up to the term ceiling; a candidate's and a leader's only if it is its own     |
| the term of a log's last entry, of an entry    | up to the message's own                                                        |
| an index: last, before, commit, of an entry    | up to the index ceiling; a snapshot's is read from the snapshot itself         |
| the next index that a follower wants           | from 1; what it says it holds: up to the end of this leader's log              |

A ceiling grows with the calendar: room that no honest cluster has ever used, and a rate that none
keeps up. So a member that lies can use up neither terms nor indices, in a thousand years; whatever
it raised, those that are left believe each other, because all of them have the same ceiling; and a
node that was away for long believes whoever was there. A wrong clock costs a message, never safety.
"""

from collections.abc import Mapping
from typing import Any

from cometkms.limits import (
    RAFT_COUNTED_FROM_UNIX_S,
    RAFT_INDEX_PER_S,
    RAFT_INDEX_ROOM,
    RAFT_TERM_PER_S,
    RAFT_TERM_ROOM,
)
from cometkms.state.raft.wire import decode_snapshot


def term_ceiling(unix_s: float) -> int:
    """The highest term that is believed at that time, in seconds since 1970."""
    return RAFT_TERM_ROOM + RAFT_TERM_PER_S * _seconds(unix_s)


def index_ceiling(unix_s: float) -> int:
    """The highest index of the log that is believed at that time, in seconds since 1970."""
    return RAFT_INDEX_ROOM + RAFT_INDEX_PER_S * _seconds(unix_s)


def _seconds(unix_s: float) -> int:
    return max(0, int(unix_s) - RAFT_COUNTED_FROM_UNIX_S)


def owner(term: int, members: tuple[str, ...]) -> str:
    """The one of the members, sorted, that may stand and lead in a term (rule 12)."""
    return members[term % len(members)]


def unbelieved(src: str, message: Mapping[str, Any], members: tuple[str, ...], unix_s: float) -> str:
    """Why a member's message, well formed, is not believed; "" when it is. `members`: all, sorted.
    Raises: ProtocolError for a snapshot that is none.
    """
    kind = message["type"]
    term = message["x_term"] if kind == "next_node_idx" else message["term"]
    if term > term_ceiling(unix_s):
        return f"{src} says term {term}, and no term above {term_ceiling(unix_s)} is believed now"
    if kind in ("request_vote", "append_entries") and owner(term, members) != src:
        return f"{src} {'leads' if kind == 'append_entries' else 'stands'} in term {term}, which is {owner(term, members)}'s"
    indices, terms = _shown(kind, message)
    if max(indices, default=0) > index_ceiling(unix_s):
        return f"{src} says index {max(indices)}, and no index above {index_ceiling(unix_s)} is believed now"
    if max(terms, default=0) > term:
        return f"{src} shows an entry of term {max(terms)} in a message of term {term}"
    if kind == "next_node_idx" and message["next_node_idx"] < 1:
        return f"{src} wants the entry {message['next_node_idx']}, and the first is 1"
    return ""


def _shown(kind: str, message: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    """All indices and all terms of entries that a message names."""
    match kind:
        case "request_vote":
            return [message["last_log_index"]], [message["last_log_term"]]
        case "next_node_idx":
            return [message["next_node_idx"]], []
        case "append_entries":
            entries = list(message.get("entries") or ())
            if message.get("serialized"):
                entries += decode_snapshot(message["serialized"][0])[:2]
            before, before_term = message.get("prevLogIdx"), message.get("prevLogTerm")
            indices = [message["commit_index"], before or 0, message.get("x_snap") or 0]
            return indices + [one[1] for one in entries], [before_term or 0, *(one[2] for one in entries)]
        case _:
            return [], []
