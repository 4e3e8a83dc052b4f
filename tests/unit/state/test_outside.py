"""What the shell does for the node: a restart that a member ordered, which the process asks its
supervisor for (a drill's, and not without end), and what keeps a member away.
"""

from types import SimpleNamespace
from typing import Any

from cometkms.limits import ASKED_RESTARTS_MAX
from cometkms.state.outside import NodeOutside


def test_the_state_process_asks_for_restarts_until_there_were_enough_in_a_day() -> None:
    asked: list[Any] = []
    loop = SimpleNamespace(call_later=lambda _after, work: asked.append(work))

    def order(before: int) -> str:
        context = SimpleNamespace(asked_restarts=before, ask_for_restart=lambda: None)
        return NodeOutside.restart(SimpleNamespace(_context=context, _loop=loop))  # type: ignore[arg-type]

    assert [order(0), order(ASKED_RESTARTS_MAX - 1)] == ["", ""]
    assert order(ASKED_RESTARTS_MAX) == "it was restarted by order 120 times within 24 hours"
    assert len(asked) == 2


def test_what_keeps_a_member_away_is_what_status_shows_of_it() -> None:
    told = [{"id": "b", "last_error": "digests differ"}, {"id": "c", "last_error": ""}]
    outside: Any = SimpleNamespace(_network=SimpleNamespace(document=lambda: told))
    assert [NodeOutside.why_away(outside, member) for member in ("b", "c")] == ["digests differ", ""]
