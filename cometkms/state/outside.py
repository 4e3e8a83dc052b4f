"""What the node has done outside itself: messages to the signer and to members, files, requests to
the supervisor.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Unpack

from cometkms.board.sections import EventFields, EventKind, LinkState, SignerSection
from cometkms.board.shape import shape
from cometkms.core.interface import Queue
from cometkms.ipc.child import ChildContext
from cometkms.limits import ASKED_RESTARTS_MAX, ASKED_RESTARTS_S
from cometkms.logger import Logger
from cometkms.model import Watermark
from cometkms.state.events import StateEvents
from cometkms.state.files import StateFiles
from cometkms.state.history import SignatureRing
from cometkms.state.peers.network import PeerNetwork
from cometkms.state.writer import StateWriter
from cometkms.store.promise_store import PromiseStore
from cometkms.wire.queue_messages import QueueMessage, encode

_RESTART_AFTER_S: Final = 0.05


class NodeOutside:
    """An `Outside` of the node (state/shell.py): nothing is decided here."""

    def __init__(
        self,
        *,
        network: PeerNetwork,
        permits: Queue,
        store: PromiseStore,
        files: StateFiles,
        writer: StateWriter,
        ring: SignatureRing,
        events: StateEvents,
        chain_ids: Mapping[int, str],
        leader_number: Callable[[], int],
        context: ChildContext,
        log: Logger,
    ) -> None:
        """`chain_ids`: by the store's row; `leader_number`: which of the members leads, or NOBODY
        (state/history.py).
        """
        self._network = network
        self._permits = permits
        self._store = store
        self._files = files
        self._writer = writer
        self._ring = ring
        self._events = events
        self._chain_ids = chain_ids
        self._leader_number = leader_number
        self._context = context
        self._log = log
        self._loop = asyncio.get_running_loop()

    def send(self, member: str, payload: bytes) -> bool:
        """Send to a member, and return False where it is not connected."""
        return self._network.send(member, payload)

    def why_away(self, member: str) -> str:
        """Tell why a member is not connected; "" where that is not known."""
        return next((one["last_error"] for one in self._network.document() if one["id"] == member), "")

    def disconnect(self, member: str, why: str) -> None:
        """Close the connection to a member, if there is one."""
        self._network.disconnect(member, why)

    def to_signer(self, message: QueueMessage) -> None:
        """Put a message into the signer's queue."""
        if not self._permits.push(encode(message)):
            self._log.error("queue to the signer is full", message=type(message).__name__)

    def on_signed(self, row: int, mark: Watermark) -> None:
        """Let the state file follow the highest verified signature of a row."""
        self._files.on_signed(row, mark)
        self._ring.add(self._loop.time(), row, mark.hrs, self._leader_number())
        if row in self._chain_ids:
            self._events.on_signed(row, self._chain_ids[row], mark.hrs)

    def mark_raised(self, row: int) -> None:
        """Let the state file follow a mark that others' records raised, without a signature."""
        self._files.on_raised(row, self._store.mark(row))

    def before_birth(self) -> None:
        """Write durably beside the state files that this node was born here."""
        self._writer.write_born(self._store.header.epoch)

    def on_sealed(self, following: tuple[str, ...]) -> None:
        """Write durably for whom this node's epoch is sealed."""
        self._writer.write_born(self._store.header.epoch, following)

    def happened(self, what: EventKind, **fields: Unpack[EventFields]) -> None:
        """Show operators something rare, with its time."""
        self._events.add(what, **fields)

    def restart(self) -> str:
        """Ask for an orderly restart of this node, and return why that cannot be.

        The supervisor does it, once the answer has left. Any member may order it, so
        not without end.
        """
        if self._context.asked_restarts >= ASKED_RESTARTS_MAX:
            return f"it was restarted by order {ASKED_RESTARTS_MAX} times within {ASKED_RESTARTS_S / 3600:g} hours"
        self._loop.call_later(_RESTART_AFTER_S, self._context.ask_for_restart)
        return ""

    def signer_trouble(self) -> str:
        """Tell what of the signer's work stands in the way of a drill."""
        return signer_trouble(self._signer_section())

    def signer_beat(self) -> int:
        """Return a number that changes whenever the signer's loop beats."""
        return self._context.board.last_beat("signer")

    def validator_reached(self) -> bool | None:
        """Tell whether a validator is connected to this node's signer, where that is known."""
        return validator_reached(self._signer_section())

    def replace_signer(self) -> None:
        """Ask the supervisor for a new signer process, because the present one does not move.

        The supervisor looks at its heartbeat, too.
        """
        self._context.ask_for_new_signer()

    def _signer_section(self) -> SignerSection | None:
        return shape({"signer": self._context.board.section("signer").read()})["signer"]


def signer_trouble(section: SignerSection | None) -> str:
    """What the signer's section says that a drill must not begin with: a validator that
    is not connected.
    """
    if section is None:
        return "the signer has not reported yet"
    away = [
        f"{validator.get('addr')} of {chain.get('chain_id')} is {validator.get('state')}"
        for chain in section.get("chains", [])
        for validator in chain.get("validators", [])
        if validator.get("state") != LinkState.CONNECTED
    ]
    return f"not every validator is connected: {', '.join(away)}" if away else ""


def validator_reached(section: SignerSection | None) -> bool | None:
    """Whether the signer's section shows a connected validator, of any chain; None: it
    does not say.
    """
    chains = section.get("chains", []) if section is not None else []
    states = [validator.get("state") for chain in chains for validator in chain.get("validators", [])]
    return LinkState.CONNECTED in states if states else None
