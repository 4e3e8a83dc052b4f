"""What the shell around a node does for it: the process's queues, sockets and files, or the
simulation's.
"""

from typing import Protocol, Unpack

from cometkms.board.sections import EventFields, EventKind
from cometkms.model import Watermark
from cometkms.wire.queue_messages import QueueMessage


class Outside(Protocol):
    """What the shell does for the node."""

    def send(self, member: str, payload: bytes) -> bool:
        """Send to a connected member, and return False when it is not connected."""
        ...

    def why_away(self, member: str) -> str:
        """Why a member is not connected, with a code (wire/why.py); "" where that is not known."""
        ...

    def disconnect(self, member: str, why: str) -> None:
        """Close the connection to a member, if there is one."""
        ...

    def to_signer(self, message: QueueMessage) -> None: ...

    def on_signed(self, row: int, mark: Watermark) -> None:
        """The highest verified signature of a row moved: its state file follows."""
        ...

    def before_birth(self) -> None:
        """Durably say beside the state files that this node was born here. Raises: StoreFailure."""
        ...

    def on_sealed(self, following: tuple[str, ...]) -> None:
        """Durably say there for whom this node's epoch is sealed. Raises: StoreFailure."""
        ...

    def mark_raised(self, row: int) -> None:
        """A mark was raised by what others hold, without a signature: the state file follows."""
        ...

    def restart(self) -> str:
        """Stop this node in order and start it again, soon; "" or why that cannot be."""
        ...

    def signer_trouble(self) -> str:
        """What of the signer's work stands in the way of a drill, in words; "" when nothing does."""
        ...

    def signer_beat(self) -> int:
        """A number that changes whenever the signer's loop beats; 0: its process has
        not beaten yet.
        """
        ...

    def validator_reached(self) -> bool | None:
        """Whether a validator is connected to this node's signer; None when that is not known."""
        ...

    def replace_signer(self) -> None:
        """Ask for a new signer process: the one that is there does not move."""
        ...

    def happened(self, what: EventKind, **fields: Unpack[EventFields]) -> None:
        """Something rare that operators want to see, with its time; EventKind says which fields
        each kind has.
        """
        ...
