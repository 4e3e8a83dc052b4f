"""The acceptor: promises of this one node, durable before anybody hears of them.

The dangerous order, in one function: decide → write and sync → answer. Nothing overtakes it, because nobody else holds the
store. `Store` is what it needs of cometkms.store.promise_store.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from cometkms.model import HRS, Reason, Refusal, Row, SignBytes, Watermark
from cometkms.rules.promise import Accept, decide_promise, decide_veto


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

    def __init__(self, store: Store, rows: Sequence[int], *, parse_sign_bytes: Callable[[bytes], SignBytes]) -> None:
        """`rows`: the store's numbers of the rows that are configured here; nothing is promised in others."""
        self._store = store
        self._parse = parse_sign_bytes
        self._numbers = {(store.rows[row].public_key, store.rows[row].chain_id): row for row in rows}
        self._signed: dict[int, Watermark] = {}

    def mark(self, row: int) -> Watermark:
        """The durable mark."""
        return self._store.mark(row)

    def locate(self, public_key: bytes, sign_bytes: bytes) -> tuple[int, HRS] | Refusal:
        """Row and place that the bytes themselves name. Raises: ProtocolError if they are not strictly canonical."""
        parsed = self._parse(sign_bytes)
        row = self._numbers.get((public_key, parsed.chain_id))
        if row is None:
            return Refusal(Reason.UNKNOWN_ROW, f"no chain {parsed.chain_id!r} with this key is configured here")
        return row, parsed.hrs

    def judge(self, row: int, hrs: HRS, sign_bytes: bytes) -> Refusal | Accept:
        """What promise() would do now. Row and place are locate()'s."""
        if not self._store.opened(row):
            return Refusal(Reason.UNKNOWN_ROW, "not every node's mark for this row is known yet")
        if row in self._signed:
            veto = decide_veto(self._signed[row], hrs, sign_bytes)
            if veto is not None:
                return veto
        return decide_promise(self._store.mark(row), hrs, sign_bytes)

    def promise(self, row: int, hrs: HRS, sign_bytes: bytes) -> Refusal | None:
        """Promise exactly these bytes, durably (None); or say why not.

        Bytes held already rest on their own sync: the store syncs before a mark is the newest, and syncs again what it finds at
        open. Raises: StoreFailure (end the process).
        """
        decision = self.judge(row, hrs, sign_bytes)
        if isinstance(decision, Refusal):
            return decision
        if decision.write:
            self._store.write_mark(row, Watermark(hrs, sign_bytes))
        return None

    def on_signed(self, row: int, signed: Watermark) -> None:
        """A signature that the caller verified over these bytes and key: from now on it forbids everything it contradicts."""
        if row not in self._signed or signed.hrs > self._signed[row].hrs:
            self._signed[row] = signed
