"""Whatever the sections of the board hold, a scrape answers, and what it answers can be parsed."""

from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from cometkms.api.compose import compose_samples
from cometkms.api.metrics import encode
from tests.unit.api.boards import NOW
from tests.unit.api.full_board import FullBoard
from tests.unit.api.library_metrics import library_encode, same_text

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
OFTEN = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def answers(sections: Any, accept: str = "") -> None:
    """In both formats, and to any Accept header."""
    samples = compose_samples(sections, {}, NOW)
    for header, parse in (("", parse_text), ("application/openmetrics-text", parse_openmetrics)):
        body, _ = encode(samples, header)
        assert same_text(body.decode(), library_encode(samples, header))
        seen = [(one.name, frozenset(one.labels.items())) for family in parse(body.decode()) for one in family.samples]
        assert len(seen) == len(set(seen))
    body, content_type = encode(samples, accept)
    assert body
    assert content_type.startswith(("text/plain", "application/openmetrics-text"))


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += paths_of(inner, (*path, key))
    if isinstance(value, list):
        for number, inner in enumerate(value):
            found += paths_of(inner, (*path, number))
    return found


PATHS = paths_of(FullBoard().sections_now)[1:]


@OFTEN
@given(
    st.dictionaries(st.sampled_from(["state", "signer", "supervisor", "audit"]), JSON),
    st.text(st.characters(max_codepoint=255)),
)
def test_sections_that_hold_anything(sections: dict[str, Any], accept: str) -> None:
    answers(sections, accept)


@OFTEN
@given(st.lists(st.tuples(st.sampled_from(PATHS), JSON), min_size=1, max_size=4))
@example([(("state", "permit_hist", "buckets", 1, 1), 0.5)])
@example([(("state", "permit_hist", "count"), 1e6 + 0.5)])
def test_a_whole_board_with_something_else_in_some_places(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    sections = FullBoard().sections_now
    for path, value in changes:
        place = sections
        for key in path[:-1]:
            inside = isinstance(place, dict) and key in place
            inside = inside or (isinstance(place, list) and isinstance(key, int) and key < len(place))
            if not inside:
                break
            place = place[key]
        else:
            if isinstance(place, dict) or (isinstance(place, list) and path[-1] in range(len(place))):
                place[path[-1]] = value
    answers(sections)
