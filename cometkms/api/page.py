"""Compose the status page. Pure: no clock, no I/O; docs/STATUS_PAGE.md says what stands where.

The page is whole without JavaScript. With it the same parts, made here and nowhere else, arrive
through /events and replace those that changed: there is one place that writes HTML, and it escapes
(html.py). Nothing is fetched from anywhere else, and the policy says so.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cometkms.api.failovers import NO_PLACE, Failover, Gap, added_s, describe, sentences
from cometkms.api.history import History
from cometkms.api.html import Html, join, tag
from cometkms.api.status import ChainStatus, Status
from cometkms.api.timeline import Scene, draw
from cometkms.board.sections import (
    AlertReport,
    ChildState,
    EventKind,
    EventReport,
    LinkState,
    MemberReport,
    MemberState,
)
from cometkms.board.situation import WELL
from cometkms.model import quorum_of
from cometkms.printable import clock, duration

_STYLE: Final = Path(__file__).with_name("page.css").read_text("utf-8")
_SCRIPT: Final = Path(__file__).with_name("page.js").read_text("utf-8")
_WIDE: Final = 1088  # pixels of the two drawings of the timeline …
_NARROW: Final = 328  # … on a phone of 360
_STORIES: Final = 6
_EVENTS: Final = 24
_REFUSALS: Final = 32
_FRESH_S: Final = 5.0  # what another node told is not said to be old before
_RELOAD_S: Final = 5  # without JavaScript
#: Columns of words that may be long and without a space: others wrote them.
_FREE: Final = frozenset({"In words", "Last error", "Last exit", "Connection", "Validator", "Asked for", "Last signed"})
_ELECTION_S: Final = 0.5  # a shorter one is no event of its own
_OF_ALERTS: Final = frozenset({EventKind.ALERT_RAISED, EventKind.ALERT_OVER})
_HEAVY: Final = frozenset({EventKind.LEADER, EventKind.PEER_DISCONNECTED, EventKind.REFUSED, EventKind.CHILD_RESTARTED})
_STEPS: Final = {1: "proposal", 2: "prevote", 3: "precommit"}
_ICON: Final = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E%3Ccircle cx='4' cy='4' r='3' fill='%23357'/%3E%3C/svg%3E"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


#: Nothing but this page's own style and script, nothing from elsewhere, no frame around it.
POLICY: Final = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
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


def parts(view: View) -> dict[str, str]:
    """The page's parts by the id of their element. `title` is the window's."""
    return {
        "title": _title(view),
        "headline": _headline(view),
        "figures": _figures(view),
        "alerts": _alerts(view),
        "stories": _stories(view),
        "timeline": _timeline(view),
        "nodes": _nodes(view),
        "chains": _chains(view),
        "validators": _validators(view),
        "events-list": _events(view),
        "refusals": _refusals(view),
        "processes": _processes(view),
        "footer": _footer(view),
    }


def whole(view: View) -> str:
    """The document."""
    made = parts(view)

    def part(name: str, heading: str | None, element: str = "section") -> Html:
        scrolls = name == "events-list"  # so a keyboard must reach it
        content = tag("div", Html(made[name]), id=name, tabindex=0 if scrolls else None)
        if heading is None:
            return content
        return tag(element, tag("h2", heading, id=f"of-{name}"), content, aria_labelledby=f"of-{name}")

    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", made["title"]),
        tag("link", rel="icon", href=_ICON),
        tag("noscript", tag("meta", http_equiv="refresh", content=_RELOAD_S)),
        Html(f"<style>{_STYLE}</style>"),
    )
    body = tag(
        "body",
        tag(
            "header",
            tag("span", "CometKMS", class_="brand"),
            tag("span", view.me, class_="node"),
            tag("span", f"as of {clock(view.now)[:8]} UTC", id="live", role="status", class_="live"),
        ),
        tag(
            "main",
            tag("div", Html(made["headline"]), id="headline", aria_live="polite"),
            part("figures", None),
            part("alerts", "What needs you"),
            part("timeline", "Timeline"),
            tag("div", part("stories", "What happened"), part("events-list", "Events"), class_="two"),
            part("nodes", "Nodes"),
            part("chains", "Chains"),
            part("validators", "Validators"),
            part("refusals", "Refused requests"),
            part("processes", "Processes of this node"),
        ),
        tag("footer", Html(made["footer"]), id="footer"),
        Html(f"<script>{_SCRIPT}</script>"),
    )
    return f"<!doctype html>{tag('html', head, body, lang='en')}"


# --- the top ---


def _verdict(view: View) -> tuple[str, str]:
    """ok, warn or bad, and two words for it: the situation's, which alerts and troubles make
    worse."""
    verdict = view.status["situation"]["verdict"]
    if verdict != WELL:
        return "bad", verdict
    if view.alerts or not view.status["healthy"]:
        return "warn", "Needs attention"
    return "ok", WELL


def _title(view: View) -> str:
    mark = {"ok": "✓", "warn": "!", "bad": "✕"}[_verdict(view)[0]]
    return f"{mark} {f'{view.leader} leads' if view.leader else 'nobody leads'} · {view.me} · CometKMS"


def _headline(view: View) -> Html:
    level, words = _verdict(view)
    mark = {"ok": "✓", "warn": "!", "bad": "✕"}[level]
    pill = tag("span", tag("span", mark, aria_hidden="true"), f" {words}", class_=f"pill {level}")
    return join(tag("h1", view.status["situation"]["headline"]), pill)


def _figures(view: View) -> Html:
    status = view.status
    members = status.get("members", [])
    there = sum(bool(one.get("connected")) for one in members)
    complete = sum(bool(one.get("connected")) and one.get("state") == MemberState.COMPLETE for one in members)
    term = f"term {status.get('term', 0)}" if len(members) > 1 else "alone"
    quorum = quorum_of(len(members))
    shown = [_figure("Leader", view.leader or "nobody", term if view.leader else "nothing is signed")]
    if members:
        spare = complete - quorum
        more = f"{f'{complete} complete, ' if complete < there else ''}{quorum} are needed" + (
            f"; {spare} may be lost" if spare > 0 else "; none may be lost" if spare == 0 else ""
        )
        shown.append(
            _figure("Nodes there", f"{there} of {len(members)}", more if len(members) > 1 else "one node alone")
        )
    shown.append(_last_signature(view))
    shown.append(_latency(view))
    return tag("dl", *shown)


def _figure(name: str, value: str, more: str) -> Html:
    return tag("div", tag("dt", name), tag("dd", tag("b", value), tag("span", more)))


def _last_signature(view: View) -> Html:
    chains = [chain for chain in view.status.get("chains", []) if chain["last_sign_state"] is not None]
    if not chains:
        return _figure("Last signature", "none yet", "nothing was ever signed here")
    newest = max(chains, key=lambda one: one["signed_at"] or 0.0)
    last = newest["last_sign_state"] or {}
    ago = _ago(newest["signed_at"], view.now) if newest["signed_at"] else "before this start"
    return _figure("Last signature", ago, f"{newest['chain_id']} height {last.get('height', 0)}")


def _latency(view: View) -> Html:
    """Show the latency of the last minute, on the node that signs."""
    if (minute := view.history.minute(view.now)) is not None:
        p50_us, p99_us = minute
        return _figure("Latency, p50 · p99", f"{_us(p50_us)} · {_us(p99_us)}", "of the last minute")
    if view.status["situation"]["leads"] == "here":
        return _figure("Latency", "—", "nothing was signed in the last minute")
    return _figure("Latency", "—", f"is measured on {view.leader}" if view.leader else "nobody signs")


def _alerts(view: View) -> Html:
    known = [
        tag(
            "li",
            tag("p", tag("b", one["name"].replace("_", " ")), f", since {clock(one['since'])[:8]} ({_ago(one['since'], view.now)})", class_="when"),
            tag("p", one["what"]),
            tag("p", tag("b", "Do: "), _with_commands(one["cure"]), class_="cure"),
        )
        for one in view.alerts
    ]  # fmt: skip
    told = " ".join(one["what"] for one in view.alerts)
    others = [tag("li", tag("p", words), class_="minor") for words in _others(view, told)]
    if not known and not others:
        return tag("p", "Nothing.", class_="calm")
    return tag("ul", *known, *others, class_="alerts")


def _others(view: View, told: str) -> list[str]:
    """What /status has in `trouble` and `warnings` beyond the alerts."""
    return [words for words in [*view.status["trouble"], *view.status["warnings"]] if words not in told]


def _with_commands(words: str) -> Html:
    """`commands` as code."""
    pieces = words.split("`")
    return join(*(tag("code", piece) if number % 2 else piece for number, piece in enumerate(pieces)))


def _stories(view: View) -> Html:
    members = {
        str(one["id"]): (bool(one.get("connected")), str(one.get("state") or ""), str(one.get("error") or ""))
        for one in view.status.get("members", [])
    }
    numbered = list(enumerate(view.stories, 1))[-_STORIES:]
    if not numbered:
        since = view.history.begun_at or view.now
        return tag(
            "p",
            f"The leader has not changed since this page's process began to watch, {_ago(since, view.now)}.",
            class_="calm",
        )
    return tag("ol", *(_story(number, story, members, view) for number, story in reversed(numbered)), class_="stories")


def _story(number: int, story: Failover, members: dict[str, tuple[bool, str, str]], view: View) -> Html:
    usual_s = {name: line.usual_s for name, line in view.history.chains.items() if line.usual_s is not None}
    heading = tag(
        "h3",
        tag("span", str(number), class_="badge"),
        f" {clock(story.lost_at)[:8]} · {story.before} → {story.after or 'nobody yet'}",
    )
    said = [tag("li", words) for words in sentences(story, members, usual_s, view.now)]
    facts = [tag("li", tag("b", value), f" {name}") for value, name in _facts(story, usual_s, view.now)]
    return tag("li", heading, tag("ul", *facts, class_="facts"), tag("ul", *said, class_="said"))


def _facts(story: Failover, usual_s: Mapping[str, float], now: float) -> list[tuple[str, str]]:
    """The story's figures: of the pause what the change of leadership added to it, where that is
    known."""
    took = duration((story.took_ms if story.took_ms is not None else (now - story.lost_at) * 1000) / 1000)
    found = [(took, "to the next leader" if story.after else "without a leader so far")]
    if story.gaps:
        found.append(_pause_fact(story.gaps, usual_s))
    if story.away_since is not None:
        back = story.back_at
        found.append(
            (
                duration((back or now) - story.away_since),
                f"{story.before} away" + ("" if back is not None else " so far"),
            )
        )
    return found


def _pause_fact(gaps: Sequence[Gap], usual_s: Mapping[str, float]) -> tuple[str, str]:
    """Show the pause of the chain that waited longest beyond what is usual."""
    worst = max(gaps, key=lambda gap: (gap.until is None, added_s(gap, usual_s.get(gap.chain)) or 0.0, gap.gap_ms))
    added = added_s(worst, usual_s.get(worst.chain))
    if worst.until is None:
        return duration(worst.gap_ms / 1000), "without a signature so far"
    if added is None:
        return duration(worst.gap_ms / 1000), "to the next signature"
    return duration(added), "later than usual"


def _timeline(view: View) -> Html:
    members = [str(one["id"]) for one in view.status.get("members", [])]
    heights = {
        chain["chain_id"]: (chain["last_sign_state"] or {}).get("height", 0) for chain in view.status.get("chains", [])
    }
    scene = Scene(view.history, members, list(enumerate(view.stories, 1)), heights, view.leader, view.now)
    return join(draw(scene, _WIDE, "wide"), draw(scene, _NARROW, "narrow"))


# --- tables ---


def _table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Html | str]]) -> Html:
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


def _nodes(view: View) -> Html:
    rows = []
    for member in view.status.get("members", []):
        name, mine = str(member["id"]), bool(member.get("self"))
        role = "leader" if name == view.leader else "follower" if member.get("connected") else "—"
        version = member.get("version") or (view.status["node"]["version"] if mine else "—")
        rows.append(
            (
                join(tag("b", name), " (this node)" if mine else None),
                _state(role, "lead" if role == "leader" else "plain"),
                _member_state(member),
                _connection(member, view.now),
                str(version),
                _marks(member, view.now),
                str(member.get("addr") or "—"),
            )
        )
    if not rows:
        return tag("p", "The state process does not answer.", class_="calm")
    columns = ("Node", "Role", "State", "Connection", "Version", "Promised", "Address")
    return _table("Nodes of the cluster", columns, rows)


def _member_state(member: MemberReport) -> Html:
    state = str(member.get("state") or "not known")
    if not member.get("connected"):
        return _state(f"away (was {state})" if member.get("state") else "away", "bad")
    return _state(state, "good" if state == MemberState.COMPLETE else "busy")


def _state(words: str, kind: str) -> Html:
    """A word with a mark: the mark's form says the same as its colour."""
    mark = {"good": "✓", "bad": "✕", "busy": "◐", "lead": "★", "plain": ""}[kind]
    return tag(
        "span",
        tag("span", mark, aria_hidden="true") if mark else None,
        f" {words}" if mark else words,
        class_=f"state {kind}",
    )


def _connection(member: MemberReport, now: float) -> str:
    if member.get("self"):
        return "—"
    since = member.get("since")
    lasts = f" for {duration(now - float(since))}" if isinstance(since, int | float) and since else ""
    if member.get("connected"):
        rtt = member.get("rtt_us")
        trip = f", round trip {_us(float(rtt))}" if isinstance(rtt, int | float) and rtt else ""
        return f"connected{lasts}{trip}"
    error = str(member.get("error") or "")
    return f"not connected{lasts}{f': {error}' if error else ''}"


def _marks(member: MemberReport, now: float) -> str:
    marks = member.get("marks")
    known = [one for one in marks if one.get("height")] if isinstance(marks, list) else []
    if not known:
        return "—"
    several = len(known) > 1
    shown = [_place(one) + (f" ({one['chain_id']})" if several else "") for one in known[:4]]
    more = f" and {len(known) - 4} more" if len(known) > 4 else ""
    told_at = member.get("marks_at")
    old = isinstance(told_at, int | float) and now - told_at >= _FRESH_S
    return ", ".join(shown) + more + (f" (as of {_ago(float(str(told_at)), now)})" if old else "")


def _place(mark: Mapping[str, object]) -> str:
    return f"{mark.get('height', 0)}/{mark.get('round', 0)}/{mark.get('step', 0)}"


def _chains(view: View) -> Html:
    columns = (
        "Chain",
        "Height",
        "Last signature",
        "When",
        "Known from",
        "Promised up to",
        "Signed here",
        "Refused here",
    )
    return _table("Chains", columns, [_chain(chain, view) for chain in view.status.get("chains", [])])


def _chain(chain: ChainStatus, view: View) -> tuple[Html | str, ...]:
    last, mark = chain["last_sign_state"] or {}, chain["watermark"] or {}
    step = last.get("step", 0)
    place = f"{last['height']}/{last.get('round', 0)} {_STEPS.get(step, f'step {step}')}" if last else "none yet"
    at = chain["signed_at"]
    when = (
        tag("time", _ago(at, view.now), datetime=_iso(at), title=f"{clock(at)} UTC")
        if at
        else "before this start"
        if last
        else "—"
    )
    known = (
        "this node's own signer"
        if _signed_here(chain)
        else f"{view.leader}, by the replicated log"
        if at
        else "the store"
    )
    refused, unanswered = chain["counters"].get("refused", {}), chain["counters"].get("unanswered", {})
    promised = _place(mark) if mark else "—"
    return (
        tag("b", chain["chain_id"]),
        str(last.get("height", "—")),
        place,
        when,
        known if last else "—",
        f"{promised} (burnt)" if mark.get("burnt") else promised,
        f"{chain['counters'].get('signed', 0)}, {chain['counters'].get('repeated', 0)} repeated{_bytes_words(chain)}",
        _counted(refused) + (f"; unanswered: {_counted(unanswered)}" if unanswered else ""),
    )


def _bytes_words(chain: ChainStatus) -> str:
    """How often bytes that are no vote were signed, where they were."""
    values, raw = chain["counters"].get("signed_values", 0), chain["counters"].get("signed_raw", {})
    counted = [(name, count) for name, count in (("SignBytes", values), *sorted(raw.items())) if count]
    return "".join(f"; {count} {name}" for name, count in counted)


def _signed_here(chain: ChainStatus) -> bool:
    here, known = chain["last_signed_at"], chain["signed_at"]
    return here is not None and (known is None or here >= known - 1.0)


def _counted(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in sorted(reasons.items())) or "none"


def _validators(view: View) -> Html:
    rows = []
    for chain in view.status.get("chains", []):
        for link in chain["validators"]:
            state = link.get("state", "")
            kind = "good" if state == LinkState.CONNECTED else "plain" if state == LinkState.STANDBY else "bad"
            words = "not dialled: another node leads" if state == LinkState.STANDBY else state
            rows.append(
                (
                    chain["chain_id"],
                    link.get("addr", ""),
                    _state(words, kind),
                    _ago(link.get("since"), view.now),
                    link.get("line") or "not told yet",
                    str(link.get("requests", 0)),
                    link.get("last_error") or "—",
                )
            )
    if not rows:
        return tag("p", "The signer does not answer.", class_="calm")
    agents = (view.status.get("agents") or {}).get("links", [])
    table = _table(
        "Connections to validators",
        ("Chain", "Validator", "Connection", "Since", "Release line", "Requests", "Last error"),
        rows,
    )
    if not agents:
        return table
    said = [
        (
            str(link.get("name", "")).removeprefix("agent:"),
            ", ".join(f"{name} {text}" for name, text in link.get("about", {}).items()) or "nothing yet",
            str(link.get("requests", 0)),
            str(link.get("without_lead", 0)),
        )
        for link in agents
    ]
    return join(table, _table("What agents say", ("Agent", "Says", "Requests", "Served without the lead"), said))


def _refusals(view: View) -> Html:
    known = [
        (one["at"], chain["chain_id"], one) for chain in view.status.get("chains", []) for one in chain["refusals"]
    ]
    if not known:
        return tag("p", "None since this node's signer started.", class_="calm")
    rows = [
        (
            f"{clock(at)[:8]}, {_ago(at, view.now)}",
            chain_id,
            one["reason"].replace("_", " "),
            f"{one['asked']} block {_block(one['asked_block'])}"
            if one["asked"] != NO_PLACE
            else "nothing that could be signed",
            f"{one['signed']} "
            + ("what is not known (burnt)" if one.get("burnt") else f"block {_block(one['signed_block'])}"),
            one["validator"],
            one["why"],
        )
        for at, chain_id, one in sorted(known, key=lambda item: item[0], reverse=True)[:_REFUSALS]
    ]
    columns = ("When", "Chain", "Reason", "Asked for", "Last signed", "Validator", "In words")
    return _table("Requests that were refused for good", columns, rows)


def _block(text: str) -> str:
    return f"{text[:12].upper()}…" if text else "nil"


def _events(view: View) -> Html:
    newest = _notable(list(view.history.events))[-_EVENTS:]
    if not newest:
        return tag("p", "None yet.", class_="calm")
    shown = [
        tag("li", tag("time", clock(one["at"]), datetime=_iso(one["at"])), tag("span", describe(one, view.me)), class_=_weight(one))
        for one in reversed(newest)
    ]  # fmt: skip
    return tag("ol", *shown, class_="events")


def _notable(events: list[EventReport]) -> list[EventReport]:
    """Without alerts, which have a part of their own, and the moments in which nobody led because
    somebody was being elected."""
    led = [one["at"] for one in events if one["what"] == EventKind.LEADER and one.get("leader")]
    return [
        one
        for one in events
        if one["what"] not in _OF_ALERTS
        if one["what"] != EventKind.LEADER
        or one.get("leader")
        or not any(0 <= at - one["at"] < _ELECTION_S for at in led)
    ]


def _weight(event: EventReport) -> str | None:
    return "heavy" if event["what"] in _HEAVY else None


def _processes(view: View) -> Html:
    rows = [
        (
            child["name"],
            _state(child["state"], "good" if child["state"] == ChildState.RUNNING else "bad"),
            duration(child["uptime_s"]) if child["uptime_s"] is not None else "—",
            str(child["restarts"]),
            child["last_exit"] or "—",
        )
        for child in view.status["children"]
    ]
    return _table("Processes of this node", ("Process", "State", "Up", "Restarts", "Last exit"), rows)


def _footer(view: View) -> Html:
    node = view.status["node"]
    up = duration(node["uptime_s"]) if node["uptime_s"] is not None else "?"
    return join(
        tag(
            "p",
            f"CometKMS {node['version']}, {node['core'] or '?'} core, up {up}. All times are UTC. This page is read-only.",
        ),
        tag("p", "For programs: ", tag("a", "/status", href="/status"), " · ", tag("a", "/healthz", href="/healthz")),
    )


def _ago(at: float | None, now: float) -> str:
    return f"{duration(now - at)} ago" if at else "—"


def _us(us: float) -> str:
    return f"{us:.0f} µs" if us < 1000 else f"{us / 1000:.2f} ms" if us < 100_000 else f"{us / 1000:.0f} ms"


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
