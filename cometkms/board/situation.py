"""How this node and its cluster stand: who leads × who is there × what is signed. Pure: from the
status board's sections and a time.

The one table of situations. /healthz, /status, the page, the metrics, the commands, the alerts and
the doctor say what stands here; docs/STATUS_PAGE.md has the same table for people, held to this one
by a test.

Nobody is believed to lead because he led once: the state process names a leader only while it hears
one (state.raft.RaftLog.leader). And what a process says holds only while that process answers: the
section of one that died or hangs holds the words of the past.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypedDict

from cometkms.board.dating import is_ahead
from cometkms.board.sections import (
    ChainReport,
    ChildState,
    LinkState,
    MemberState,
    Sections,
    StateSection,
    ValidatorReport,
)
from cometkms.limits import FAILING_MIN, FAILING_S, HUNG_AFTER_S, SIGNED_LATELY_S
from cometkms.model import FINAL_REASONS, Reason, quorum_of
from cometkms.printable import clock

#: A loop that has not beaten for so long is reported, and not believed, before the supervisor gives
#: up on it.
BEAT_LATE_S: Final = HUNG_AFTER_S / 2


class Leads(StrEnum):
    """Who leads, as far as this node hears."""

    HERE = "this node"
    # elected, and not allowed to sign: the lease is to come, or is over
    WAITING = "this node, not signing yet"
    ELSEWHERE = "another node"
    NOBODY = "nobody"
    UNKNOWN = "not known"  # the state process does not answer


class There(StrEnum):
    """Complete members that this node is connected to, itself included, against what a majority
    needs."""

    ALONE = "one node alone"
    ALL = "all"
    SPARE = "more than a majority"
    BARE = "a bare majority"
    SHORT = "no majority"
    UNKNOWN = "not known"


class Signs(StrEnum):
    """What becomes of a chain's requests, as far as this node knows. The worse come first."""

    REFUSED = "refused"  # every request of late was refused for good
    UNANSWERED = "unanswered"  # every request of late was answered empty
    NO_VALIDATOR = "no validator"  # none is connected to the node that leads
    NOBODY = "nobody signs"  # nobody leads, or the leader may not sign
    UNKNOWN = "not known"  # the signer does not answer
    NOT_ASKED = "not asked"  # a validator is connected and asks for nothing new
    NOT_SEEN = "not seen"  # another node leads, and no signature of it was learned of lately
    SIGNED = "signed"


#: How the page judges a situation in which nothing is to be done.
WELL: Final = "All is well"
#: By who leads and what is signed: whether /healthz says ok, and how the page judges it. Every
#: combination that there is.
TABLE: Final[dict[tuple[Leads, Signs], tuple[bool, str]]] = {
    (Leads.HERE, Signs.SIGNED): (True, WELL),
    (Leads.HERE, Signs.NOT_ASKED): (True, WELL),
    (Leads.HERE, Signs.NO_VALIDATOR): (True, "Not signing"),
    (Leads.HERE, Signs.REFUSED): (False, "Not signing"),
    (Leads.HERE, Signs.UNANSWERED): (False, "Not signing"),
    (Leads.HERE, Signs.UNKNOWN): (False, "Not signing"),
    (Leads.WAITING, Signs.NOBODY): (False, "Not signing"),
    (Leads.ELSEWHERE, Signs.SIGNED): (True, WELL),
    (Leads.ELSEWHERE, Signs.NOT_SEEN): (True, WELL),
    (Leads.NOBODY, Signs.NOBODY): (False, "Not signing"),
    (Leads.UNKNOWN, Signs.UNKNOWN): (False, "Blind"),
}


@dataclass(frozen=True, slots=True)
class Failing:
    """A validator whose requests have all failed since `since` (UNIX seconds). `reason`: a Reason's
    name; `why`: with both sides."""

    chain_id: str
    validator: str
    count: int
    since: float
    reason: str
    why: str

    @property
    def refused(self) -> bool:
        """Tell whether requests are refused for good, or only answered empty."""
        return self.reason in _FINAL

    def words(self) -> str:
        """Which requests, since when, and why."""
        reason = self.why or self.reason.replace("_", " ")
        what = "refused" if self.refused else "not answered"
        return f"every request of {self.validator} since {clock(self.since)[:8]} UTC was {what}: {reason}"


@dataclass(frozen=True, slots=True)
class ChainSituation:
    """`failing`: why nothing is signed, where requests fail. signed_at: UNIX seconds of the newest
    signature known; None: none since the start."""

    chain_id: str
    signs: Signs
    signed_at: float | None
    failing: Failing | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """One cell of the table. `leader`: "" when nobody leads or this node does not know. `why`: why
    this node does not count, in its words.

    `present` of `size` members are connected and complete; `quorum` are needed. `missing`: who is
    not connected, and the last error. `sealed`: who is connected, and has left this epoch for ever.
    """

    me: str
    leads: Leads
    leader: str
    there: There
    present: int
    size: int
    quorum: int
    missing: tuple[tuple[str, str], ...]
    sealed: tuple[str, ...]
    node_state: str
    why: str
    chains: tuple[ChainSituation, ...]
    failing: tuple[Failing, ...]
    # its epoch is sealed for others: what becomes of the cluster it does not see
    left: bool = False

    @property
    def signs(self) -> Signs:
        """Return how the chain signs that is worst off."""
        if self.leads in _NOBODY_SIGNS:
            return _NOBODY_SIGNS[self.leads]
        order = list(Signs)
        otherwise = Signs.NOT_ASKED if self.leads is Leads.HERE else Signs.NOT_SEEN
        return min((one.signs for one in self.chains), key=order.index, default=otherwise)

    @property
    def healthy(self) -> bool:
        """Whether this node does its part: what /healthz says of the cluster; its own processes are
        looked at beside it."""
        return TABLE[self.leads, self.signs][0] and not self.why

    @property
    def verdict(self) -> str:
        """Two or three words for the page."""
        return TABLE[self.leads, self.signs][1]

    @property
    def headline(self) -> str:
        """The situation in a sentence or two. It changes when the situation does, not with each
        second."""
        match self.leads:
            case Leads.UNKNOWN:
                return "The state process does not answer: this node knows nothing of the cluster just now."
            case Leads.NOBODY if self.left:
                return f"{self.me} was taken out: {self.why}."
            case Leads.NOBODY:
                return f"Nobody leads, as far as {self.me} knows. Nothing is signed: {self.why_nobody()}."
            case Leads.WAITING:
                return f"{self.me} leads, and may not sign yet{': ' + self.why if self.why else ''}."
            case Leads.HERE:
                return self._headline_here()
            case _:
                mine = "follows" if self.node_state in (MemberState.COMPLETE, "") else f"is {self.node_state}"
                seen = self._seen()
                signs = "leads and signs" if self._some_signed else "leads"
                return f"{self.leader} {signs}.{seen} {self.me} {mine}{' and does not count' if mine != 'follows' else ''}."

    @property
    def _some_signed(self) -> bool:
        """A chain of several may have no validator that asks."""
        return any(one.signs is Signs.SIGNED for one in self.chains)

    def _headline_here(self) -> str:
        trouble = [one for one in self.chains if one.signs not in (Signs.SIGNED, Signs.NOT_ASKED)]
        if not trouble:
            return f"{self.me} leads and signs." if self._some_signed else f"{self.me} leads.{self._not_asked()}"
        if len(trouble) == len(self.chains):
            nothing = "Nothing is signed"
        else:
            nothing = f"Nothing is signed on {', '.join(one.chain_id for one in trouble)}"
        return f"{self.me} leads. {nothing}: {self._reason(trouble[0])}."

    def _reason(self, chain: ChainSituation) -> str:
        """Why nothing is signed on it; with what a leader that is elected by members which promise
        nothing any more lacks."""
        if self.leads is not Leads.HERE or chain.signs is not Signs.UNANSWERED or self.there is not There.SHORT:
            return _reason(chain)
        are = "is" if self.present == 1 else "are"
        return f"{self.present} of {self.size} nodes {are} complete, {self.quorum} are needed; {_reason(chain)}"

    def _not_asked(self) -> str:
        newest = max((one.signed_at for one in self.chains if one.signed_at), default=None)
        if newest is None:
            return " No validator has asked for a signature yet."
        return f" No validator asks for a signature: the last was at {clock(newest)[:8]} UTC."

    def _seen(self) -> str:
        """What a follower knows of signatures, where that is not what it should be."""
        if self._some_signed:
            return ""
        newest = max((one.signed_at for one in self.chains if one.signed_at), default=None)
        if newest is None:
            return " No signature was seen since this node started."
        return f" The last signature that was seen is of {clock(newest)[:8]} UTC."

    def why_nobody(self) -> str:
        """Why nobody leads, as far as this node can tell."""
        if self.why:
            return self.why
        if self.there in (There.SHORT, There.UNKNOWN):
            there = self.size - len(self.missing)
            are = "is" if there == 1 else "are"
            of_them = f", {self.present} of them complete" if self.present < there else ""
            of_them += f", {', '.join(self.sealed)} sealed" if self.sealed else ""
            away = ", ".join(f"{name}: {error or 'not connected'}" for name, error in self.missing)
            return f"{there} of {self.size} nodes {are} there{of_them}, {self.quorum} are needed{f' ({away})' if away else ''}"
        return "a leader is being elected"

    @property
    def absence(self) -> str:
        """Say that nobody signs for the cluster, and why; "" where somebody leads and may, or
        nothing is known."""
        if self.leads is Leads.NOBODY and self.left:
            return ""
        if self.leads is Leads.NOBODY:
            return f"no node leads, nothing is signed: {self.why_nobody()}"
        if self.leads is Leads.WAITING:
            return f"this node leads and may not sign yet, nothing is signed{': ' + self.why if self.why else ''}"
        return ""

    def trouble(self) -> list[str]:
        """Why this node cannot be relied on, as far as the table says; empty when it is healthy."""
        if self.leads is Leads.UNKNOWN:
            return []  # which process does not answer is said of the processes
        found = [words for words in (self.why or self.absence,) if words]
        found += [
            f"nothing is signed on {one.chain_id}: {self._reason(one)}"
            for one in self.chains
            if one.signs in (Signs.REFUSED, Signs.UNANSWERED)
        ]
        return found

    def document(self) -> "SituationReport":
        """Return what /status shows."""
        return SituationReport(
            leads=self.leads.name.lower(),
            there=self.there.name.lower(),
            signs=self.signs.name.lower(),
            verdict=self.verdict,
            headline=self.headline,
            absence=self.absence,
            chains={one.chain_id: one.signs.name.lower() for one in self.chains},
            failing=[_failing_document(one) for one in self.failing],
        )


class FailingReport(TypedDict):
    """Say of a chain that most requests failed lately. The words are those of `count` requests
    since `since`, and why."""

    chain_id: str
    validator: str
    count: int
    since: float
    reason: str
    why: str
    words: str


class SituationReport(TypedDict):
    """The cell of the table in which this node is; the names are those of Leads, There and Signs in
    lower case."""

    leads: str
    there: str
    signs: str
    verdict: str
    headline: str
    absence: str
    chains: dict[str, str]
    failing: list[FailingReport]


def _failing_document(failing: Failing) -> FailingReport:
    return FailingReport(
        chain_id=failing.chain_id,
        validator=failing.validator,
        count=failing.count,
        since=failing.since,
        reason=failing.reason,
        why=failing.why,
        words=failing.words(),
    )


# the state process learns of this node's own signatures a moment later: a later one is another
# node's
_LEARNED_LATE_S: Final = 2.0
_UNKNOWN_ROW: Final = Reason.UNKNOWN_ROW.name.lower()
# what a request is answered with that waits for members in vain
_WAITED: Final = (Reason.NO_PERMIT.name.lower(), Reason.NOT_LEADER.name.lower())
_FINAL: Final = {reason.name.lower() for reason in Reason if reason in FINAL_REASONS}
_NOBODY_SIGNS: Final = {
    Leads.WAITING: Signs.NOBODY,
    Leads.NOBODY: Signs.NOBODY,
    Leads.UNKNOWN: Signs.UNKNOWN,
}


def situation_of(sections: Sections, beat_ages_s: Mapping[str, float | None], now: float) -> Situation:
    """The cell of the table in which this node is. now: UNIX seconds."""
    state = sections["state"] if answers("state", sections, beat_ages_s) else None
    signer = sections["signer"] if answers("signer", sections, beat_ages_s) else None
    told = state or StateSection()
    me = told.get("node_id") or "this node"
    leads, leader = _leads(state, me)
    present, size = _present(told)
    quorum = quorum_of(size)
    reports = {one.get("chain_id", ""): one for one in (signer["chains"] if signer and "chains" in signer else [])}
    signed = {one.get("chain_id", ""): one.get("signed_at") for one in told.get("rows", [])}
    failing = (
        [
            _explained(one, told)
            for chain_id, report in reports.items()
            for one in _failing_of(report, signed.get(chain_id), now)
        ]
        if leads is Leads.HERE
        else []
    )
    found = [
        _chain(chain_id, reports.get(chain_id), signed.get(chain_id), leads, known=signer is not None, now=now)
        for chain_id in dict.fromkeys([*signed, *reports])
    ]
    chains = tuple(replace(one, failing=_explained(one.failing, told)) if one.failing else one for one in found)
    return Situation(
        me, leads, leader, _there(present, size, quorum), present, size, quorum, _missing(told), _sealed(told),
        told.get("node_state", ""), _own_why(told), chains, tuple(failing), _left(told, me),
    )  # fmt: skip


def answers(name: str, sections: Sections, beat_ages_s: Mapping[str, float | None]) -> bool:
    """Whether a process is there to mean what it wrote: it runs, and its loop beats.

    One of which the supervisor has said nothing yet is believed: it writes its section once it is
    up.
    """
    for child in (sections["supervisor"] or {}).get("children", []):
        if child.get("name") == name:
            age_s = beat_ages_s.get(name)
            return child.get("state", ChildState.RUNNING) == ChildState.RUNNING and (
                age_s is None or age_s <= BEAT_LATE_S
            )
    return True


def _own_why(state: StateSection) -> str:
    """What keeps this node itself from counting. A complete one counts: its `why` says then why
    nobody leads, as the table does. One whose store is gone counts for nobody."""
    if gone := state.get("store_gone", ""):
        return gone
    return state.get("why", "") if state.get("node_state") != MemberState.COMPLETE else ""


def _left(state: StateSection, me: str) -> bool:
    """Whether this node is sealed for a next epoch without itself."""
    following = state.get("next", [])
    return state.get("node_state") == MemberState.SEALED and bool(following) and me not in following


def _leads(state: StateSection | None, me: str) -> tuple[Leads, str]:
    if state is None:
        return Leads.UNKNOWN, ""
    leader = state.get("leader_id") or ""
    if state.get("is_leader"):
        return Leads.HERE, leader or me
    if not leader:
        return Leads.NOBODY, ""
    return (Leads.WAITING if leader == me else Leads.ELSEWHERE), leader


def _present(state: StateSection) -> tuple[int, int]:
    members = state.get("members", [])
    return sum(bool(one.get("connected")) and one.get("state") == MemberState.COMPLETE for one in members), len(members)


def _missing(state: StateSection) -> tuple[tuple[str, str], ...]:
    away = [one for one in state.get("members", []) if not one.get("connected") and not one.get("self")]
    return tuple((str(one.get("id", "")), str(one.get("error") or "")) for one in away)


def _sealed(state: StateSection) -> tuple[str, ...]:
    members = state.get("members", [])
    return tuple(
        str(one.get("id", "")) for one in members if one.get("connected") and one.get("state") == MemberState.SEALED
    )


def _there(present: int, size: int, quorum: int) -> There:
    if size == 0:
        return There.UNKNOWN
    if present < quorum:
        return There.SHORT
    if size == 1:
        return There.ALONE
    return There.ALL if present == size else There.BARE if present == quorum else There.SPARE


def _chain(
    chain_id: str, report: ChainReport | None, learned_at: float | None, leads: Leads, *, known: bool, now: float
) -> ChainSituation:
    """What becomes of one chain's requests."""
    if leads in _NOBODY_SIGNS:
        return ChainSituation(chain_id, _NOBODY_SIGNS[leads], learned_at)
    if leads is Leads.ELSEWHERE:
        return ChainSituation(chain_id, Signs.SIGNED if _lately(learned_at, now) else Signs.NOT_SEEN, learned_at)
    if not known or report is None:
        return ChainSituation(chain_id, Signs.UNKNOWN, learned_at)
    here = [one for one in (learned_at, report.get("last_signed_at")) if one is not None]
    signed_at = max(here, default=None)
    if (failing := _all_failing(report, learned_at, now)) is not None:
        return ChainSituation(chain_id, Signs.REFUSED if failing.refused else Signs.UNANSWERED, signed_at, failing)
    links = report.get("validators", [])
    if links and not any(link.get("state") == LinkState.CONNECTED for link in links):
        return ChainSituation(chain_id, Signs.NO_VALIDATOR, signed_at)
    return ChainSituation(chain_id, Signs.SIGNED if _lately(signed_at, now) else Signs.NOT_ASKED, signed_at)


def _lately(at: float | None, now: float) -> bool:
    """Whether it was within the last minute, as far as the clock tells."""
    return at is not None and not is_ahead(at, now) and now - at < SIGNED_LATELY_S


def _failing_of(report: ChainReport, learned_at: float | None, now: float) -> list[Failing]:
    """Each validator of which no request is answered with a signature any more, though it asks."""
    elsewhere = _signed_elsewhere(report, learned_at)
    return [_row(report, link, elsewhere) for link in report.get("validators", []) if _fails(link, elsewhere, now)]


def _all_failing(report: ChainReport, learned_at: float | None, now: float) -> Failing | None:
    """The one that asked last, if nobody got a signature since, and that lasts."""
    elsewhere = _signed_elsewhere(report, learned_at)
    signed_at = max(_signed_here(report), elsewhere)
    failing = [link for link in report.get("validators", []) if _fails(link, signed_at, now)]
    last = max(failing, key=lambda link: (link.get("failing") or {}).get("at", 0.0), default=None)
    return _row(report, last, elsewhere) if last is not None else None


def _signed_here(report: ChainReport) -> float:
    return max((link.get("signed_at") or 0.0 for link in report.get("validators", [])), default=0.0)


def _signed_elsewhere(report: ChainReport, learned_at: float | None) -> float:
    """Return when another node signed last; 0: not since this one did. Of its own signatures the
    state process learns a moment later."""
    return learned_at if learned_at is not None and learned_at > _signed_here(report) + _LEARNED_LATE_S else 0.0


def _fails(link: ValidatorReport, signed_at: float, now: float) -> bool:
    """Whether its failures are a row: several, and over some time. The signer shows none of a
    validator that is away.

    signed_at: what failed before that is not counted.
    """
    row = link.get("failing")
    if is_ahead(signed_at, now):  # which failures came after it is not told by their times
        signed_at = 0.0
    if not row or row.get("count", 0) < FAILING_MIN or row.get("at", 0.0) <= signed_at:
        return False
    since = max(row.get("since", 0.0), signed_at)
    return now - since >= FAILING_S or is_ahead(since, now)


def _row(report: ChainReport, link: ValidatorReport, elsewhere: float) -> Failing:
    """Its row of failures: from its own first one, though another validator got signatures
    meanwhile; of an earlier lead's is counted what came after another node signed."""
    row = link.get("failing") or {}
    first, count, reason, why = row.get("since", 0.0), row.get("count", 0), row.get("reason", ""), row.get("why", "")
    since = elsewhere if first < elsewhere < row.get("at", 0.0) else first
    return Failing(report.get("chain_id", ""), link.get("addr", ""), count, since, reason, why)


def _explained(failing: Failing, state: StateSection) -> Failing:
    """The same with the cause, where that is that other members do not have the chain: the one
    asked says that it waits for their marks, or for a majority that cannot come. What a member that
    is away had is past.
    """
    members = state.get("members", [])
    away = [name for name, _ in _missing(state)]
    lacking = [one["id"] for one in members if one["id"] not in away and failing.chain_id in one.get("lacks", [])]
    in_vain = len(members) - len(away) - len(lacking) < quorum_of(len(members))
    if not lacking or failing.reason not in (_UNKNOWN_ROW, *(_WAITED if in_vain else ())):
        return failing
    have = "has" if len(lacking) == 1 else "have"
    why = f"{', '.join(lacking)} {have} no chain {failing.chain_id} with this node's key"
    if away:
        why += f", and {', '.join(away)} {'is' if len(away) == 1 else 'are'} not connected"
    return replace(failing, reason=_UNKNOWN_ROW, why=why)


def _reason(chain: ChainSituation) -> str:
    if chain.failing is not None:
        return chain.failing.words()
    if chain.signs is Signs.UNKNOWN:
        return "the signer does not answer"
    return "no validator is connected"
