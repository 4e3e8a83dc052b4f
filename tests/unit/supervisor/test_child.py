"""A child's states: the table is the only way from one to another."""

import pytest

from cometkms.board.sections import ChildState
from cometkms.errors import InvariantError
from cometkms.ipc.child import ChildContext
from cometkms.supervisor.child import TRANSITIONS, Child, ChildSpec, describe_exit


def never(_context: ChildContext) -> int:
    raise AssertionError("nothing is forked here")


@pytest.mark.parametrize("source", ChildState)
@pytest.mark.parametrize("target", ChildState)
def test_only_what_the_table_holds_happens_and_a_refusal_changes_nothing(
    source: ChildState, target: ChildState
) -> None:
    child = Child(ChildSpec("state", never))
    child.state, child.since = source, 1.0
    if target in TRANSITIONS[source]:
        child.enter(target)
        assert child.state is target
        assert child.since > 1.0
    else:
        with pytest.raises(InvariantError, match=f"state: {source} cannot become {target}"):
            child.enter(target)
        assert (child.state, child.since) == (source, 1.0)


def test_every_state_is_in_the_table_can_be_reached_and_can_end() -> None:
    assert set(TRANSITIONS) == set(ChildState)
    reached, front = set(), {ChildState.IDLE}
    while front:
        reached |= front
        front = {target for source in front for target in TRANSITIONS[source]} - reached
    assert reached == set(ChildState)
    assert all(
        ChildState.STOPPING in TRANSITIONS[state]
        for state in ChildState
        if state not in (ChildState.IDLE, ChildState.STOPPING)
    )


@pytest.mark.parametrize(
    ("code", "words"), [(0, "exit code 0"), (7, "exit code 7"), (-9, "killed by SIGKILL"), (-40, "killed by signal 40")]
)
def test_an_exit_is_told_in_words(code: int, words: str) -> None:
    assert describe_exit(code) == words
