"""The top of the status page: how the node stands, its figures, what needs a person, what happened,
the timeline.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from cometkms.api.failovers import Failover, Gap, added_s, sentences
from cometkms.api.history import MINUTE_S
from cometkms.api.html import Html, join, tag
from cometkms.api.timeline import Scene, draw
from cometkms.api.view import View, ago_words, us_words
from cometkms.board.sections import MemberState
from cometkms.board.situation import WELL
from cometkms.model import quorum_of
from cometkms.printable import clock, duration

_WIDE: Final = 1088  # pixels of the two drawings of the timeline …
_NARROW: Final = 328  # … on a phone of 360
_STORIES: Final = 6


def _verdict(view: View) -> tuple[str, str]:
    """ok, warn or bad, and two words for it: the situation's, which alerts and troubles make
    worse."""
    verdict = view.status["situation"]["verdict"]
    if verdict != WELL:
        return "bad", verdict
    if view.alerts or not view.status["healthy"]:
        return "warn", "Needs attention"
    return "ok", WELL


def title_part(view: View) -> str:
    mark = {"ok": "✓", "warn": "!", "bad": "✕"}[_verdict(view)[0]]
    return f"{mark} {f'{view.leader} leads' if view.leader else 'nobody leads'} · {view.me} · CometKMS"


def headline_part(view: View) -> Html:
    level, words = _verdict(view)
    mark = {"ok": "✓", "warn": "!", "bad": "✕"}[level]
    pill = tag("span", tag("span", mark, aria_hidden="true"), f" {words}", class_=f"pill {level}")
    return join(tag("h1", view.status["situation"]["headline"]), pill)


def figures_part(view: View) -> Html:
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
    ago = ago_words(newest["signed_at"], view.now) if newest["signed_at"] else "before this start"
    return _figure("Last signature", ago, f"{newest['chain_id']} height {last.get('height', 0)}")


def _latency(view: View) -> Html:
    """Show the latency of the last minute, on the node that signs."""
    if (minute := view.history.minute(view.now)) is not None:
        p50_us, p99_us = minute
        return _figure("Latency, p50 · p99", f"{us_words(p50_us)} · {us_words(p99_us)}", "of the last minute")
    if view.status["situation"]["leads"] == "here":
        newest = max((chain["signed_at"] or 0.0 for chain in view.status.get("chains", [])), default=0.0)
        recent = view.now - newest < MINUTE_S
        return _figure("Latency", "—", "not measured yet" if recent else "nothing was signed in the last minute")
    return _figure("Latency", "—", f"is measured on {view.leader}" if view.leader else "nobody signs")


def alerts_part(view: View) -> Html:
    known = [
        tag(
            "li",
            tag("p", tag("b", one["name"].replace("_", " ")), f", since {clock(one['since'])[:8]} ({ago_words(one['since'], view.now)})", class_="when"),
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


def stories_part(view: View) -> Html:
    members = {
        str(one["id"]): (bool(one.get("connected")), str(one.get("state") or ""), str(one.get("error") or ""))
        for one in view.status.get("members", [])
    }
    numbered = list(enumerate(view.stories, 1))[-_STORIES:]
    if not numbered:
        since = view.history.begun_at or view.now
        return tag(
            "p",
            f"The leader has not changed since this page's process began to watch, {ago_words(since, view.now)}.",
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


def timeline_part(view: View) -> Html:
    members = [str(one["id"]) for one in view.status.get("members", [])]
    heights = {
        chain["chain_id"]: (chain["last_sign_state"] or {}).get("height", 0) for chain in view.status.get("chains", [])
    }
    scene = Scene(view.history, members, list(enumerate(view.stories, 1)), heights, view.leader, view.now)
    return join(draw(scene, _WIDE, "wide"), draw(scene, _NARROW, "narrow"))
