"""Tell what happened to the leadership, from events and their own times. Pure: no clock, no I/O, no
HTML.

    peer_disconnected node0 ── leader node1 ── signed_again ── peer_connected node0 ── peer_state node0 complete
    └─ it went away            └─ taken over    └─ the gap      └─ it came back         └─ it is a member like before

Whoever reads the result on a follower knows: who led, when and how it went away, who took over
after how long, how long there was no signature, where the lost node is now.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cometkms.board.sections import EventKind, EventReport, MemberState
from cometkms.printable import clock, duration

#: A leader whose connection is given up so long after another took over had fallen silent before
#: (PEER_SILENT_S and some).
_SILENT_BEFORE_S: Final = 5.0
#: The news of an order may come by another way than that of the next leader.
_NEWS_LATE_S: Final = 0.5
#: A handover that was begun so long before is what ended the leadership; one that came to nothing
#: was longer ago.
_HANDING_OVER_S: Final = 5.0


#: What a senseless request asks for.
NO_PLACE: Final = "0/0/0"


class Cause(StrEnum):
    """How a leader stopped leading."""

    CLOSED = "closed"  # its system closed the connection: the process died or was stopped
    SILENT = "silent"  # nothing came any more: frozen, cut off, or its machine is gone
    ORDERED = "ordered"  # an operator ordered it to hand over, and it did
    PREFERRED = "preferred"  # it gave the lead to the node that leader_priority prefers
    HANDED_OVER = "handed over"  # it is still there
    STOPPED = "stopped"  # it handed over and then went away: a planned stop
    LOST = "lost"  # this very node, or one that leads again: it heard no majority


@dataclass(frozen=True, slots=True)
class Gap:
    """No signature of a chain between two times. until None: not over. Heights: the last before and
    the first after."""

    chain: str
    since: float
    until: float | None
    gap_ms: float
    last_height: int
    height: int | None


@dataclass(frozen=True, slots=True)
class Failover:
    """One change of leadership. after None: nobody leads yet. away_since None: it never went
    away."""

    before: str
    after: str | None
    cause: Cause
    why: str
    lost_at: float
    taken_at: float | None
    term: int | None
    gaps: tuple[Gap, ...]
    away_since: float | None
    back_at: float | None
    complete_at: float | None

    @property
    def took_ms(self) -> float | None:
        """Return how long it took from the loss to the next leader, as seen here."""
        return None if self.taken_at is None else max(0.0, (self.taken_at - self.lost_at) * 1000)


@dataclass(frozen=True, slots=True)
class _Change:
    before: str
    after: str | None
    led_since: float
    vacant_at: float | None
    at: float | None
    term: int | None


def failovers(
    events: Sequence[EventReport], *, me: str, chains: Mapping[str, tuple[float, int]], now: float
) -> list[Failover]:
    """Every change of leadership among `events` (oldest first), oldest first.

    chains: for each chain with a signature the time at which its newest was learned, and its
    height.
    """
    changes = _changes(events)
    ends = [*(change.at or now for change in changes[1:]), now]
    return [_told(change, events, me, chains, until, now) for change, until in zip(changes, ends, strict=False)]


def _changes(events: Sequence[EventReport]) -> list[_Change]:
    found: list[_Change] = []
    leader: str | None = None
    led_since, vacant_at = 0.0, None
    for event in events:
        if event["what"] != "leader":
            continue
        to, at = event.get("leader"), event["at"]
        if to is None:
            vacant_at = vacant_at or (at if leader is not None else None)
            continue
        if leader is not None and (to != leader or vacant_at is not None):
            found.append(_Change(leader, to, led_since, vacant_at, at, event.get("term")))
        if to != leader or vacant_at is not None:
            led_since = at
        leader, vacant_at = to, None
    if leader is not None:
        gone = _last(events, EventKind.PEER_DISCONNECTED, leader, led_since)
        back = _first(events, EventKind.PEER_CONNECTED, leader, gone["at"]) if gone is not None else None
        if vacant_at is not None or (gone is not None and back is None):
            found.append(_Change(leader, None, led_since, vacant_at, None, None))
    return found


def _told(
    change: _Change,
    events: Sequence[EventReport],
    me: str,
    chains: Mapping[str, tuple[float, int]],
    until: float,
    now: float,
) -> Failover:
    before, taken_at = change.before, change.at
    gone = _last(events, EventKind.PEER_DISCONNECTED, before, change.led_since, taken_at)
    later = _first(events, EventKind.PEER_DISCONNECTED, before, taken_at or now, (taken_at or now) + _SILENT_BEFORE_S)
    vacant_at = change.vacant_at
    cause, why, lost_at = Cause.HANDED_OVER, "", vacant_at or taken_at or now
    if before in (me, change.after):
        lost = _last(events, EventKind.LEASE, None, change.led_since, taken_at)
        cause, gone = Cause.LOST, gone if before != me else None
        if before == me and change.after not in (None, me):
            cause = Cause.HANDED_OVER
        lost_at = lost["at"] if lost is not None and not lost.get("granted") else lost_at
    elif gone is not None:
        cause = Cause.CLOSED if gone.get("closed") else Cause.SILENT
        why, lost_at = gone.get("why", ""), gone["at"]
        lost_at = min(lost_at, vacant_at) if vacant_at is not None and cause is Cause.SILENT else lost_at
    elif later is not None:
        cause = Cause.STOPPED if later.get("closed") else Cause.SILENT
        why, gone = later.get("why", ""), later
    if cause is Cause.HANDED_OVER and before == me:
        own = _last(events, EventKind.HANDING_OVER, None, max(change.led_since, lost_at - _HANDING_OVER_S), taken_at)
        why = HANDING_OVER.get(own.get("reason", ""), "") if own is not None else ""
    ordered = _last(events, EventKind.ORDERED, before, change.led_since, (taken_at or now) + _NEWS_LATE_S)
    if ordered is not None and cause in (Cause.HANDED_OVER, Cause.LOST) and change.after not in (None, before):
        cause, lost_at = Cause.ORDERED, min(ordered["at"], taken_at or ordered["at"])
    elif cause in (Cause.HANDED_OVER, Cause.LOST) and change.after not in (None, before):
        preferred = _preferred(events, before, me, change, taken_at or now)
        if preferred is not None:
            cause, why, lost_at = Cause.PREFERRED, "", min(preferred["at"], taken_at or preferred["at"])
    away_since = gone["at"] if gone is not None else None
    back = _first(events, EventKind.PEER_CONNECTED, before, away_since) if away_since is not None else None
    complete = _complete_after(events, before, back["at"]) if back is not None else None
    return Failover(
        before, change.after, cause, why, lost_at, taken_at, change.term,
        _gaps(events, chains, lost_at, taken_at, until, now), away_since,
        back["at"] if back is not None else None, complete,
    )  # fmt: skip


def _preferred(
    events: Sequence[EventReport], before: str, me: str, change: _Change, taken_at: float
) -> EventReport | None:
    """Find that leader's news that it hands over by preference, or on that leader its own note of
    it."""
    since, until = max(change.led_since, taken_at - _HANDING_OVER_S), taken_at + _NEWS_LATE_S
    if before != me:
        return _last(events, EventKind.PREFERRED, before, since, until)
    own = _last(events, EventKind.HANDING_OVER, None, since, taken_at)
    return own if own is not None and own.get("reason") == "preferred" else None


def _gaps(
    events: Sequence[EventReport],
    chains: Mapping[str, tuple[float, int]],
    lost_at: float,
    taken_at: float | None,
    until: float,
    now: float,
) -> tuple[Gap, ...]:
    """Measured by the node where there was a signature since; growing where there was none."""
    found: dict[str, Gap] = {}
    for event in events:
        if event["what"] == EventKind.SIGNED_AGAIN and lost_at <= event["at"] and event["at"] <= max(until, lost_at):
            gap = Gap(
                event["chain"], event["last_at"], event["at"], event["gap_ms"], event["last_height"], event["height"]
            )
            found.setdefault(event["chain"], gap)
    if until >= now:
        for chain, (signed_at, height) in chains.items():
            if chain not in found and signed_at < (taken_at or lost_at):
                found[chain] = Gap(chain, signed_at, None, max(0.0, now - signed_at) * 1000, height, None)
    return tuple(found.values())


def _complete_after(events: Sequence[EventReport], peer: str, back_at: float) -> float | None:
    for event in events:
        if (
            event["at"] >= back_at
            and event["what"] == EventKind.PEER_STATE
            and event.get("peer") == peer
            and event.get("state") == MemberState.COMPLETE
        ):
            return event["at"]
    return None


def _first(
    events: Sequence[EventReport], what: EventKind, peer: str | None, since: float, until: float = float("inf")
) -> EventReport | None:
    return next((one for one in events if since <= one["at"] <= until and _is(one, what, peer)), None)


def _last(
    events: Sequence[EventReport], what: EventKind, peer: str | None, since: float, until: float | None = None
) -> EventReport | None:
    end = float("inf") if until is None else until
    return next((one for one in reversed(events) if since <= one["at"] <= end and _is(one, what, peer)), None)


def _is(event: EventReport, what: EventKind, peer: str | None) -> bool:
    return event["what"] == what and (peer is None or event.get("peer") == peer)


# --- words ---


def sentences(
    story: Failover, members: Mapping[str, tuple[bool, str, str]], usual_s: Mapping[str, float], now: float
) -> list[str]:
    """The story in words. members: connected, state and the last error of each; usual_s: the
    longest usual pause of a chain."""
    said = [_how_it_ended(story)]
    if story.after is None:
        said.append(f"Nobody has taken over yet, for {duration(now - story.lost_at)} so far.")
    elif story.after == story.before:
        said.append(f"{story.after} leads again after {duration((story.took_ms or 0.0) / 1000)}{_term(story)}.")
    elif story.cause in (Cause.ORDERED, Cause.PREFERRED):
        said.append(f"{story.after} led {duration((story.took_ms or 0.0) / 1000)} later{_term(story)}.")
    elif story.cause in (Cause.HANDED_OVER, Cause.STOPPED) and not story.took_ms:
        said.append(f"{story.after} took over at {clock(story.taken_at or now)}{_term(story)}.")
    else:
        said.append(f"{story.after} took over after {duration((story.took_ms or 0.0) / 1000)}{_term(story)}.")
    said += [_gap_words(gap, usual_s.get(gap.chain), several=len(story.gaps) > 1) for gap in story.gaps]
    if story.away_since is not None:
        said.append(_where_it_is(story, members.get(story.before, (False, "", "")), now))
    return said


def _term(story: Failover) -> str:
    return f" (term {story.term})" if story.term is not None else ""


def _how_it_ended(story: Failover) -> str:
    at = clock(story.lost_at)
    match story.cause:
        case Cause.CLOSED:
            return f"{story.before} led and went away at {at}: {_because(story.why)}."
        case Cause.SILENT:
            return f"{story.before} led and fell silent at {at}: frozen, cut off, or its machine is gone."
        case Cause.STOPPED:
            return f"{story.before} led, gave way at {at} and then stopped."
        case Cause.ORDERED:
            return f"{story.before} handed over to {story.after} by order at {at}."
        case Cause.PREFERRED:
            return f"{story.before} gave the lead to {story.after}, which leader_priority prefers, at {at}."
        case Cause.HANDED_OVER if story.why:
            return f"{story.before} handed over by itself at {at}: {story.why}."
        case Cause.HANDED_OVER:
            return f"{story.before} led and gave way at {at}: it handed over, or its heartbeats came too late."
        case Cause.LOST:
            return f"{story.before} led and lost its majority at {at}."


def _because(why: str) -> str:
    """The connection's own words stay: they are what the log has."""
    return f"its process ended ({why})" if why else "its process ended"


def added_s(gap: Gap, usual_s: float | None) -> float | None:
    """How much longer than usual it was: what the change of leadership cost. None: what is usual is
    not known yet."""
    return None if usual_s is None else max(0.0, gap.gap_ms / 1000 - usual_s)


def later_words(gap: Gap, usual_s: float | None) -> str:
    """What a change of leadership added to the pause that a chain has anyway: "0.1 s later than
    usual"."""
    added = added_s(gap, usual_s)
    if added is None:
        return f"{duration(gap.gap_ms / 1000)} after the last"
    return f"{duration(added)} later than usual" if round(added * 1000) else "no later than usual"


def _gap_words(gap: Gap, usual_s: float | None, *, several: bool) -> str:
    """A pause reads as a failure where it is told without the pauses that a chain has anyway: so
    first what was added to them."""
    chain = f"{gap.chain}: " if several else ""
    if gap.until is None:
        no = "no" if several else "No"
        return f"{chain}{no} signature since {clock(gap.since)}, for {duration(gap.gap_ms / 1000)} so far (last height {gap.last_height})."
    heights = f"height {gap.last_height} to {gap.height}" if gap.last_height != gap.height else f"height {gap.height}"
    the = "the" if several else "The"
    if usual_s is None:
        return f"{chain}{the} next signature came {later_words(gap, None)} ({heights})."
    whole = f"after {duration(gap.gap_ms / 1000)}, and up to {duration(usual_s)} is usual"
    return f"{chain}{the} next signature came {later_words(gap, usual_s)} ({heights}; {whole})."


def _where_it_is(story: Failover, member: tuple[bool, str, str], now: float) -> str:
    connected, state, error = member
    away_since = story.away_since or now
    if story.back_at is None:
        reason = f" ({error})" if error else ""
        return f"{story.before} is away, for {duration(now - away_since)} so far{reason}."
    came = f"{story.before} came back at {clock(story.back_at)}, after {duration(story.back_at - away_since)}"
    if not connected:
        return f"{came}, and is away again."
    if state != MemberState.COMPLETE:
        return f"{came}; it is {state or 'starting'}."
    if story.complete_at is not None and story.complete_at - story.back_at >= 0.001:
        return f"{came}, and was complete {duration(story.complete_at - story.back_at)} later."
    return f"{came}, and is complete."


HANDING_OVER: Final = {
    "signer_silent": "its signer does not move, and is replaced",
    "signer_gone": "its signer's process ended",
    "no_validator": "it reaches no validator",
    "preferred": "leader_priority prefers that node",
}


def describe(event: EventReport, me: str) -> str:  # noqa: PLR0912 - a table of sentences
    """One event in words."""
    match event["what"]:
        case EventKind.LEADER:
            leader = event.get("leader")
            return f"{leader} leads (term {event.get('term')})" if leader else "nobody leads: an election is under way"
        case EventKind.LEASE:
            return f"{me} may sign" if event.get("granted") else f"{me} may not sign any more"
        case EventKind.HANDING_OVER:
            why = HANDING_OVER.get(event.get("reason", ""), "")
            return f"{me} hands over{' to ' + event['peer'] if event.get('peer') else ''}: {why}"
        case EventKind.PREFERRED:
            return f"{event.get('peer')} hands over to the node that leader_priority prefers"
        case EventKind.ORDERED:
            return f"{event.get('peer')} hands over by order"
        case EventKind.PEER_CONNECTED:
            return f"{event.get('peer')} connected"
        case EventKind.PEER_DISCONNECTED:
            return f"{event.get('peer')} disconnected: {event.get('why') or 'no reason was given'}"
        case EventKind.STARTED:
            return f"{me}: the state process started"
        case EventKind.NODE_STATE:
            return f"{me} is {event.get('state')}"
        case EventKind.PEER_STATE:
            return f"{event.get('peer')} is {event.get('state')}"
        case EventKind.SIGNED_AGAIN:
            gap_s = event.get("gap_ms", 0.0) / 1000
            height = event.get("height")
            # a node that stood still learns of it late: what it knows is when it learned of the two
            return f"{event.get('chain')}: height {height} is the first signature under the new leader that {me} learned of, {duration(gap_s)} after the last"
        case EventKind.HEIGHT_ADMITTED:
            return f"{event.get('chain')}: by order, heights up to {event.get('height')} may be signed"
        case EventKind.CHILD_RESTARTED:
            return f"{me}: the process {event.get('child')} ended ({event.get('why') or 'no reason is known'}) and starts again"
        case EventKind.VALIDATOR_CONNECTED:
            return f"{event.get('chain')}: validator {event.get('addr')} connected"
        case EventKind.VALIDATOR_LOST:
            return (
                f"{event.get('chain')}: validator {event.get('addr')} lost: {event.get('why') or 'no reason is known'}"
            )
        case EventKind.REFUSED:
            reason, asked = event.get("reason", "").replace("_", " "), event.get("asked")
            sides = f", asked {asked}, signed {event.get('signed')}" if asked != NO_PLACE else ""
            return f"{event.get('chain')}: refused {event.get('validator')}: {reason}{sides}"
        case EventKind.ALERT_RAISED:
            return f"alert raised: {event.get('name', '').replace('_', ' ')}: {event.get('why')}"
        case EventKind.ALERT_OVER:
            return f"alert over: {event.get('name', '').replace('_', ' ')}: {event.get('why')}"
        case other:
            return str(other).replace("_", " ")
