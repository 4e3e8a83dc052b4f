"""The newest verified signature of each row, wherever it was learned of, and its way into the
replicated sign state (rule 6).

    signer ── Signed ──▶ ┌───────────────┐ ──▶ the state file, the signer's marks
    state file, log ───▶ │ verified here │ ──▶ the acceptor, which then forbids what contradicts it
    members' marks ────▶ └───────────────┘ ──▶ the log of the node that leads; a node that does not lead shows it to the others

A signature may veto and never permits. Nothing that is shown has any effect before it verifies.
"""

import hashlib
from collections.abc import Callable
from typing import Protocol

from cometkms.core.interface import Core, HotPath
from cometkms.errors import ProtocolError
from cometkms.limits import SIGN_STATE_HEIGHTS, SIGN_STATE_LATEST_S, SIGN_STATE_QUIET_S
from cometkms.logger import Logger
from cometkms.model import Row, Watermark
from cometkms.state.acceptor import Acceptor
from cometkms.state.shell import Outside
from cometkms.store.promise_store import PromiseStore


def row_key(row: Row) -> bytes:
    """A row's name in the replicated log: 32 bytes."""
    return hashlib.blake2b(row.key + row.chain_id.encode(), digest_size=32, person=b"cmkms-row").digest()


class Lead(Protocol):
    """What is to be known of the lead, and done by who has it: cometkms.state.leadership."""

    leased: bool
    """Whether this node's signer may dial, and this node propose what is not urgent."""

    @property
    def leads_log(self) -> bool:
        """Whether this node leads the replicated log, with or without a lease."""
        ...

    def tell_signer(self, row: int, mark: Watermark) -> None:
        """The newest signature of a row moved by another's word."""
        ...

    def replicate(self, key: bytes, mark: Watermark) -> None:
        """Give a signature to the replicated log, or show it to the members where this
        node does not lead.
        """
        ...


class Signatures:
    """Keep the newest verified signature (or burnt place of the state file) of each row, and
    replicate it when it is quiet.
    """

    lead: Lead

    def __init__(
        self,
        *,
        store: PromiseStore,
        core: Core,
        acceptor: Acceptor,
        hot: HotPath,
        outside: Outside,
        counters: dict[str, int],
        clock: Callable[[], float],
        log: Logger,
    ) -> None:
        self._store = store
        self._core = core
        self._acceptor = acceptor
        self._hot = hot
        self._outside = outside
        self._counters = counters
        self._clock = clock
        self._log = log
        self._newest: dict[int, Watermark] = {}
        self._numbers = {row_key(row): number for number, row in enumerate(store.rows)}
        self._false_marks_of: set[int] = set()  # rows of which the log was told
        self._unreplicated: dict[int, float] = {}
        # the height of what this node last gave to the log, by row
        self._replicated: dict[int, int] = {}

    def of(self, row: int) -> Watermark:
        """The last place of a row with a verified signature (or a burnt one from its state file)."""
        return self._newest.get(row, Watermark())

    def number_of(self, key: bytes) -> int | None:
        """The store's number of the row with that key in the replicated log."""
        return self._numbers.get(key)

    @property
    def waiting(self) -> bool:
        """Whether something is to be replicated."""
        return bool(self._unreplicated)

    # --- learning of one ---

    def verifies(self, row: Row, mark: Watermark) -> bool:
        """Whether the mark is a true signature of the row's key, for its chain, at the
        place it names.
        """
        if not mark.signature or not mark.sign_bytes:
            return False
        try:
            parsed = self._core.parse_sign_bytes(mark.sign_bytes)
        except ProtocolError:
            return False
        if parsed.hrs != mark.hrs or parsed.chain_id != row.chain_id:
            return False
        return self._core.verify(row.public_key, mark.sign_bytes, mark.signature)

    def begin_with(self, row: int, mark: Watermark) -> None:
        """What the row's state file shows: a signature, verified here, or a place that is burnt. At
        or below it nothing is plain on the fast path; the acceptor tells it the rest.
        """
        if not mark.signature:
            self._newest[row] = mark
        elif self._is_true(row, mark):
            self._take(row, mark)
        self._hot.raise_floor(row, self.of(row).hrs)

    def on_made(self, row: int, mark: Watermark) -> None:
        """The signer made it with a permit of this cluster: it needs no second check
        before it goes to the log.
        """
        if self._is_news(row, mark):
            self._take(row, mark)
            self._outside.on_signed(row, mark)
            self._unreplicated.setdefault(row, self._clock())

    def on_shown(self, row: int, mark: Watermark) -> None:
        """A member shows it.

        A leader puts it into the log: who made it may not have led, and could only show it.
        """
        if self._learn(row, mark) and self.lead.leads_log:
            self._unreplicated.setdefault(row, self._clock())

    def on_applied(self, key: bytes, mark: Watermark) -> None:
        """The replicated sign state moved."""
        number = self._numbers.get(key)
        if number is not None:
            self._learn(number, mark)

    def believes(self, key: bytes, mark: Watermark) -> bool:
        """Whether a mark of the replicated sign state is a true signature of the row with that key,
        which this node knows.
        """
        number = self._numbers.get(key)
        if number is None:
            return False
        row = self._store.rows[number]
        if (mark.signature and mark == self._newest.get(number)) or self.verifies(row, mark):
            return True
        self._counters["false_mark"] = self._counters.get("false_mark", 0) + 1
        if number not in self._false_marks_of:
            self._false_marks_of.add(number)
            self._log.error(
                "a mark without a true signature stands in the replicated sign state: it is not believed",
                chain=row.chain_id,
                place="/".join(map(str, mark.hrs)),
            )
        return False

    def _is_news(self, row: int, mark: Watermark) -> bool:
        known = self.of(row)
        return mark.hrs > known.hrs or (mark.hrs == known.hrs and not known.signature and bool(mark.signature))

    def _learn(self, row: int, mark: Watermark) -> bool:
        """Verify what somebody else showed before it has any effect; whether it is news."""
        if not mark.signature or not self._is_news(row, mark) or not self._is_true(row, mark):
            return False
        self._take(row, mark)
        self._outside.on_signed(row, mark)
        self.lead.tell_signer(row, mark)
        return True

    def _is_true(self, row: int, mark: Watermark) -> bool:
        shown = self._store.rows[row]
        if self.verifies(shown, mark):
            return True
        self._log.error("a signature that does not verify was shown", chain=shown.chain_id)
        return False

    def _take(self, row: int, mark: Watermark) -> None:
        self._newest[row] = mark
        self._acceptor.on_signed(row, mark)

    # --- replicating it ---

    def replicate_all(self) -> None:
        """This node leads: what was signed while nobody led goes to its log."""
        for row, mark in self._newest.items():
            if mark.signature:
                self._unreplicated.setdefault(row, self._clock())

    def replicate(self, quiet_s: float) -> None:
        """Newest signatures into the log, when no request is near: a burst does not pay for it, but
        what the members find plausible is to keep up with it (rule 13). Who does not lead shows
        them instead. `quiet_s`: since the last request.
        """
        now = self._clock()
        for row, since in tuple(self._unreplicated.items()):
            height = self._newest[row].hrs.height
            far = height - self._replicated.get(row, 0) >= SIGN_STATE_HEIGHTS
            if quiet_s >= SIGN_STATE_QUIET_S or far or now - since >= SIGN_STATE_LATEST_S:
                del self._unreplicated[row]
                self._replicated[row] = height
                self.lead.replicate(row_key(self._store.rows[row]), self._newest[row])
