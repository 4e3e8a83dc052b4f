"""What a node says of its cluster, and what of it stands in a drill's way."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cometkms.errors import OperatorError
from cometkms.operator.drill.view import View, obstacles, parse_view


def answer(**said: Any) -> dict[str, Any]:
    members = [
        {"id": name, "self": name == "c", "connected": True, "state": "complete", "connects": 1} for name in "abc"
    ]
    return {
        "ok": True, "now": 100.0, "node_id": "c", "leader_id": "a", "term": 3, "why": "", "chains": ["chain"], "members": members,
        "signed_at": [99.5], "signatures": [[7, 99.5, 0, 12, 0, 3, "a"]], "oldest": 0, "next": 8, **said,
    }  # fmt: skip


def member(number: int, **said: Any) -> list[dict[str, Any]]:
    members: list[dict[str, Any]] = answer()["members"]
    members[number] |= said
    return members


def test_a_whole_cluster_has_no_obstacle() -> None:
    assert obstacles(parse_view(answer()), {"trouble": [], "alerts": []}, "", 30.0) == []
    assert obstacles(parse_view(answer()), {}, "", 30.0) == []


@pytest.mark.parametrize(
    ("said", "status", "check", "words"),
    [
        ({"members": answer()["members"][2:]}, {}, "", "this node is alone"),
        ({"members": member(1, connected=False)}, {}, "", "b is not connected"),
        ({"members": member(0, state="recovering")}, {}, "", "a is recovering, not complete"),
        ({"members": member(2, state="starting"), "why": "reading"}, {}, "", "c does not promise: reading"),
        ({"leader_id": None}, {}, "", "nobody leads"),
        ({}, {}, "a: not every validator is connected", "a: not every validator is connected"),
        ({"signed_at": [None]}, {}, "", "chain: no signature was seen since c started"),
        ({"signed_at": [69.0]}, {}, "", "chain: the last signature is 31 s old"),
        ({}, {"trouble": ["api is backoff"]}, "", "api is backoff"),
        ({}, {"alerts": [{"name": "peer_away", "what": "b is away"}]}, "", "alert peer_away: b is away"),
        ({}, {"alerts": [{"name": "something_new", "what": "x"}]}, "", "alert something_new"),
    ],
)
def test_each_obstacle_is_named(said: dict[str, Any], status: dict[str, Any], check: str, words: str) -> None:
    found = obstacles(parse_view(answer(**said)), status, check, 30.0)
    assert any(words in one for one in found), found


def test_alerts_of_speed_and_settings_are_no_obstacle_and_a_reason_is_said_once() -> None:
    status = {"alerts": [{"name": name} for name in ("latency_high", "disk_slow", "config_differs")] + ["odd"]}
    assert obstacles(parse_view(answer()), status, "", 30.0) == []
    found = obstacles(parse_view(answer(why="reading")), {"trouble": ["reading"]}, "", 30.0)
    assert len(found) == 1


@settings(deadline=None)
@given(
    st.sampled_from(sorted(answer())),
    st.none() | st.integers() | st.text() | st.lists(st.integers(), max_size=3) | st.just([[1]]),
)
def test_an_answer_of_another_shape_is_an_error_in_words(key: str, value: Any) -> None:
    try:
        assert isinstance(parse_view(answer(**{key: value})), View)
    except OperatorError as error:
        assert "same version" in str(error)


def test_a_member_that_is_gone_is_an_error() -> None:
    with pytest.raises(OperatorError, match="'z' is no member"):
        parse_view(answer()).member("z")
