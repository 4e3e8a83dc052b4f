"""Whatever the sections of the board hold, everything that reads them answers: the page, the
status, the alerts, the supervisor's line.
"""

import json
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cometkms.api.compose import compose_samples
from cometkms.api.metrics import encode
from cometkms.board.shape import shape
from cometkms.state.outside import signer_trouble, validator_reached
from cometkms.supervisor.status_line import status_line
from tests.property.test_metrics import PATHS
from tests.unit.api.boards import NOW
from tests.unit.api.full_board import FullBoard

#: What a bounded document may hold (board/status_board.py): no NaN, no integer beyond 64 bits, no
#: half character.
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64) + 1, 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)
OFTEN = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
AWAY = object()
NAMES = ("state", "signer", "supervisor", "audit", "api")


def answers(sections: dict[str, Any]) -> None:
    board = FullBoard()
    for name in NAMES:
        sections.setdefault(name, board.sections_now.get(name))  # type: ignore[misc]
    board.sections_now = shape(sections)
    watch = board.watch()
    for _ in range(2):
        board.now += 1
        status = watch.look()
        json.dumps(status, allow_nan=False).encode()
        assert watch.parts()[0]
    encode(compose_samples({**board.sections_now}, {}, NOW), "")
    status_line(sections, {"state": 0.1, "signer": 0.1}, NOW)
    signer = board.sections_now["signer"]
    signer_trouble(signer)
    validator_reached(signer)


@OFTEN
@given(st.dictionaries(st.sampled_from(NAMES), st.none() | st.dictionaries(st.text(max_size=9), JSON, max_size=4)))
def test_sections_that_hold_anything(sections: dict[str, Any]) -> None:
    answers(sections)


@OFTEN
@given(st.lists(st.tuples(st.sampled_from(PATHS), JSON | st.just(AWAY)), min_size=1, max_size=4))
@example([(("state", "events", 0, "at"), 253_402_300_800.0)])  # the year 10000
@example([(("state", "events", 0, "at"), -1e300)])
def test_a_whole_board_with_something_else_in_some_places(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    sections: Any = FullBoard().sections_now
    for path, value in changes:
        place = sections
        for key in path[:-1]:
            inside = isinstance(place, dict) and key in place
            inside = inside or (isinstance(place, list) and isinstance(key, int) and key < len(place))
            if not inside:
                break
            place = place[key]
        else:
            inside = isinstance(place, dict) and path[-1] in place
            if inside or (isinstance(place, list) and isinstance(path[-1], int) and path[-1] < len(place)):
                place[path[-1]] = value
                if value is AWAY:
                    del place[path[-1]]
    answers({name: one for name, one in sections.items() if isinstance(one, dict)})


def test_what_an_honest_node_says_passes_as_it_is() -> None:
    sections = FullBoard().sections_now
    assert shape({**sections}) == sections
