"""An operator's word to the leader from any node: hand over, restart yourself, or say what stands
in the way. Sans-I/O.

    operator ── control socket ──▶ a node ── Order ──▶ the leader: judge, do, log
                                          ◀─ Obeyed ──

Invariant: nothing here touches a promise, a mark or the replicated log. A leader obeys members only
(the channel is authenticated), only while it leads, one order in DRILL_ORDER_EVERY_S, and restarts
only when every member is complete and its own process has run for DRILL_UPTIME_S. Every order is in
the log, obeyed or not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from cometkms.limits import DRILL_ORDER_EVERY_S, DRILL_UPTIME_S, DRILL_WORDS_MAX_BYTES
from cometkms.logger import Logger
from cometkms.wire.peer_messages import Action, Obeyed, Order

_WAITING_MAX = 16  # orders without an answer; an older one is forgotten
# the request id of an answer that nobody asked for: an earlier version knows no such request, and
# ignores it
_NEWS = 0


class News(StrEnum):
    """What a leader tells the members without being asked.

    An earlier version knows the first only, and ignores the others.
    """

    ORDERED = "hands over by order"
    PREFERRED = "hands over to the preferred node"
    DRILL = "takes part in a drill"


@dataclass(frozen=True, slots=True)
class DrillPorts:
    """What the node around it knows and does.

    leads(): "" when it leads and may promise, else why not. missing(): members that are away or not
    complete. hand_over(to): "" when somebody is asked to take over, else why not. restart(): soon,
    "" or why it cannot. trouble(): what of the signer's work stands in a drill's way.
    """

    others: tuple[str, ...]
    send: Callable[[str, Order | Obeyed], bool]
    leads: Callable[[], str]
    missing: Callable[[], tuple[str, ...]]
    hand_over: Callable[[str | None], str]
    restart: Callable[[], str]
    trouble: Callable[[], str]


class Drills:
    """The two ends of an order, both in one node."""

    def __init__(
        self,
        *,
        nonce: int,
        ports: DrillPorts,
        clock: Callable[[], float],
        log: Logger,
        heard: Callable[[str, News], None] = lambda _member, _news: None,
    ) -> None:
        """`nonce`: this process's.

        `clock`: monotonic seconds. `heard(member, news)`: that leader said so; "": this node did.
        """
        self._nonce = nonce
        self._ports = ports
        self._clock = clock
        self._log = log
        self._heard = heard
        self._began_at = clock()
        self._obeyed_at = -1e9
        self._obeyed_by = ""
        self._request_id = 0
        self._waiting: dict[int, tuple[str, Callable[[str], None]]] = {}

    # --- asking ---

    def ask(self, leader: str, action: Action, to: str, on_answer: Callable[[str], None]) -> bool:
        """Send the order; `on_answer(why)` is called if the answer comes.

        False: that member is not connected.
        """
        self._request_id += 1
        if not self._ports.send(leader, Order(self._nonce, self._request_id, action, to)):
            return False
        while len(self._waiting) >= _WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[self._request_id] = (leader, on_answer)
        return True

    def on_obeyed(self, member: str, answer: Obeyed) -> None:
        """Take the answer of the member that this process asked, or a leader's news,
        for those who look on.
        """
        if answer.request_id == _NEWS:
            if answer.why in set(News):
                self._heard(member, News(answer.why))
            return
        asked, on_answer = self._waiting.get(answer.request_id, ("", None))
        if answer.nonce == self._nonce and asked == member and on_answer is not None:
            del self._waiting[answer.request_id]
            on_answer(answer.why)

    # --- obeying ---

    def on_order(self, member: str, order: Order) -> None:
        """Judge, do, answer, and say so."""
        why = self.obey(member, order.action, order.to)
        words = why.encode()[:DRILL_WORDS_MAX_BYTES].decode("utf-8", "ignore")
        self._ports.send(member, Obeyed(order.nonce, order.request_id, words))

    def obey(self, by: str, action: Action, to: str) -> str:
        """Do it, if it may be done: "", or why not. `by`: who asks."""
        why = self._do(by, action, to)
        self._log.warning("order", by=by, action=action.name.lower(), to=to, obeyed=not why, why=why)
        if not why:
            news = News.ORDERED if action is Action.TRANSFER else News.DRILL
            self._heard("", news)
            self.tell(news)
        return why

    def tell(self, news: News) -> None:
        """Tell every other member that is connected."""
        for other in self._ports.others:
            self._ports.send(other, Obeyed(self._nonce, _NEWS, news.value))

    def _do(self, by: str, action: Action, to: str) -> str:
        if action is not Action.TRANSFER and (
            why := self._ports.leads()
        ):  # who leads for a moment only can hand over, too
            return why
        if action is Action.CHECK:
            return self._ports.trouble()
        if self._clock() - self._obeyed_at < DRILL_ORDER_EVERY_S:
            return f"an order of {self._obeyed_by} was obeyed less than {DRILL_ORDER_EVERY_S:g} s ago, of another drill or by hand"
        why = self._transfer(to) if action is Action.TRANSFER else self._restart()
        if not why:
            self._obeyed_at, self._obeyed_by = self._clock(), by
        return why

    def _transfer(self, to: str) -> str:
        if to and to not in self._ports.others:
            return f"{to!r} is not another member; the others are: {', '.join(self._ports.others) or 'none'}"
        why = self._ports.hand_over(to or None)
        if not why:
            return ""
        return f"{to} cannot take over now: {why}" if to else f"nobody can take over now: {why}"

    def _restart(self) -> str:
        missing = self._ports.missing()
        if missing:
            return f"not everybody is there and complete: {', '.join(missing)}"
        if (age := self._clock() - self._began_at) < DRILL_UPTIME_S:
            return f"it runs for {age:.1f} s only; at least {DRILL_UPTIME_S:g} s are asked for"
        return self._ports.restart()
