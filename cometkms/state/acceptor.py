"""The acceptor: promises of this one node, durable before anybody hears of them.

The dangerous order, in one function: decide → write and sync → answer. Nothing overtakes it,
because nobody else holds the store. `Store` is what it needs of cometkms.store.promise_store.
Whatever is learned of a row here, the fast path is told at once: its floor, at or below which
nothing is plain, and its reach, above which nothing is.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from cometkms.core.interface import HotPath
from cometkms.core.pure.hot import PureHotPath
from cometkms.limits import JUMP_HEIGHTS
from cometkms.model import HRS, Reason, Refusal, Row, SignBytes, Watermark
from cometkms.rules import jump
from cometkms.rules.burnt import is_burnt_up_to
from cometkms.rules.jump import Known
from cometkms.rules.promise import Accept, decide_promise


class Store(Protocol):
    """Durable marks."""

    @property
    def rows(self) -> Sequence[Row]: ...

    def mark(self, number: int) -> Watermark: ...

    def opened(self, number: int) -> bool: ...

    def write_mark(self, number: int, mark: Watermark) -> None:
        """Durable on return. Raises: StoreFailure."""
        ...


class Acceptor:
    """Promises for the configured rows of one node."""

    def __init__(
        self,
        store: Store,
        rows: Sequence[int],
        *,
        parse_sign_bytes: Callable[[bytes], SignBytes],
        wall_clock: Callable[[], float],
        known: Mapping[int, Known] | None = None,
        majority: int = 1,
        hot: HotPath | None = None,
    ) -> None:
        """`rows`: the store's numbers of the rows that are configured here; nothing is
        promised in others.

        `wall_clock`: UNIX seconds. `known`: how high a row had verifiably come when this process
        began, by its number. `majority`: how many of the members are one. `hot`: is told what is
        plain.
        """
        self._hot: HotPath = PureHotPath() if hot is None else hot
        self._store = store
        self._parse = parse_sign_bytes
        self._wall_clock = wall_clock
        self._known = dict(known or {})
        self._numbers = {(store.rows[row].key, store.rows[row].chain_id): row for row in rows}
        self._signed: dict[int, Watermark] = {}
        self._majority = majority
        # by row: the highest height that each other member showed as burnt
        self._burnt: dict[int, dict[str, int]] = {}
        for row in self._numbers.values():
            self._tell_reach(row)

    def mark(self, row: int) -> Watermark:
        """The durable mark."""
        return self._store.mark(row)

    def locate(self, key: bytes, sign_bytes: bytes) -> tuple[int, HRS] | Refusal:
        """Row and place that the bytes themselves name.

        `key`: Row.key. Raises: ProtocolError if they are not strictly canonical.
        """
        parsed = self._parse(sign_bytes)
        row = self._numbers.get((key, parsed.chain_id))
        if row is None:
            return Refusal(Reason.UNKNOWN_ROW, f"no chain {parsed.chain_id!r} with this key is configured here")
        return row, parsed.hrs

    def judge(self, row: int, hrs: HRS, sign_bytes: bytes) -> Refusal | Accept:
        """What promise() would do now. Row and place are locate()'s."""
        if not self._store.opened(row):
            return Refusal(Reason.UNKNOWN_ROW, "not every node's mark for this row is known yet")
        signed = self._signed.get(row, Watermark())
        return decide_promise(self._store.mark(row), hrs, sign_bytes, reach=self.reach(row), signed=signed)

    def promise(self, row: int, hrs: HRS, sign_bytes: bytes) -> Refusal | None:
        """Promise exactly these bytes, durably (None); or say why not.

        Bytes held already rest on their own sync: the store syncs before a mark is the newest, and
        syncs again what it finds at open. Raises: StoreFailure (end the process).
        """
        decision = self.judge(row, hrs, sign_bytes)
        if isinstance(decision, Refusal):
            return decision
        if decision.write:
            self._store.write_mark(row, Watermark(hrs, sign_bytes))
        self._tell_reach(row)
        return None

    def forbids(self, row: int) -> Watermark:
        """What a refusal shows: the row's mark, or the verified signature, where it
        says as much or more.
        """
        mark, signed = self._store.mark(row), self._signed.get(row, Watermark())
        above = signed.signature and (signed.hrs > mark.hrs or signed.sign_bytes == mark.sign_bytes)
        return signed if above else mark

    def on_signed(self, row: int, signed: Watermark) -> None:
        """A signature that the caller verified over these bytes and key: from now on it forbids
        everything it contradicts.
        """
        if row not in self._signed or signed.hrs > self._signed[row].hrs:
            self._signed[row] = signed
            self._learn(row, signed.hrs.height)
        self._hot.raise_floor(row, signed.hrs)
        self._tell_reach(row)

    def on_recovered(self, row: int) -> None:
        """The row's mark was read from all the others after a loss: they stand there, whether or
        not a signature shows it.
        """
        self._learn(row, self._store.mark(row).hrs.height)
        self._tell_reach(row)

    def on_shown(self, row: int, member: str, mark: Watermark) -> int:
        """A member says that it stands there. One that says more than is plausible, or than a chain
        skips at once, takes the fast path from nobody: who really stands there refuses, and is
        heard then. Returns: the height that is known from now on by what a majority of others burnt
        on their operator's word; 0 when nothing is that was not plausible before.
        """
        hrs = mark.hrs
        learned = self._hear_burnt(row, member, hrs.height) if is_burnt_up_to(mark) else 0
        if hrs.height <= min(self.reach(row), self._store.mark(row).hrs.height + JUMP_HEIGHTS):
            self._hot.raise_floor(row, hrs)
        return learned

    def _hear_burnt(self, row: int, member: str, height: int) -> int:
        """Where a majority without this node was recovered to a height, the chain has come there:
        no promise of a few makes such marks.
        """
        heights = self._burnt.setdefault(row, {})
        heights[member] = max(height, heights.get(member, 0))
        if len(heights) < self._majority:
            return 0
        agreed = sorted(heights.values(), reverse=True)[self._majority - 1]
        if agreed < self.reach(row):
            return 0
        self.admit(row, agreed)
        return agreed

    def admit(self, row: int, height: int) -> None:
        """The operator's word: the chain has come to that height.

        Until this process ends, or a signature is above it.
        """
        self._known[row] = jump.admitted(self._known.get(row), height, self._wall_clock())
        self._tell_reach(row)

    def reach(self, row: int) -> int:
        """The highest height that is plausible in the row by now (rule 13); any, as
        long as its mark is 0.

        A mark that no signature is known for was believed as the first of its row, and is what the
        next ones are held against.
        """
        if row not in self._known and (height := self._store.mark(row).hrs.height) > 0:
            self._learn(row, height)
        return jump.reach(self._known.get(row), self._wall_clock())

    def believed_reach(self, row: int) -> int:
        """How high a member's unproven mark may lie by what this node knows; 0 where it knows
        nothing of the row.
        """
        return self.reach(row) if self._store.mark(row).hrs.height > 0 else 0

    def _tell_reach(self, row: int) -> None:
        """How far up a place is plain: as far as it is plausible now, and no farther than a chain
        skips at once.

        A long skip is decided here, where the report of the signature before it has been heard; and
        so is a row's first place.
        """
        self._hot.set_reach(row, min(self.believed_reach(row), self._store.mark(row).hrs.height + JUMP_HEIGHTS))

    def _learn(self, row: int, height: int) -> None:
        if height > 0:
            self._known[row] = jump.learned(self._known.get(row), height, self._wall_clock())
