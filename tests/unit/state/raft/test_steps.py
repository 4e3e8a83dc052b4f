"""What a member that lies says to the replicated log: it is refused with a reason, and moves
nothing that is durable.
"""

from pathlib import Path
from typing import Any

import pytest

from cometkms.limits import RAFT_COUNTED_FROM_UNIX_S, RAFT_INDEX_ROOM, RAFT_TERM_ROOM
from cometkms.state.raft import RaftLog, wire
from cometkms.state.raft.steps import index_ceiling, owner, term_ceiling, unbelieved
from tests.unit.state.raft.test_log import KEY, NAMES, Net, leader_of, mark

NOW = RAFT_COUNTED_FROM_UNIX_S + 10.0
FAR = (1 << 62) - 1
NOOP = b"\x01"
LIES: dict[str, dict[str, Any]] = {
    "a candidate's term": {"type": "request_vote", "term": FAR, "last_log_index": 1, "last_log_term": 0},
    "a candidate of another's term": {"type": "request_vote", "term": "foreign", "last_log_index": 9, "last_log_term": 0},
    "a candidate's last index": {"type": "request_vote", "term": "own", "last_log_index": FAR, "last_log_term": 0},
    "a candidate's last term": {"type": "request_vote", "term": "own", "last_log_index": 9, "last_log_term": FAR},
    "a newer term": {"type": "x_newer_term", "term": FAR},
    "a vote's term": {"type": "response_vote", "term": FAR},
    "a leader's term": {"type": "append_entries", "term": FAR, "commit_index": 1, "prevLogIdx": 1, "prevLogTerm": 0, "entries": ()},
    "the leader of another's term": {
        "type": "append_entries", "term": "leader's", "commit_index": 1, "prevLogIdx": 1, "prevLogTerm": 0, "entries": (),
    },
    "a commit index": {"type": "append_entries", "term": "own", "commit_index": FAR, "prevLogIdx": 1, "prevLogTerm": 0, "entries": ()},
    "the index before": {"type": "append_entries", "term": "own", "commit_index": 1, "prevLogIdx": FAR, "prevLogTerm": 0, "entries": ()},
    "entries that do not follow": {
        "type": "append_entries", "term": "own", "commit_index": 1, "prevLogIdx": 1, "prevLogTerm": 0, "entries": ((NOOP, 9, 0),),
    },
    "an entry's term": {
        "type": "append_entries", "term": "own", "commit_index": 1, "prevLogIdx": 1, "prevLogTerm": 0, "entries": ((NOOP, 2, FAR),),
    },
    "a snapshot's index": {
        "type": "append_entries", "term": "own", "commit_index": 1, "x_snap": 5,
        "serialized": (wire.encode_snapshot((NOOP, FAR - 1, 0), (NOOP, FAR, 0), []), True, True),
    },
    "a snapshot's term": {
        "type": "append_entries", "term": "own", "commit_index": 1, "x_snap": 5,
        "serialized": (wire.encode_snapshot((NOOP, 4, 0), (NOOP, 5, FAR), []), True, True),
    },
    "an ack of what is not there": {"type": "next_node_idx", "next_node_idx": 1 << 30, "reset": False, "success": True, "x_term": "leader's"},
    "an ack far away": {"type": "next_node_idx", "next_node_idx": FAR, "reset": True, "success": False, "x_term": "leader's"},
    "a wish for entry 0": {"type": "next_node_idx", "next_node_idx": 0, "reset": True, "success": False, "x_term": "leader's"},
}  # fmt: skip


@pytest.fixture
def net(tmp_path: Path) -> Net:
    made = Net(tmp_path)
    made.run(1.0)
    leader_of(made).submit(KEY, mark(5))
    made.run(0.5)
    return made


def durable(one: RaftLog) -> tuple[object, ...]:
    """What a restart would find, and the state machine."""
    entries = [one.journal[number] for number in range(len(one.journal))]
    return one.journal.term, one.journal.voted_for, one.journal.snapshot, entries, one.commit_index, dict(one.fsm)


def told(net: Net, lie: dict[str, Any], liar: str) -> dict[str, Any]:
    """The lie with the terms that are meant: the liar's own next one, another's, the
    present leader's.
    """
    term = leader_of(net).term
    own = next(one for one in range(term + 1, term + 4) if owner(one, NAMES) == liar)
    meant = {"own": own, "foreign": own + 1, "leader's": term}
    return {
        name: meant.get(value, value) if type(value) is str and name != "type" else value for name, value in lie.items()
    }


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_moves_nothing_and_is_answered_with_a_reason(net: Net, lie: str) -> None:
    """Told to both others a hundred times by a follower; afterwards the cluster elects and
    replicates without the liar.
    """
    liar = next(one._me for one in net.logs.values() if one is not leader_of(net))
    others = [one for name, one in net.logs.items() if name != liar]
    message = told(net, LIES[lie], liar)
    victims = [one for one in others if one.leading] if message["type"] == "next_node_idx" else others
    payload = wire.encode(message)
    for one in victims:
        before = durable(one)
        for _ in range(100):
            assert liar in one.on_message(liar, payload) or "entries from 9" in one.on_message(liar, payload)
        assert durable(one) == before
    term = leader_of(net).term
    net.stop(liar)
    net.away = {leader_of(net)._me}
    net.run(0.5)
    net.away = set()
    net.run(2.0)
    leader_of(net).submit(KEY, mark(6))
    net.run(1.0)
    assert {one.fsm[KEY].hrs.height for one in net.logs.values()} == {6}
    assert leader_of(net).term < term + 1000


def test_a_leader_whose_log_contradicts_costs_no_term_no_vote_and_no_sign_state(net: Net) -> None:
    """The mismatched index: a liar leads in a term of its own and disagrees below what is
    committed. The log is filled again by whoever leads next; a second contradiction within a second
    moves nothing at all.
    """
    leader = leader_of(net)
    follower, liar = (one for one in net.logs.values() if one is not leader)
    lie = wire.encode(told(net, LIES["the index before"] | {"prevLogIdx": 2, "prevLogTerm": 1}, liar._me))
    for one in (follower, leader):
        kept = durable(one)[:2], dict(one.fsm)
        assert one.on_message(liar._me, lie) == ""
        assert (durable(one)[:2], one.fsm) == kept
        assert one.last_index == 1
        if one is follower:
            net.run(0.3)
            assert one.last_index == leader.last_index
            before = durable(one)
            assert "again" in one.on_message(liar._me, lie)
            assert durable(one) == before
    gone = liar._me
    net.stop(gone)
    net.run(3.0)
    leader_of(net).submit(KEY, mark(6))
    net.run(1.0)
    assert {one.fsm[KEY].hrs.height for one in net.logs.values()} == {6}
    again = net.start(gone)
    net.connect()
    net.run(2.0)
    assert again.fsm[KEY].hrs.height == 6


def test_the_ceilings_grow_with_the_calendar_and_leave_room_for_an_age() -> None:
    assert term_ceiling(0.0) == term_ceiling(NOW - 10) == RAFT_TERM_ROOM
    assert index_ceiling(0.0) == RAFT_INDEX_ROOM
    assert term_ceiling(NOW + 1) > term_ceiling(NOW)
    century_s = 100 * 365 * 86400
    assert term_ceiling(NOW + century_s) < FAR / 16
    assert index_ceiling(NOW + century_s) < FAR / 16


def test_what_is_at_the_ceiling_is_believed() -> None:
    """Whoever was raised to it by a liar is believed by those that were away."""
    top = term_ceiling(NOW)
    own = next(top - back for back in range(3) if owner(top - back, NAMES) == "b")
    vote = {"type": "request_vote", "term": own, "last_log_index": index_ceiling(NOW), "last_log_term": own - 1}
    assert unbelieved("b", vote, NAMES, NOW) == ""
    assert "no term above" in unbelieved("b", {**vote, "term": own + 3}, NAMES, NOW)
    assert unbelieved("b", {**vote, "term": own + 3}, NAMES, NOW + 1) == ""
