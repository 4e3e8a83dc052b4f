"""Passing the lead on: by an operator's order, to whom the operator prefers, or because this node
is of no use. Sans-I/O.

Drills (an order) ────────┐
Usefulness (no use here) ─┼──▶ hand_over ──▶ the replicated log asks the members that are able, one after the other
Favourite (a preference) ─┘
"""

from collections.abc import Callable

from cometkms.board.sections import REACH_FACT, EventKind
from cometkms.limits import SIGN_STATE_QUIET_S
from cometkms.logger import Logger
from cometkms.state.drills import DrillPorts, Drills, News
from cometkms.state.favourite import MAJORITY_FACT, PREFERRED, Favourite, FavouritePorts
from cometkms.state.leadership import Leadership
from cometkms.state.reservations import Reservations
from cometkms.state.roster import Epoch, Roster
from cometkms.state.shell import Outside
from cometkms.state.useful import Cause, Usefulness, UsefulPorts


class Handover:
    """Judge when the lead is to be passed on, and pass it on."""

    def __init__(
        self,
        *,
        epoch: Epoch,
        nonce: int,
        roster: Roster,
        reservations: Reservations,
        leadership: Leadership,
        outside: Outside,
        clock: Callable[[], float],
        log: Logger,
    ) -> None:
        self._epoch = epoch
        self._roster = roster
        self._reservations = reservations
        self._leadership = leadership
        self._outside = outside
        self.drills = Drills(
            nonce=nonce,
            ports=DrillPorts(
                others=epoch.others,
                send=roster.send,
                leads=lambda: leadership.why_not,
                missing=roster.missing,
                hand_over=self.hand_over,
                restart=outside.restart,
                trouble=outside.signer_trouble,
            ),
            clock=clock,
            log=log,
            heard=self._on_news,
        )
        self.useful = Usefulness(
            ports=UsefulPorts(
                beat=outside.signer_beat,
                reached=outside.validator_reached,
                able=self._able,
                says=lambda name: roster.members[name].reach,
                hand_over=self._begin,
                replace_signer=outside.replace_signer,
                tell=lambda reach: roster.tell_fact(REACH_FACT, reach.value),
                happened=self._on_useless,
            ),
            clock=clock,
            log=log,
        )
        self.favourite = Favourite(
            me=epoch.me,
            ports=FavouritePorts(
                facts=lambda name: dict(roster.facts if name == epoch.me else roster.members[name].facts),
                able=self._able,
                says=lambda name: roster.members[name].reach,
                whole=lambda name: leadership.raft is not None and leadership.raft.whole(name),
                busy=lambda: reservations.quiet_s < SIGN_STATE_QUIET_S,
                waiting=lambda: reservations.waiting,
                hand_over=self._begin,
                majority_s=self._majority_s,
                tell=lambda ms: roster.tell_fact(MAJORITY_FACT, ms),
                happened=self._on_preferred,
            ),
            clock=clock,
            log=log,
        )

    @property
    def counters(self) -> dict[str, int]:
        """How often this node handed over by itself, by reason."""
        return {**self.useful.counters, **self.favourite.counters}

    def hand_over(self, to: str | None = None, *, in_turn: bool = False) -> str:
        """Pass the leadership on, to the given member or to whoever can take it: "" when that is
        under way, else why it is not.

        Asked are members that are complete, connected and no longer starting: the one that has been
        so for longest first; `in_turn`: the one that follows in the list of members, so that each
        gets it, where two would hand it to each other for ever.
        """
        raft, roster = self._leadership.raft, self._roster
        if raft is None:
            return "this node is alone"
        if not raft.leading:
            return f"{self._epoch.me} does not lead"
        why = {name: roster.why_not_able(name) for name in ((to,) if to is not None else self._epoch.others)}
        able = [name for name in self._epoch.after_me if not why.get(name, "not wanted")]
        if not in_turn:
            able.sort(key=lambda name: roster.members[name].able_at)
        if not able:
            return ", ".join(f"{name} {reason}" for name, reason in sorted(why.items()))
        raft.transfer(tuple(able))
        return ""

    def look(self) -> None:
        """A leader whose requests nobody answers, while Raft is well, lets another try; who does
        not lead lets go of them.
        """
        if self._reservations.look() and self._leadership.leased:
            self.hand_over(in_turn=True)

    def look_at_use(self) -> None:
        """Whether this node is of use as the leader, and the one that is preferred."""
        leads = self._leadership.leased and self._leadership.signer != 0
        self.useful.look(leads=leads)
        self.favourite.look(leads=leads)

    def _able(self) -> tuple[str, ...]:
        return tuple(name for name in self._epoch.others if not self._roster.why_not_able(name))

    def _begin(self, to: str | None) -> bool:
        """Whether a handover begins now: not while another is under way."""
        raft = self._leadership.raft
        return raft is not None and not raft.handing_over and not self.hand_over(to)

    def _majority_s(self) -> float | None:
        """The round trip to the farthest of the members that a permit of this node needs; None
        where too few are measured.
        """
        raft, needed = self._leadership.raft, self._epoch.quorum - 1
        if raft is None:
            return None
        known = sorted(trip for name in self._epoch.others if (trip := raft.round_trip_s(name)) is not None)
        return known[needed - 1] if len(known) >= needed else None

    def _on_news(self, member: str, news: News) -> None:
        """A leader's own word, or (member "") this node's."""
        if news is News.PREFERRED:
            self.favourite.on_preferred()
            self._outside.happened(EventKind.PREFERRED, peer=member)
            return
        self.favourite.on_order()
        if news is News.ORDERED:
            self._outside.happened(EventKind.ORDERED, peer=member or self._epoch.me)

    def _on_preferred(self, to: str) -> None:
        self._outside.happened(EventKind.HANDING_OVER, reason=PREFERRED, peer=to)
        self.drills.tell(News.PREFERRED)

    def _on_useless(self, cause: Cause, to: str) -> None:
        self._outside.happened(EventKind.HANDING_OVER, reason=cause.value, peer=to)
