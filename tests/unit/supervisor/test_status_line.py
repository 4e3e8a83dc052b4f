"""The line that `systemctl status` shows."""

from typing import Any

import pytest

from cometkms.supervisor.status_line import status_line

NOW = 1_800_000_000.0
CHILDREN = [{"name": name, "state": "running"} for name in ("state", "signer", "api")]
WELL = {"state": 0.1, "signer": 0.1, "api": 0.1}
ALONE = {"is_leader": True, "leader_id": "n0", "members": [{"id": "n0", "self": True}]}
THREE = [
    {"id": "n0", "self": True, "connected": True},
    {"id": "n1", "connected": True},
    {"id": "n2", "connected": False},
]


def board(
    state: dict[str, Any] | None, children: list[dict[str, Any]] = CHILDREN, link: str = "connected"
) -> dict[str, Any]:
    signer = {"core": "native", "chains": [{"chain_id": "a", "validators": [{"addr": "tcp://v:1", "state": link}]}]}
    return {"supervisor": {"children": children}, "state": state, "signer": signer, "reload": None}


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (ALONE, "one node alone, may sign"),
        ({**ALONE, "rows": [{"chain_id": "a", "signed_at": NOW - 2}]}, "one node alone, signing"),
        (
            {**ALONE, "is_leader": False, "why": "a cluster holds the key"},
            "one node alone, not signing; a cluster holds the key",
        ),
        ({"is_leader": True, "leader_id": "n0", "members": THREE}, "leader; 1 of 2 peers connected"),
        ({"is_leader": False, "leader_id": "n1", "members": THREE}, "follower of n1; 1 of 2 peers connected"),
        (
            {"is_leader": False, "leader_id": None, "why": "waits for n2", "members": THREE},
            "follower; 1 of 2 peers connected; waits for n2",
        ),
    ],
)
def test_who_leads_and_why_nothing_is_signed(state: dict[str, Any], line: str) -> None:
    assert status_line(board(state), WELL, NOW) == line


def test_a_child_that_is_away_is_named() -> None:
    children = [*CHILDREN[:2], {"name": "api", "state": "backoff", "last_exit": "killed by SIGKILL"}]
    assert status_line(board(ALONE, children), WELL, NOW).endswith("; api is backoff (last exit: killed by SIGKILL)")


def test_at_the_very_start_it_starts() -> None:
    assert status_line({"supervisor": None, "state": None, "signer": None}, {}, NOW).startswith("starting; ")


def test_a_signature_changes_nothing_in_it() -> None:
    rows = [{"watermark": {"height": height, "round": 0, "step": 3}} for height in (7, 8)]
    lines = {status_line(board({**ALONE, "rows": [row], "seq": row["watermark"]["height"]}), WELL, NOW) for row in rows}
    assert len(lines) == 1


def test_a_leader_without_a_validator_is_not_said_to_sign() -> None:
    assert status_line(board(ALONE, link="waiting"), WELL, NOW) == "one node alone, may sign; no validator is connected"


def test_what_a_state_process_said_that_does_not_answer_is_not_repeated() -> None:
    children = [{**CHILDREN[0], "state": "backoff"}, *CHILDREN[1:]]
    assert status_line(board(ALONE, children), WELL, NOW) == "not known who leads; state is backoff"
