"""What each process writes into its section of the status board, field by field: writers and
readers share it. No I/O, no HTTP.

A writer makes these objects and so cannot misname a field. To a reader every field may be missing:
a section is written by another process, perhaps one of another version, or one that has only just
begun. So states are text there, and the enumerations below are what this version's writers say and
its readers look for.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final, NotRequired, Protocol, TypedDict

from cometkms.hardening.measures import MeasureReport
from cometkms.histogram import AllQuantiles, Buckets, Quantiles


class ChildState(StrEnum):
    """The states of a child of the supervisor. It does its work in one of them; every other is
    trouble (supervisor/child.py)."""

    IDLE = "idle"
    BOOTING = "booting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPING = "stopping"


class MemberState(StrEnum):
    """What a member says of its store (rules/birth.py, NodeState), or that a complete one reads the
    others and does not promise yet."""

    EMPTY = "empty"
    BORN = "born"
    COMPLETE = "complete"
    RECOVERING = "recovering"
    SEALED = "sealed"
    STARTING = "starting"


class LinkState(StrEnum):
    """The states of a connection to a validator (signer/link.py). An agent's is CONNECTED or
    WAITING."""

    STANDBY = "standby"
    DIALING = "dialing"
    HANDSHAKE = "handshake"
    CONNECTED = "connected"
    WAITING = "waiting"


class PeerState(StrEnum):
    """The states of a connection to another member (state/peers/)."""

    WAITING = "waiting"
    DIALING = "dialing"
    HANDSHAKE = "handshake"
    HELLO = "hello"
    CONNECTED = "connected"


class WatermarkReport(TypedDict, total=False):
    """The highest place promised in a row; `burnt`: what was promised there is not known."""

    height: int
    round: int
    step: int
    burnt: bool


class LastSignState(TypedDict, total=False):
    """Show the last signed state as the Go CometKMS does: signature in base64, signbytes in
    upper-case hex, absent when empty."""

    height: int
    round: int
    step: int
    signature: str
    signbytes: str


class RowReport(TypedDict, total=False):
    """One chain as the promise store holds it. public_key: hex."""

    chain_id: str
    public_key: Annotated[str, bytes]
    watermark: WatermarkReport
    last_sign_state: LastSignState | None
    signed_at: float | None
    signed_at_mono: float | None


class StrictWaitReport(TypedDict):
    """Members that wait for each other for ever: those whose promises are lost, and those that
    start with strict_start."""

    lost: list[str]
    starting: list[str]


class EventKind(StrEnum):
    """What an event is about, and which fields tell it beside its time. Those from CHILD_RESTARTED
    on are made by the history of the api process."""

    STARTED = "started"
    LEADER = "leader"  # leader, term
    LEASE = "lease"  # granted
    # reason, peer: this leader hands over by itself; peer "": it is left to the log
    HANDING_OVER = "handing_over"
    ORDERED = "ordered"  # peer: that leader obeyed an order to hand over
    PREFERRED = "preferred"  # peer: that leader hands over to the node that leader_priority prefers
    PEER_CONNECTED = "peer_connected"  # peer
    PEER_DISCONNECTED = "peer_disconnected"  # peer, why, closed
    NODE_STATE = "node_state"  # state
    PEER_STATE = "peer_state"  # peer, state
    # chain, height, last_height, last_at, gap_ms: the first signature under another leader
    SIGNED_AGAIN = "signed_again"
    # chain, height: an operator lets a chain sign as far away as that
    HEIGHT_ADMITTED = "height_admitted"
    CHILD_RESTARTED = "child_restarted"  # child, why
    VALIDATOR_CONNECTED = "validator_connected"  # chain, addr
    VALIDATOR_LOST = "validator_lost"  # chain, addr, why
    REFUSED = "refused"  # chain, validator, reason, why, asked, signed
    ALERT_RAISED = "alert_raised"  # name, why; peer: the alert's subject
    ALERT_OVER = "alert_over"  # name, why; peer: the alert's subject


class _Event(TypedDict):
    """What every event has. at: UNIX seconds; what: an EventKind."""

    at: float
    what: str


class EventFields(TypedDict, total=False):
    """What an event tells beside its time; EventKind says which fields a kind has."""

    leader: str | None
    term: int
    granted: bool
    peer: str
    why: str
    closed: bool
    state: str
    chain: str
    height: int
    last_height: int
    last_at: float
    gap_ms: float
    child: str
    name: str
    addr: str
    validator: str
    reason: str
    asked: str
    signed: str


class EventReport(_Event, EventFields):
    """Something rare that happened."""


class RefusalReport(TypedDict):
    """A request that was refused for good. at: UNIX seconds; asked, signed: height/round/step;
    blocks: hex, "" is nil."""

    at: float
    reason: str
    why: str
    validator: str
    asked: str
    asked_block: str
    signed: str
    signed_block: str
    burnt: bool


class MarkReport(TypedDict, total=False):
    """Where a member stands in a chain."""

    chain_id: str
    height: int
    round: int
    step: int


class BehindReport(TypedDict, total=False):
    """How far a member's promises are behind its leader's (state/lag.py). heights: by chain."""

    promises: int
    heights: dict[str, int]


class _Named(TypedDict):
    """What every member has."""

    id: str


#: For whom a member is sealed, among its facts: its word only keeps a command from sealing others
#: for another list.
SEALED_FOR_FACT: Final = "sealed_for"
#: What a member says of its own way to the validators, among its facts.
REACH_FACT: Final = "reaches_validator"


class Reach(StrEnum):
    """What a member knows of its own way to the validators. UNKNOWN: it has not led lately."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class MemberReport(_Named, total=False):
    """One member of the epoch, as this node knows it. Of itself it tells no connection.

    state: a MemberState, None while it is not known; connection: a PeerState, since `since`.
    `since`, `last_contact`, `refused_at`, `marks_at`: UNIX seconds. `error`: `last_error` as long
    as it matters. `behind`: on the leader's board only. `lacks`: the ids of this node's chains that
    the member does not have, or has with another key.
    """

    addr: str
    self: bool
    connected: bool
    connects: int
    connection: str
    state: str | None
    seq: int | None
    since: float | None
    since_mono: float
    last_contact: float | None
    last_contact_mono: float
    rtt_us: float | None
    clock_ahead_ms: float | None
    marks: list[MarkReport]
    marks_at: float | None
    behind: BehindReport
    error: str
    error_code: str
    last_error: str
    refused_at: float
    version: str
    facts: dict[str, str]
    lacks: list[str]


class DifferenceReport(TypedDict):
    """Where a member's settings differ from this node's. `here`, `there`: both values in words."""

    member: str
    what: str
    here: str
    there: str


class StateSection(TypedDict, total=False):
    """Written by the state process. node_state: a MemberState; next: who begins the next epoch,
    where this one is sealed; store_gone: why the store's file is gone from its name."""

    node_id: str
    is_leader: bool
    leader_id: str | None
    leader_addr: str | None
    epoch: int
    digest: str
    members: list[MemberReport]
    config_differences: list[DifferenceReport]
    next: list[str]
    node_state: str
    why: str
    store_gone: str
    term: int
    strict_wait: StrictWaitReport | None
    lease_left_s: float
    seq: int
    refused: dict[str, int]
    peers_port: dict[str, int]
    permit_us: Annotated[Quantiles, AllQuantiles]
    permit_hist: Buckets
    sync_hist: Buckets
    leader_changes: int
    proposed_without_lead: int
    handovers: dict[str, int]
    ring_depth: dict[str, int]
    fast_path: dict[str, int]
    rows: list[RowReport]
    warnings: list[str]
    hardening: list[MeasureReport]
    fdatasync_us: Annotated[Quantiles, AllQuantiles]
    events: list[EventReport]


class FailingReport(TypedDict, total=False):
    """A validator's failures in a row, since its last signature here. since, at: UNIX seconds of
    the first and the last; reason: a Reason's name."""

    count: int
    since: float
    at: float
    reason: str
    why: str


class ServedReport(TypedDict, total=False):
    """What a validator got lately. signed_at: UNIX seconds of its last signature, None: it got none
    here; failing: None where its last request did not fail."""

    signed_at: float | None
    failing: FailingReport | None


class ValidatorReport(ServedReport, total=False):
    """One connection to a validator. state: a LinkState; since: UNIX seconds at which `state`
    began.

    line: its release line, such as "v1", None while no vote has told it.
    """

    addr: str
    state: str
    since: float
    since_mono: float
    dialect: str | None
    line: str | None
    remote_identity: str
    requests: int
    connects: int
    failed: int
    failed_in_row: int
    last_error: str


class CountersReport(TypedDict, total=False):
    """Requests by outcome since the signer started; unanswered and refused by reason.
    signed_values, signed_raw: bytes that are no vote, of SignBytes, and of SignRawBytes by unique
    id."""

    signed: int
    repeated: int
    unanswered: dict[str, int]
    refused: dict[str, int]
    pub_keys: int
    signed_values: int
    signed_raw: dict[str, int]


class VoteReport(TypedDict, total=False):
    """One kind of vote that this signer signed; signer/tally.py. at: UNIX seconds of the last
    one."""

    signed: int
    height: int
    round: int
    at: float | None
    missed: int
    missed_last: int


class ChainReport(TypedDict, total=False):
    """One chain as the signer sees it. public_key and address: hex. last_signed_at: UNIX
    seconds."""

    chain_id: str
    public_key: Annotated[str, bytes]
    address: Annotated[str, bytes]
    validators: list[ValidatorReport]
    counters: CountersReport
    latency_us: Annotated[Quantiles, AllQuantiles]
    latency_hist: Buckets
    votes: dict[str, VoteReport]
    missed: dict[str, int]
    last_signed_at: float | None
    last_signed_at_mono: float | None
    refusals: list[RefusalReport]


class AgentLinkReport(TypedDict, total=False):
    """An agent that is connected. name: "agent:" and its own; requests: for signatures, on this
    connection; without_lead: those of them that this node served while another one led, or nobody;
    about: what the agent says of itself."""

    name: str
    requests: int
    without_lead: int
    about: dict[str, str]


class AgentsReport(TypedDict, total=False):
    """The port for agents. door: connections by what became of them (net/door.py, DoorCounters)."""

    door: dict[str, int]
    links: list[AgentLinkReport]


class SignerSection(TypedDict, total=False):
    """Written by the signer. agents: None where it listens for none."""

    agents: AgentsReport | None
    core: str
    chains: list[ChainReport]
    warnings: list[str]
    hardening: list[MeasureReport]


class AlertReport(TypedDict):
    """An alert that is raised, or was delivered to the webhook as raised. since: UNIX seconds."""

    name: str
    subject: str
    since: float
    what: str
    cure: str


class ApiSection(TypedDict, total=False):
    """Written by the api process. `alerts`: raised now, the worst first; `looks_since`: UNIX
    seconds since when this process looks."""

    alerts: list[AlertReport]
    looks_since: float
    hardening: list[MeasureReport]


class AuditSection(TypedDict, total=False):
    """Written by the audit process. `records`, `dropped`: since it began; `bytes`: of all files;
    `head`: SEQ:HASH of the last line.

    `error`: why nothing can be written just now; "": all is well.
    """

    records: int
    dropped: int
    bytes: int
    file: str
    head: str
    error: str
    hardening: list[MeasureReport]


class WebhookSection(TypedDict, total=False):
    """Written by the webhook process. `to`: scheme, host and port, for the rest is a secret;
    `delivered`, `failed`, `dropped`: notices, attempts and notices since it began; `error`: why
    nothing arrives just now, "": all is well; `told`: what the receiver knows as raised.
    """

    to: str
    form: str
    delivered: int
    failed: int
    dropped: int
    waiting: int
    delivered_at: float | None
    error: str
    told: list[AlertReport]
    hardening: list[MeasureReport]


class ChildReport(TypedDict, total=False):
    """One child of the supervisor. state: a ChildState; started_at: UNIX seconds."""

    name: str
    pid: int
    state: str
    started_at: float
    started_at_mono: float
    restarts: int
    last_exit: str | None


class UseReport(TypedDict, total=False):
    """What a child used since its start, and uses now; as last looked at."""

    cpu_s: float
    resident_bytes: int


class ReloadReport(TypedDict, total=False):
    """What the last SIGHUP came to, in words. at: UNIX seconds; error: "" unless nothing was taken
    over."""

    at: float
    changed: list[str]
    needs_restart: list[str]
    error: str


class SupervisorSection(TypedDict, total=False):
    """Written by the supervisor. started_at: UNIX seconds. home_unlocked: why it does not hold the
    home's lock; "": it does."""

    version: str
    pid: int
    home: str
    started_at: float
    started_at_mono: float
    children: list[ChildReport]
    use: dict[str, UseReport]
    hardening: list[MeasureReport]
    home_unlocked: str
    reload: ReloadReport


class Sections(TypedDict):
    """All that was read from the board at one moment; None: never written, or not readable just
    now."""

    state: StateSection | None
    signer: SignerSection | None
    supervisor: SupervisorSection | None
    audit: NotRequired[AuditSection | None]
    api: NotRequired[ApiSection | None]
    webhook: NotRequired[WebhookSection | None]


class BoardReader(Protocol):
    """What the API needs of the status board."""

    def sections(self) -> Sections:
        """Read every section. Never blocks a writer."""
        ...

    def written(self) -> tuple[int, ...]:
        """Something else whenever any process has written its section since."""
        ...

    def beat_ages_s(self) -> Mapping[str, float | None]:
        """Seconds since each child's own loop last beat, by child; None: it never did."""
        ...
