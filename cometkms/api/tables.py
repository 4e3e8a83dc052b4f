"""The tables of the status page: nodes, chains, validators, events, refusals, processes."""

from collections.abc import Mapping
from typing import Final

from cometkms.api.failovers import NO_PLACE, describe
from cometkms.api.html import Html, join, tag
from cometkms.api.status import ChainStatus
from cometkms.api.view import View, ago_words, block_words, iso_time, state_tag, table_of, us_words
from cometkms.board.sections import ChildState, EventKind, EventReport, LinkState, MemberReport, MemberState
from cometkms.printable import clock, duration

_EVENTS: Final = 24
_REFUSALS: Final = 32
_FRESH_S: Final = 5.0  # what another node told is not said to be old before
_ELECTION_S: Final = 0.5  # a shorter one is no event of its own
_OF_ALERTS: Final = frozenset({EventKind.ALERT_RAISED, EventKind.ALERT_OVER})
_HEAVY: Final = frozenset({EventKind.LEADER, EventKind.PEER_DISCONNECTED, EventKind.REFUSED, EventKind.CHILD_RESTARTED})
_STEPS: Final = {1: "proposal", 2: "prevote", 3: "precommit"}


def nodes_part(view: View) -> Html:
    rows = []
    for member in view.status.get("members", []):
        name, mine = str(member["id"]), bool(member.get("self"))
        role = "leader" if name == view.leader else "follower" if member.get("connected") else "—"
        version = member.get("version") or (view.status["node"]["version"] if mine else "—")
        rows.append(
            (
                join(tag("b", name), " (this node)" if mine else None),
                state_tag(role, "lead" if role == "leader" else "plain"),
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
    return table_of("Nodes of the cluster", columns, rows)


def _member_state(member: MemberReport) -> Html:
    state = str(member.get("state") or "not known")
    if not member.get("connected"):
        return state_tag(f"away (was {state})" if member.get("state") else "away", "bad")
    return state_tag(state, "good" if state == MemberState.COMPLETE else "busy")


def _connection(member: MemberReport, now: float) -> str:
    if member.get("self"):
        return "—"
    since = member.get("since")
    lasts = f" for {duration(now - float(since))}" if isinstance(since, int | float) and since else ""
    if member.get("connected"):
        rtt = member.get("rtt_us")
        trip = f", round trip {us_words(float(rtt))}" if isinstance(rtt, int | float) and rtt else ""
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
    return ", ".join(shown) + more + (f" (as of {ago_words(float(str(told_at)), now)})" if old else "")


def _place(mark: Mapping[str, object]) -> str:
    return f"{mark.get('height', 0)}/{mark.get('round', 0)}/{mark.get('step', 0)}"


def chains_part(view: View) -> Html:
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
    return table_of("Chains", columns, [_chain(chain, view) for chain in view.status.get("chains", [])])


def _chain(chain: ChainStatus, view: View) -> tuple[Html | str, ...]:
    last, mark = chain["last_sign_state"] or {}, chain["watermark"] or {}
    step = last.get("step", 0)
    place = f"{last['height']}/{last.get('round', 0)} {_STEPS.get(step, f'step {step}')}" if last else "none yet"
    at = chain["signed_at"]
    when = (
        tag("time", ago_words(at, view.now), datetime=iso_time(at), title=f"{clock(at)} UTC")
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


def validators_part(view: View) -> Html:
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
                    state_tag(words, kind),
                    ago_words(link.get("since"), view.now),
                    link.get("line") or "not told yet",
                    str(link.get("requests", 0)),
                    link.get("last_error") or "—",
                )
            )
    if not rows:
        return tag("p", "The signer does not answer.", class_="calm")
    agents = (view.status.get("agents") or {}).get("links", [])
    table = table_of(
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
    return join(table, table_of("What agents say", ("Agent", "Says", "Requests", "Served without the lead"), said))


def refusals_part(view: View) -> Html:
    known = [
        (one["at"], chain["chain_id"], one) for chain in view.status.get("chains", []) for one in chain["refusals"]
    ]
    if not known:
        return tag("p", "None since this node's signer started.", class_="calm")
    rows = [
        (
            f"{clock(at)[:8]}, {ago_words(at, view.now)}",
            chain_id,
            one["reason"].replace("_", " "),
            f"{one['asked']} block {block_words(one['asked_block'])}"
            if one["asked"] != NO_PLACE
            else "nothing that could be signed",
            f"{one['signed']} "
            + ("what is not known (burnt)" if one.get("burnt") else f"block {block_words(one['signed_block'])}"),
            one["validator"],
            one["why"],
        )
        for at, chain_id, one in sorted(known, key=lambda item: item[0], reverse=True)[:_REFUSALS]
    ]
    columns = ("When", "Chain", "Reason", "Asked for", "Last signed", "Validator", "In words")
    return table_of("Requests that were refused for good", columns, rows)


def events_part(view: View) -> Html:
    newest = _notable(list(view.history.events))[-_EVENTS:]
    if not newest:
        return tag("p", "None yet.", class_="calm")
    shown = [
        tag("li", tag("time", clock(one["at"]), datetime=iso_time(one["at"])), tag("span", describe(one, view.me)), class_=_weight(one))
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


def processes_part(view: View) -> Html:
    rows = [
        (
            child["name"],
            state_tag(child["state"], "good" if child["state"] == ChildState.RUNNING else "bad"),
            duration(child["uptime_s"]) if child["uptime_s"] is not None else "—",
            str(child["restarts"]),
            child["last_exit"] or "—",
        )
        for child in view.status["children"]
    ]
    return table_of("Processes of this node", ("Process", "State", "Up", "Restarts", "Last exit"), rows)


def footer_part(view: View) -> Html:
    node = view.status["node"]
    up = duration(node["uptime_s"]) if node["uptime_s"] is not None else "?"
    return join(
        tag(
            "p",
            f"CometKMS {node['version']}, {node['core'] or '?'} core, up {up}. All times are UTC. This page is read-only.",
        ),
        tag("p", "For programs: ", tag("a", "/status", href="/status"), " · ", tag("a", "/healthz", href="/healthz")),
    )
