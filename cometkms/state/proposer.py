"""The proposer: the only maker of permits.

One per row; it lives as long as its process, and counts only what was answered to it.

    propose ─▶ choose bytes ─▶ ask the others, own promise, durable ─▶ a majority holds these bytes: permit
                    ▲                                        │
                    └──────── a refusal shows other bytes ───┘        nothing can win any more: refuse

Rule 4, in one step that nothing else of this process comes between: the own promise is judged, the
others are asked, and the own disk syncs while theirs do. Whatever is counted, or answered to a
reader, comes after it, when this node's own mark is durable at the place or above; without that an
accept could be counted that its holder lost and nobody else remembers (tests/model: "asked before
the own sync"). The node counts itself only if it holds exactly the bytes asked for. An accept is
for ever, so a late one counts too. One node alone is its own majority.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from cometkms.model import FINAL_REASONS, HRS, Permit, Reason, Refusal, Watermark, quorum_of
from cometkms.rules.candidate import Stand, View, choose, view_of
from cometkms.state.acceptor import Acceptor

Verdict = Permit | Refusal


class Ask(Protocol):
    """Send a promise request; its id, or None when the member is not connected."""

    def __call__(self, member: str, row: int, sign_bytes: bytes) -> int | None: ...


@dataclass(slots=True)
class _Place:
    """What is known of the place under way."""

    hrs: HRS
    requested: bytes
    views: dict[str, View]
    accepted: dict[bytes, set[str]] = field(default_factory=dict)
    # the last bytes each member was asked for
    asked: dict[str, bytes] = field(default_factory=dict)
    requests: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    candidate: bytes = b""


class Proposer:
    """Proposals of one row, one place at a time."""

    def __init__(
        self,
        *,
        row: int,
        public_key: bytes,
        me: str,
        others: tuple[str, ...],
        acceptor: Acceptor,
        ask: Ask,
        same_but_timestamp: Callable[[bytes, bytes], bool],
    ) -> None:
        """`others`: the other members of the epoch."""
        self._row = row
        self._public_key = public_key
        self._me = me
        self._others = others
        self._quorum = quorum_of(1 + len(others))
        self._acceptor = acceptor
        self._ask = ask
        self._same_but_timestamp = same_but_timestamp
        self._place: _Place | None = None
        self._hints: dict[str, Watermark] = {}

    def propose(self, hrs: HRS, sign_bytes: bytes) -> Verdict | None:
        """Reserve the place. None: the others were asked; on_promised() brings the outcome.

        Asking again for the same place goes on where the last time ended. Raises: StoreFailure;
        ProtocolError if the bytes are not canonical; both before anything left this node.
        """
        located = self._acceptor.locate(self._public_key, sign_bytes)
        if isinstance(located, Refusal):
            return located
        if located != (self._row, hrs):
            return Refusal(Reason.WRONG_CHAIN, f"the bytes name {tuple(located[1])}, not {tuple(hrs)} of this chain")
        if self._place is None or self._place.hrs != hrs:
            views = {member: view_of(self._hints.get(member, Watermark()), hrs) for member in self._others}
            self._place = _Place(hrs, sign_bytes, views)
        else:
            self._place.requested = sign_bytes
            self._place.asked.clear()
        return self._pursue(self._place)

    def on_promised(self, member: str, request_id: int, reason: Reason, mark: Watermark) -> Verdict | None:
        """A member answered. The outcome, when this answer decides it. Raises: StoreFailure."""
        place = self._place
        asked = place.requests.get(request_id) if place is not None else None
        if reason is not Reason.NONE and mark.hrs > self._hints.get(member, Watermark()).hrs:
            self._hints[member] = mark
        if place is None or asked is None or asked[0] != member:
            return None  # nobody answers in another's name
        del place.requests[request_id]
        sign_bytes = asked[1]
        if reason is Reason.NONE:
            decided = len(place.accepted.get(place.candidate, ())) >= self._quorum
            place.accepted.setdefault(sign_bytes, set()).add(member)
            place.views[member] = View(Stand.HOLDS, sign_bytes)
            if decided:
                return None
        elif reason in FINAL_REASONS:
            place.views[member] = self._refused_view(mark, place.hrs, reason)
        return self._pursue(place)

    @staticmethod
    def _refused_view(mark: Watermark, hrs: HRS, reason: Reason) -> View:
        """A refusal without a mark that explains it (jump, veto) closes the place at that member."""
        view = view_of(mark, hrs)
        return View(Stand.CLOSED, b"", reason) if view.stand is Stand.OPEN else view

    def on_member(self, member: str) -> Verdict | None:
        """The member is there (again), or changed: what it was asked for may be lost, so it is
        asked again.
        """
        if self._place is None:
            return None
        self._place.asked.pop(member, None)
        return self._pursue(self._place)

    @property
    def closed_up_to(self) -> HRS:
        """No place below it can win any more, for words: this node stands there, or so many members
        that the rest is no majority.
        """
        own = self._acceptor.mark(self._row).hrs
        said = (self._hints.get(member, Watermark()).hrs for member in self._others)
        heard = sorted((own, *said), reverse=True)
        return max(own, heard[len(heard) - self._quorum])

    def hint(self, member: str, mark: Watermark) -> None:
        """What a member said of its mark: chooses bytes, never counts."""
        if mark.hrs >= self._hints.get(member, Watermark()).hrs:
            self._hints[member] = mark

    def on_member_gone(self, member: str) -> None:
        """Its connection ended: what it said of its mark goes with it, for whoever said it may have
        stood there in another's name. Whoever comes says it anew. Its accepts are for ever.
        """
        self._hints.pop(member, None)
        place = self._place
        if place is not None and place.views[member].sign_bytes not in self._accepted_of(place, member):
            place.views[member] = View()

    @staticmethod
    def _accepted_of(place: _Place, member: str) -> list[bytes]:
        return [sign_bytes for sign_bytes, holders in place.accepted.items() if member in holders]

    def forget(self) -> None:
        """Nobody waits for the place under way any more; promises stay what they are."""
        self._place = None

    def _pursue(self, place: _Place) -> Verdict | None:
        own = self._acceptor.mark(self._row)
        chosen = choose(
            place.hrs,
            place.requested,
            own,
            place.views,
            self._quorum,
            same_but_timestamp=self._same_but_timestamp,
        )
        if isinstance(chosen, Refusal):
            self._place = None
            return chosen
        if own.hrs < place.hrs:
            judged = self._acceptor.judge(self._row, place.hrs, chosen)
            if isinstance(judged, Refusal):
                self._place = None
                return judged
            self._ask_others(place, chosen)  # their disks sync while this one does
            self._acceptor.promise(self._row, place.hrs, chosen)
            own = self._acceptor.mark(self._row)
        holders = place.accepted.setdefault(chosen, set())
        if own.hrs == place.hrs and own.sign_bytes == chosen:
            holders.add(self._me)
        place.candidate = chosen
        if len(holders) >= self._quorum:
            return Permit(chosen)
        self._ask_others(place, chosen)
        return None

    def _ask_others(self, place: _Place, chosen: bytes) -> None:
        """Those that may accept, were not asked for these bytes yet, and are connected."""
        for member in self._others:
            self._ask_member(place, member, chosen)

    def _ask_member(self, place: _Place, member: str, chosen: bytes) -> None:
        view = place.views[member]
        may_accept = view.stand is Stand.OPEN or view.sign_bytes == chosen
        if not may_accept or member in place.accepted.get(chosen, ()) or place.asked.get(member) == chosen:
            return
        request_id = self._ask(member, self._row, chosen)
        if request_id is not None:
            place.asked[member] = chosen
            place.requests[request_id] = (member, chosen)
