"""`cmkms status` for a person."""

from typing import Any

import pytest

from cometkms.cli.status import table

THREE: dict[str, Any] = {
    "is_leader": False,
    "leader_id": "node1",
    "healthy": True,
    "term": 4,
    "epoch": 1,
    "members": [
        {"id": "node0", "self": True, "connected": True, "state": "complete"},
        {"id": "node1", "self": False, "connected": True, "state": "starting"},
        {"id": "node2", "self": False, "connected": False, "state": "complete", "error": "h:1: connection refused"},
        {"id": "node3", "self": False, "connected": False, "state": None, "error": ""},
    ],
    "node": {"id": "node0"},
}


def lines_of(document: dict[str, Any]) -> list[str]:
    lines = table(document)
    start = next((number for number, line in enumerate(lines) if line.startswith("cluster")), len(lines))
    return lines[start:]


def test_a_follower_names_the_leader_and_who_is_there() -> None:
    assert lines_of(THREE) == [
        "cluster   node1 leads, term 4, epoch 1",
        "          node0 (this node)  complete",
        "          node1  starting",
        "          node2  away: h:1: connection refused",
        "          node3  away",
    ]


def test_what_a_silent_state_process_does_not_tell_is_not_made_up() -> None:
    chain = {"chain_id": "chain-a", "watermark": None}
    silent = {"healthy": False, "node": {"id": ""}, "situation": {"leads": "unknown"}, "chains": [chain]}
    told = table(silent)
    assert told[0] == "node      name not known  NOT HEALTHY, whether it leads is not known"
    assert "chain     chain-a  its place is not known" in told
    assert "None" not in "".join(one for one in told if one.startswith("chain"))


def test_without_a_leader_it_says_so() -> None:
    assert lines_of({**THREE, "leader_id": None})[0].startswith("cluster   nobody leads")


@pytest.mark.parametrize("members", [[], THREE["members"][:1]])
def test_one_node_alone_has_no_cluster(members: list[dict[str, Any]]) -> None:
    assert lines_of({**THREE, "members": members}) == []


def test_an_agent_says_of_itself_what_it_sees_from_there() -> None:
    link = {
        "name": "agent:sentry-a",
        "requests": 7,
        "without_lead": 2,
        "about": {"host": "h", "links": "node0 0.31 ms, node1 away"},
    }
    lines = table({**THREE, "agents": {"door": {}, "links": [link]}})
    assert "agent     sentry-a  says: host h, links node0 0.31 ms, node1 away; 2 served here without the lead" in lines


def test_bytes_that_are_no_vote_are_shown_where_any_were_signed() -> None:
    def shown(**counters: object) -> list[str]:
        chain = {"chain_id": "c", "counters": {"signed": 1, **counters}}
        return [line.strip() for line in table({**THREE, "chains": [chain]}) if "signed bytes" in line]

    assert shown() == shown(signed_values=0, signed_raw={}) == []
    assert shown(signed_values=3, signed_raw={"fibre/pp:v0": 2}) == ["signed bytes: SignBytes 3, fibre/pp:v0 2"]
    assert shown(signed_raw={"fibre/pp:v0": 2}) == ["signed bytes: fibre/pp:v0 2"]
