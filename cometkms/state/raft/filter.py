"""What stands between the network and pysyncobj: every message, both ways (research: the audit's
S01 to S27). No private attribute.

| message           | let in only                                                                                              |
|-------------------|----------------------------------------------------------------------------------------------------------|
| any               | if its numbers are believable (steps.py)                                                                 |
| request_vote      | if no leader was heard within an election timeout, or it says that a leader handed over; one of an old   |
|                   | term is answered with the newer one                                                                      |
| response_vote     | of this term, once per voter                                                                             |
| append_entries    | of the member whose term it is; entries already held are stripped, so that nothing acked is truncated;   |
|                   | the commit index never beyond what this message verified; a snapshot only if newer than the commit;      |
|                   | no more entries beyond the commit than a leader waits for a majority with                                |
| next_node_idx     | of this term; an ack never beyond this leader's log; a reset never below what that node acked            |
| timeout_now       | from this term's leader                                                                                  |
| x_newer_term      | adopts the term, grants nothing: a deposed leader learns that it is one                                  |

A node that lost its journal votes and acks like any other (rule 12). What that costs: entries that
were committed with its ack may be missing from the next leader's log. They are hints. A node that
had committed them sees the contradiction here, also where the leader's log ends before them, and
its log begins anew in place: term, vote and the state machine stay what they are, so a leader that
lies gains nothing by it.
"""

from collections.abc import Callable
from typing import Any, Final

from cometkms.limits import RAFT_UNCOMMITTED_MAX
from cometkms.state.raft.journal import Journal
from cometkms.state.raft.steps import unbelieved
from cometkms.state.raft.wire import decode_snapshot

_KEPT_TERMS: Final = 64  # of bookkeeping; older terms are over
Message = dict[str, Any]


class ContradictionError(Exception):
    """The leader contradicts what is committed here: the two logs cannot both be right."""


class UnbelievedError(Exception):
    """What a member says cannot be true, whatever happened to it: it moves nothing."""


class RaftFilter:
    """`inbound` gives the message for the library (or None) and the replies; `outbound` the message
    to send (or None).
    """

    def __init__(
        self,
        journal: Journal,
        clock: Callable[[], float],
        sticky_s: float,
        members: tuple[str, ...],
        unix_s: Callable[[], float],
    ) -> None:
        """`sticky_s`: how long a vote is refused after the leader was heard (Raft's
        dissertation, 4.2.3). `members`: all of them. `unix_s`: the calendar's seconds,
        by which the ceilings grow.
        """
        self._journal = journal
        self._clock = clock
        self._unix_s = unix_s
        self._ranks = tuple(sorted(members))
        self._sticky_s = sticky_s
        self._votes: set[tuple[int, str]] = set()
        self._acked: dict[tuple[int, str], int] = {}
        self._verified: dict[int, int] = {}
        self._leaders: dict[int, str] = {}
        self.leader_heard_at = -1e9  # by the clock
        self.leader_said_at = -1e9  # in its own words: promises that it asked for do not count
        self._in_snapshot = False
        # the log began anew, and no leader has filled it since: what was acked before is no more
        self._anew = False
        self._waiting_vote: tuple[str, Message, float] | None = None
        self.transferring = False  # the vote that is asked next was wished by the leader

    def leader_of(self, term: int) -> str | None:
        """Who sent entries in that term."""
        return self._leaders.get(term)

    def acked(self, term: int, peer: str) -> int:
        """The highest index a peer acknowledged to this leader in that term."""
        return self._acked.get((term, peer), 0)

    def forget_acks(self, peer: str) -> None:
        """Its connection is a new one, and so may be its journal: what it says next is believed,
        not what it held before.
        """
        self._acked = {key: index for key, index in self._acked.items() if key[1] != peer}

    def begin_anew(self) -> None:
        """The journal is empty: nothing of it was verified against a leader or acked to one."""
        self._acked, self._verified, self._anew = {}, {}, True

    @property
    def leader_heard_s(self) -> float:
        """Seconds since a leader's append_entries was last heard; endless once its
        connection closed.
        """
        return self._clock() - self.leader_heard_at

    def hear_leader(self) -> None:
        """This term's leader said just now that it leads."""
        self.leader_heard_at = self.leader_said_at = self._clock()
        self._waiting_vote = None

    def leader_gone(self) -> tuple[str, Message] | None:
        """The leader's connection closed: votes are free again.

        A vote refused a moment ago is to be asked again.
        """
        self.leader_heard_at = self.leader_said_at = -1e9
        waiting, self._waiting_vote = self._waiting_vote, None
        if waiting is None or self._clock() - waiting[2] > self._sticky_s:
            return None
        return waiting[0], waiting[1]

    def _forget_old(self, term: int) -> None:
        oldest = term - _KEPT_TERMS
        if oldest > 0 and len(self._leaders) > _KEPT_TERMS:
            self._votes = {one for one in self._votes if one[0] > oldest}
            self._acked = {key: value for key, value in self._acked.items() if key[0] > oldest}
            self._verified = {key: value for key, value in self._verified.items() if key > oldest}
            self._leaders = {key: value for key, value in self._leaders.items() if key > oldest}

    # --- out ---

    def outbound(self, term: int, message: Message) -> Message | None:
        """Stamp, or hold back, what the library sends."""
        kind = message["type"]
        if kind == "request_vote":
            return {**message, "x_transfer": self.transferring}
        if kind == "next_node_idx":
            message = {**message, "x_term": term}
            if message["success"] and self._in_snapshot:
                message["next_node_idx"] = (
                    self._journal[1][1] + 1
                )  # a tail that was kept is not verified against this leader
            if message["success"]:
                self._anew = False
                self._verified[term] = max(self._verified.get(term, 0), message["next_node_idx"] - 1)
            return message
        if kind == "append_entries" and message.get("serialized"):
            return {**message, "x_snap": self._journal[1][1]}
        return message

    # --- in ---

    def inbound(
        self, src: str, message: Message, *, term: int, commit: int, leading: bool
    ) -> tuple[Message | None, list[Message]]:
        """`term`, `commit`, `leading`: the library's own.

        Raises: UnbelievedError, ContradictionError, ProtocolError.
        """
        self._in_snapshot = False
        why = unbelieved(src, message, self._ranks, self._unix_s())
        if why:
            raise UnbelievedError(why)
        match message["type"]:
            case "request_vote":
                newer = [{"type": "x_newer_term", "term": term}] if message["term"] < term else []
                return self._request_vote(src, message, term, leading), newer
            case "x_newer_term":
                return (None if message["term"] <= term else adopt_term(message["term"])), []
            case "response_vote":
                key = (message["term"], src)
                if message["term"] != term or key in self._votes:
                    return None, []
                self._votes = {one for one in self._votes if one[0] == term} | {key}
                return message, []
            case "timeout_now":
                if message["term"] != term or self._leaders.get(term) != src:
                    return None, []
                self.transferring = True
                return message, []
            case "next_node_idx":
                return self._ack(src, message, term), []
            case _:
                return self._append_entries(src, message, term, commit)

    def _request_vote(self, src: str, message: Message, term: int, leading: bool) -> Message | None:
        wished = bool(message.get("x_transfer"))
        heard_now = leading or self._clock() - self.leader_heard_at < self._sticky_s
        plain = {name: message[name] for name in ("type", "term", "last_log_index", "last_log_term")}
        if message["term"] > term and heard_now and not wished:
            self._waiting_vote = (src, plain, self._clock())
            return None
        return plain

    def _ack(self, src: str, message: Message, term: int) -> Message | None:
        if message["x_term"] != term:
            return None
        key, end = (term, src), self._journal[-1][1]
        if message.get("x_anew"):
            self._acked.pop(key, None)
        if message["success"] and message["next_node_idx"] > end + 1:
            raise UnbelievedError(f"{src} acks up to {message['next_node_idx'] - 1}, and the log ends at {end}")
        if message["success"]:
            self._acked[key] = max(self._acked.get(key, 0), message["next_node_idx"] - 1)
        elif message["reset"] and message["next_node_idx"] <= self._acked.get(key, 0):
            return {**message, "next_node_idx": self._acked[key] + 1}
        return message

    def _append_entries(
        self, src: str, message: Message, term: int, commit: int
    ) -> tuple[Message | None, list[Message]]:
        if message["term"] < term:
            return None, [{"type": "x_newer_term", "term": term}]
        self._forget_old(message["term"])
        self._leaders[message["term"]] = src
        self.hear_leader()
        if "prevLogIdx" not in message:
            return self._snapshot(message, commit)
        return self._entries(message, commit)

    def _snapshot(self, message: Message, commit: int) -> tuple[Message | None, list[Message]]:
        if not message.get("serialized"):
            return {**message, "commit_index": min(message["commit_index"], commit)}, []
        end = decode_snapshot(message["serialized"][0])[1][1]
        if end <= commit:  # it would only move the state machine backwards
            return {**message, "commit_index": min(message["commit_index"], commit), "serialized": None}, [
                _reset(message["term"], commit + 1, success=False)
            ]
        self._in_snapshot = True
        return {
            **message,
            "commit_index": end,
        }, []  # what it holds is committed: the library counts up to there one by one else

    def _entries(self, message: Message, commit: int) -> tuple[Message | None, list[Message]]:
        journal, term = self._journal, message["term"]
        before, before_term = message["prevLogIdx"], message["prevLogTerm"]
        entries = message.get("entries") or ()
        beat = {"type": "append_entries", "term": term, "commit_index": commit}
        if (
            before is None
        ):  # it was asked for what follows the last entry that is committed here, and does not have that one
            raise ContradictionError(f"the leader's log ends before the commit index {commit}")
        if journal.term_at(before) != before_term:
            if before <= commit and journal.term_at(before) is not None:
                raise ContradictionError(f"the leader disagrees at {before}, below the commit index {commit}")
            verified = self._verified.get(term, 0)
            # all that is committed agrees with any leader
            wanted = min(max(commit, verified), journal[-1][1]) + 1
            if journal[0][1] >= wanted:
                wanted, verified = journal[0][1] + 1, 0
            success = verified > 0 and wanted == verified + 1
            reply = _reset(term, wanted, success=success)
            return beat, [{**reply, "x_anew": True} if self._anew else reply]
        if entries and entries[0][1] != before + 1:
            raise UnbelievedError(f"entries from {entries[0][1]} follow {before}")
        held = 0
        while held < len(entries) and journal.term_at(entries[held][1]) == entries[held][2]:
            before, before_term = entries[held][1], entries[held][2]
            held += 1
        rest = entries[held:]
        if not rest:
            commit_index = min(message["commit_index"], before)
            if before == journal[-1][1]:
                return {
                    **beat,
                    "commit_index": commit_index,
                    "prevLogIdx": before,
                    "prevLogTerm": before_term,
                    "entries": [],
                }, []
            # The log is longer than this message covers: its effect is a heartbeat's, and what it
            # verified is acked here.
            self._verified[term] = max(self._verified.get(term, 0), before)
            ack = {
                "type": "next_node_idx",
                "next_node_idx": before + 1,
                "reset": False,
                "success": True,
                "x_term": term,
            }
            return {**beat, "commit_index": max(commit, min(commit_index, before))}, [ack]
        if rest[0][1] <= commit:
            raise ContradictionError(f"the leader overwrites {rest[0][1]}, and {commit} is committed")
        commit_index = min(message["commit_index"], rest[-1][1])
        if (waiting := rest[-1][1] - max(commit, commit_index)) > RAFT_UNCOMMITTED_MAX:
            raise UnbelievedError(
                f"{waiting} entries without a majority, and no leader waits with more than {RAFT_UNCOMMITTED_MAX}"
            )
        return {
            **beat,
            "commit_index": commit_index,
            "prevLogIdx": before,
            "prevLogTerm": before_term,
            "entries": [tuple(one) for one in rest],
        }, []


def adopt_term(term: int) -> Message:
    """A vote request that cannot win: the library takes over the term and grants nothing."""
    return {"type": "request_vote", "term": term, "last_log_index": 0, "last_log_term": -1}


def _reset(term: int, next_index: int, *, success: bool) -> Message:
    return {"type": "next_node_idx", "next_node_idx": next_index, "reset": True, "success": success, "x_term": term}
