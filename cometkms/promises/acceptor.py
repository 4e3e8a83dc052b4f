"""The acceptor: the only maker of permits. One node alone is its own majority.

The dangerous order, in one function: decide → write and sync → permit. Nothing overtakes it, because nobody else holds the
store. `Store` is what it needs of cometkms.store.promise_store.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cometkms.model import HRS, Reason, Refusal, SignBytes, Watermark
from cometkms.rules.promise import decide_promise


class Store(Protocol):
    """Durable marks."""

    def mark(self, number: int) -> Watermark: ...

    def write_mark(self, number: int, mark: Watermark) -> None:
        """Durable on return. Raises: StoreFailure."""
        ...


@dataclass(frozen=True, slots=True)
class Permit:
    """These bytes are durable at their place on a majority of the nodes: they, and nothing else, may be signed there."""

    row: int
    hrs: HRS
    sign_bytes: bytes


class Acceptor:
    """Promises for the rows of one node."""

    def __init__(
        self,
        store: Store,
        chain_ids: tuple[str, ...],
        *,
        parse_sign_bytes: Callable[[bytes], SignBytes],
        same_but_timestamp: Callable[[bytes, bytes], bool],
    ) -> None:
        """`chain_ids`: of the rows, in the store's order. The two functions are the core's."""
        self._store = store
        self._chain_ids = chain_ids
        self._parse = parse_sign_bytes
        self._same_but_timestamp = same_but_timestamp

    def reserve(self, row: int, hrs: HRS, sign_bytes: bytes) -> Permit | Refusal:
        """Promise `sign_bytes` at `hrs`, durably, or say why not.

        A permit for bytes held already rests on their own sync: the store syncs before a mark is the newest, and syncs again
        what it finds at open. Raises: StoreFailure (end the process); ProtocolError if the bytes are not canonical.
        """
        parsed = self._parse(sign_bytes)
        if parsed.hrs != hrs or parsed.chain_id != self._chain_ids[row]:
            return Refusal(Reason.WRONG_CHAIN, f"the bytes name {tuple(parsed.hrs)} of {parsed.chain_id!r}")
        mark = self._store.mark(row)
        decision = decide_promise(mark, hrs, sign_bytes, same_but_timestamp=self._same_but_timestamp)
        if isinstance(decision, Refusal):
            return decision
        if decision.write:
            self._store.write_mark(row, Watermark(hrs, decision.sign_bytes))
        return Permit(row, hrs, decision.sign_bytes)
