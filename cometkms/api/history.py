"""The last ten minutes of a node as the status page draws them: who led, what was signed when, how
long it took. Pure and bounded.

Fed with the status document a few times a second. What needs to be exact is taken from the times
that events and signatures carry themselves; how often this looks decides only how soon it is seen.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cometkms.api.failovers import Failover, failovers
from cometkms.api.histograms import Counted, read, since, together
from cometkms.api.status import ChainStatus, Status
from cometkms.board.sections import AlertReport, EventKind, EventReport, LinkState, RefusalReport, ValidatorReport
from cometkms.limits import FOUR_BEATS_S, HISTORY_CHAINS, HISTORY_EVENTS, HISTORY_S, HISTORY_SAMPLE_S

_SIGNINGS_MAX: Final = int(HISTORY_S / HISTORY_SAMPLE_S)
_GAPS_MAX: Final = 64
_GAP_MIN_S: Final = 1.0  # a shorter pause is nobody's trouble unless the leader changed in it
_GAP_FACTOR: Final = 3.0  # … and a pause is one when it lasts so many times what is usual
_INTERVALS: Final = 40  # of which "usual" is made
_INTERVALS_MIN: Final = 4
_GAP_UNKNOWN_S: Final = 10.0  # … before there are so many
MINUTE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Band:
    """Say that `leader` led from `at` on (UNIX seconds); None means nobody, or that nobody knew."""

    at: float
    leader: str | None


@dataclass(frozen=True, slots=True)
class Signing:
    """The newest signature of a chain at one look."""

    at: float
    height: int


@dataclass(frozen=True, slots=True)
class Pause:
    """No signature between two times. exact: the state process measured it, at a change of
    leadership."""

    since: float
    until: float
    exact: bool


@dataclass(frozen=True, slots=True)
class Second:
    """One second of the node that signs: how many signatures, and their latency. at: its end."""

    at: float
    signed: int
    p50_us: float
    p99_us: float


class ChainLine:
    """One chain's signatures."""

    def __init__(self) -> None:
        self.signings: deque[Signing] = deque(maxlen=_SIGNINGS_MAX)
        self.pauses: deque[Pause] = deque(maxlen=_GAPS_MAX)
        self._intervals: deque[float] = deque(maxlen=_INTERVALS)

    @property
    def usual_s(self) -> float | None:
        """The longest pause that is usual: nine of ten intervals are shorter. None: not enough is
        known."""
        if len(self._intervals) < _INTERVALS_MIN:
            return None
        return sorted(self._intervals)[int(len(self._intervals) * 0.9)]

    @property
    def gap_s(self) -> float:
        """A pause so long is worth a mark."""
        usual = self.usual_s
        return _GAP_UNKNOWN_S if usual is None else max(_GAP_MIN_S, _GAP_FACTOR * usual)

    def sample(self, at: float, height: int) -> None:
        """The newest signature known, and when it was learned."""
        last = self.signings[-1] if self.signings else None
        if last is not None and at <= last.at:
            return
        if last is not None:
            interval = at - last.at
            if interval > self.gap_s:
                self._add(Pause(last.at, at, exact=False))
            else:
                self._intervals.append(interval)
        self.signings.append(Signing(at, height))

    def add_exact(self, pause: Pause) -> None:
        """Replaces what sampling made of the same pause."""
        kept = [one for one in self.pauses if one.exact or one.until <= pause.since or one.since >= pause.until]
        self.pauses.clear()
        self.pauses.extend(kept)
        self._add(pause)

    def _add(self, pause: Pause) -> None:
        if not any(one.exact and one.since < pause.until and pause.since < one.until for one in self.pauses):
            self.pauses.append(pause)

    def forget(self, before: float) -> None:
        """Drop what is older, but for the last signature of all."""
        while len(self.signings) > 1 and self.signings[0].at < before:
            self.signings.popleft()
        while self.pauses and self.pauses[0].until < before:
            self.pauses.popleft()


class History:
    """Remember what the page and the alerts need of the last minutes, from what sample() is
    told."""

    def __init__(self) -> None:
        self.events: deque[EventReport] = deque(maxlen=HISTORY_EVENTS)
        self.bands: deque[Band] = deque()
        self.chains: dict[str, ChainLine] = {}
        self.seconds: deque[Second] = deque(maxlen=int(HISTORY_S))
        self.begun_at: float | None = None
        self._known: set[str] = set()
        self._children: dict[str, int] = {}
        self._links: dict[tuple[str, str], ValidatorReport] = {}
        self._refused: dict[str, RefusalReport] = {}  # the newest that was seen of each chain
        self._counted = Counted()
        self._signed = 0
        self._second_at: float | None = None
        # what was counted at the end of each of the last 60 seconds
        self._minute: deque[tuple[float, Counted]] = deque()

    def sample(self, status: Status, now: float) -> bool:
        """Whether something happened that a reader wants to see at once. now: UNIX seconds."""
        first = self.begun_at is None
        if self.begun_at is None:
            self.begun_at = now
        news = [event for event in status.get("events", []) if self._is_new(event)]
        news += self._derived(status, now, first=first)
        self._sample_chains(status.get("chains", []))
        for event in sorted(news, key=lambda one: one["at"]):
            self._take(event)
        self._sample_leader(status, now)
        if self._second_at is None or now - self._second_at >= FOUR_BEATS_S or now < self._second_at:
            self._sample_second(status.get("chains", []), now)
        self._forget(now - HISTORY_S)
        return bool(news)

    # --- events ---

    def note(self, event: EventReport) -> None:
        """Something that no process wrote on the board."""
        self._take(event)

    def _is_new(self, event: EventReport) -> bool:
        """The board shows the newest 64 again and again."""
        return "at" in event and "what" in event and _name(event) not in self._known

    def _take(self, event: EventReport) -> None:
        if len(self.events) == HISTORY_EVENTS:
            self._known.discard(_name(self.events[0]))
        self.events.append(event)
        self._known.add(_name(event))
        if len(self.events) > 1 and event["at"] < self.events[-2]["at"]:
            ordered = sorted(self.events, key=lambda one: one["at"])
            self.events.clear()
            self.events.extend(ordered)
        if event["what"] == EventKind.LEADER:
            self._band(event["at"], event.get("leader"))
        elif event["what"] == EventKind.SIGNED_AGAIN and (line := self.chains.get(event["chain"])) is not None:
            line.add_exact(Pause(event["last_at"], event["at"], exact=True))

    def _derived(self, status: Status, now: float, *, first: bool) -> list[EventReport]:
        """Events of the processes that keep none: what differs from the last look."""
        found: list[EventReport] = []
        for child in status.get("children", []):
            name, restarts = child["name"], child["restarts"]
            if not first and restarts > self._children.get(name, 0):
                found.append(
                    {"at": now, "what": EventKind.CHILD_RESTARTED, "child": name, "why": child["last_exit"] or ""}
                )
            self._children[name] = restarts
        for chain in status.get("chains", []):
            found += self._link_events(chain, now, first=first)
            found += self._refusal_events(chain)
        return found

    def _link_events(self, chain: ChainStatus, now: float, *, first: bool) -> list[EventReport]:
        found: list[EventReport] = []
        for link in chain["validators"]:
            key = (chain["chain_id"], link.get("addr", ""))
            was = self._links.get(key, {}).get("state")
            self._links[key] = link
            event: EventReport = {"at": link.get("since", now), "what": "", "chain": key[0], "addr": key[1]}
            if link.get("state") == LinkState.CONNECTED and was != LinkState.CONNECTED:
                found.append({**event, "what": EventKind.VALIDATOR_CONNECTED})
            elif (  # STANDBY, of a node that does not lead, is nobody's trouble
                was == LinkState.CONNECTED
                and link.get("state") not in (LinkState.CONNECTED, LinkState.STANDBY)
                and not first
            ):
                found.append({**event, "what": EventKind.VALIDATOR_LOST, "why": link.get("last_error", "")})
        return found

    def _refusal_events(self, chain: ChainStatus) -> list[EventReport]:
        found: list[EventReport] = []
        name = chain["chain_id"]
        those, last = chain["refusals"], self._refused.get(name)
        # in the order in which they were told: those that were counted together are told late
        for refusal in those[those.index(last) + 1 :] if last in those else those:
            self._refused[name] = refusal
            found.append(
                {
                    "at": refusal["at"],
                    "what": EventKind.REFUSED,
                    "chain": name,
                    "validator": refusal["validator"],
                    "reason": refusal["reason"],
                    "why": refusal["why"],
                    "asked": refusal["asked"],
                    "signed": refusal["signed"],
                }
            )
        return found

    # --- lines ---

    def _band(self, at: float, leader: str | None) -> None:
        if not self.bands or self.bands[-1].leader != leader:
            self.bands.append(Band(max(at, self.bands[-1].at if self.bands else at), leader))

    def _sample_leader(self, status: Status, now: float) -> None:
        """What no event told: the state process is new, or away."""
        self._band(now, status.get("leader_id") or None)

    def _sample_chains(self, chains: list[ChainStatus]) -> None:
        """The first that are signed for, as many as there are lanes."""
        for chain in chains:
            name, signed_at, last = chain["chain_id"], chain["signed_at"], chain["last_sign_state"]
            if signed_at is None or last is None:
                continue
            if name not in self.chains and len(self.chains) < HISTORY_CHAINS:
                self.chains[name] = ChainLine()
            if name in self.chains:
                self.chains[name].sample(signed_at, last.get("height", 0))

    def _sample_second(self, chains: list[ChainStatus], now: float) -> None:
        self._second_at = now
        counted = together(read(chain["latency_hist"]) for chain in chains)
        signed = sum(chain["counters"].get("signed", 0) for chain in chains)
        news, more = since(counted, self._counted), max(0, signed - self._signed)
        self._minute.append((now, counted))
        while len(self._minute) > 1 and self._minute[0][0] < now - MINUTE_S:
            self._minute.popleft()
        began = self._counted.bounds == () and not self._signed
        self._counted, self._signed = counted, signed
        p50, p99 = news.quantile_us(0.5), news.quantile_us(0.99)
        if p50 is not None and p99 is not None and not began:
            self.seconds.append(Second(now, more, p50, p99))

    def minute(self, now: float) -> tuple[float, float] | None:
        """p50 and p99, in microseconds, of what this node signed within the last minute; None:
        nothing."""
        if not self._minute or now - self._minute[-1][0] >= MINUTE_S:
            return None
        news = since(self._minute[-1][1], self._minute[0][1])
        p50, p99 = news.quantile_us(0.5), news.quantile_us(0.99)
        return None if p50 is None or p99 is None else (p50, p99)

    def _forget(self, before: float) -> None:
        while len(self.bands) > 1 and self.bands[1].at < before:
            self.bands.popleft()
        while self.seconds and self.seconds[0].at < before:
            self.seconds.popleft()
        for line in self.chains.values():
            line.forget(before)

    # --- stories ---

    def failovers(self, status: Status, now: float) -> list[Failover]:
        """Every change of leadership that is remembered, oldest first."""
        chains = {
            chain["chain_id"]: (chain["signed_at"], (chain["last_sign_state"] or {}).get("height", 0))
            for chain in status.get("chains", [])
            if chain["signed_at"] is not None
        }
        me = status["node"]["id"] if "node" in status else ""
        return failovers(list(self.events), me=me, chains=chains, now=now)


def alert_event(raised: bool, alert: AlertReport, at: float) -> EventReport:
    """Make the event that an alert was raised, or is over, at that UNIX time."""
    what = EventKind.ALERT_RAISED if raised else EventKind.ALERT_OVER
    return {"at": at, "what": what, "name": alert["name"], "peer": alert["subject"], "why": alert["what"]}


def _name(event: Mapping[str, Any]) -> str:
    """What makes two events the same."""
    return repr(sorted(event.items()))
