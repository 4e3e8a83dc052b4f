"""The schema of the board holds what its writers can say."""

import pytest

from cometkms.api.failovers import describe
from cometkms.board.sections import EventKind, EventReport, MemberState
from cometkms.rules.birth import NodeState


def test_every_durable_state_has_its_name_on_the_board() -> None:
    assert {state.name for state in MemberState} == {state.name for state in NodeState} | {"STARTING"}
    assert all(state.value == state.name.lower() for state in MemberState)


@pytest.mark.parametrize("kind", EventKind)
def test_every_kind_of_event_has_words_for_people(kind: EventKind) -> None:
    event: EventReport = {"at": 1.0, "what": kind.value}
    said = describe(event, "node0")
    assert said != kind
    assert kind.value not in said or "_" not in kind.value
