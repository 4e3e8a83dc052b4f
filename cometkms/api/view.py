"""What the status page shows of one moment, and how its parts write tables, states,
times and places.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cometkms.api.failovers import Failover
from cometkms.api.history import History
from cometkms.api.html import Html, tag
from cometkms.api.status import Status
from cometkms.board.dating import is_ahead
from cometkms.board.sections import AlertReport
from cometkms.printable import duration, moment

#: Columns of words that may be long and without a space: others wrote them.
_FREE: Final = frozenset(
    {"In words", "Last error", "Last exit", "Connection", "Validator", "Asked for", "Last signed", "Address"}
)


@dataclass(frozen=True, slots=True)
class View:
    """Everything the page shows, of one moment. now: UNIX seconds."""

    status: Status
    history: History
    alerts: Sequence[AlertReport]
    stories: Sequence[Failover]
    now: float

    @property
    def me(self) -> str:
        """This node's id."""
        return self.status["node"]["id"] or "this node"

    @property
    def leader(self) -> str:
        """Who leads; "" if nobody does, or this node does not know."""
        return self.status.get("leader_id", "")


def view_of(status: Status, history: History, alerts: Sequence[AlertReport], now: float) -> View:
    """What is to be shown."""
    return View(status, history, alerts, history.failovers(status, now), now)


def table_of(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Html | str]]) -> Html:
    """A table that is a list of cards on a phone: roles keep it a table for whoever hears it."""
    shown = [
        tag("tr", *(_cell(name, cell) for name, cell in zip(columns, row, strict=True)), role="row")
        for row in rows
    ]  # fmt: skip
    head = tag("tr", *(tag("th", name, scope="col", role="columnheader") for name in columns), role="row")
    return tag(
        "table",
        tag("caption", caption),
        tag("thead", head, role="rowgroup"),
        tag("tbody", *shown, role="rowgroup"),
        role="table",
    )


def _cell(name: str, content: Html | str) -> Html:
    return tag("td", tag("span", content), data_label=name, role="cell", class_="free" if name in _FREE else None)


def state_tag(words: str, kind: str) -> Html:
    """A word with a mark: the mark's form says the same as its colour."""
    mark = {"good": "✓", "bad": "✕", "busy": "◐", "lead": "★", "plain": ""}[kind]
    return tag(
        "span",
        tag("span", mark, aria_hidden="true") if mark else None,
        f" {words}" if mark else words,
        class_=f"state {kind}",
    )


def block_words(text: str) -> str:
    return f"{text[:12].upper()}…" if text else "nil"


def ago_words(at: float | None, now: float) -> str:
    """How long ago it was, in words. A time that lies ahead was written before the clock was set
    back."""
    if at and is_ahead(at, now):
        return "before the clock was set back"
    return f"{duration(now - at)} ago" if at else "—"


def us_words(us: float) -> str:
    return f"{us:.0f} µs" if us < 1000 else f"{us / 1000:.2f} ms" if us < 100_000 else f"{us / 1000:.0f} ms"


def iso_time(at: float) -> str:
    return moment(at).isoformat(timespec="milliseconds")
