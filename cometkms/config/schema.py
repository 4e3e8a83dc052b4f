"""A node's settings, validated.

What is here is right; everything else raised ConfigError on the way.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cometkms.address import Address
from cometkms.limits import AUDIT_DEFAULT_MIB, LEADER_PRIORITY_DEFAULT
from cometkms.model import NO_BYTES, AllowedBytes
from cometkms.net.target import Target

if TYPE_CHECKING:  # an agent, which is to start in no time, needs neither
    from cometkms.config.webhook import Webhook
    from cometkms.keys.passphrase import PassphraseSource


@dataclass(frozen=True, slots=True)
class ValidatorAddress:
    """Where a validator listens (its priv_validator_laddr). `text`: as configured."""

    text: str
    target: Target

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Peer:
    """A member of the cluster: `id=host:port`."""

    id: str
    address: Address


@dataclass(frozen=True, slots=True)
class AgentEntry:
    """An agent that may ask for a chain: `name:<64 hex digits>`, the ed25519 key that it proves.
    `text`: as configured.
    """

    name: str
    key: bytes

    @property
    def text(self) -> str:
        """Return the entry as it is written in the settings."""
        return f"{self.name}:{self.key.hex()}"


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain: its validators, or the agents that stand beside them, key file and state file, and
    what is signed besides votes.
    """

    id: str
    validator_addrs: tuple[ValidatorAddress, ...]
    key_file: Path
    state_file: Path
    agents: tuple[AgentEntry, ...] = ()
    # what is signed besides votes: sign_bytes, raw_bytes_unique_ids
    allowed_bytes: AllowedBytes = NO_BYTES


@dataclass(frozen=True, slots=True)
class AlertBounds:
    """When to raise an alert, in seconds; 0 switches that one off. stall: without a new height;
    latency and disk: the 99th percentile over a minute, of a signature and of a sync of the promise
    store. disk None: from what the disk has shown.
    """

    stall_s: float = 60.0
    latency_s: float = 0.25
    disk_s: float | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything `cmkms start` needs. Times in seconds."""

    home: Path
    id: str
    raft_addr: Address
    http_addr: Address
    default_ttl_s: float
    peers: tuple[Peer, ...]
    chains: tuple[Chain, ...]
    log_level: str
    log_format: str
    allow_unsafe: bool
    strict_start: bool = False
    hardening: str = "best-effort"
    signer_user: str = ""
    key_passphrase: "PassphraseSource | None" = None
    alerts: AlertBounds = AlertBounds()
    webhook: "Webhook | None" = None
    agent_addr: Address | None = None  # where agents are listened for; None: nowhere
    audit_max_mib: int = AUDIT_DEFAULT_MIB  # all files of the audit log together; 0: there is none
    # who this node is to noise:// validators; None: derived from the cluster's secret
    noise_identity_file: Path | None = None
    realtime: bool = False  # the signer and the state process ask for a real-time class
    # where the others dial this node, if that is not where it listens
    raft_published: Address | None = None
    # bytes of data in one packet to members and validators at most; 0: what the interface takes
    tcp_max_segment: int = 0
    leader_priority: str = str(
        LEADER_PRIORITY_DEFAULT
    )  # 0 to 100, or "nearest": whom the lead returns to when it is calm

    @property
    def secret_files(self) -> tuple[Path, ...]:
        """The keys, the passphrase, the noise:// identity, the receiver of alerts: what has a file
        of its own. A process that holds no key reads no directory of code that one of them lies in.
        """
        sources = (self.key_passphrase, self.webhook.source if self.webhook is not None else None)
        found = [self.noise_identity_file, *(one.secret_file for one in sources if one is not None)]
        return (*(chain.key_file for chain in self.chains), *(path for path in found if path is not None))
