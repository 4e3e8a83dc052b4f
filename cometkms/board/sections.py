"""What each process writes into its section of the status board, field by field. Only types: no I/O, no HTTP.

Every field may be missing: a section is written by another process, perhaps one that has only just begun.
"""

from collections.abc import Mapping
from typing import Annotated, NotRequired, Protocol, TypedDict

from cometkms.histogram import Buckets


class WatermarkReport(TypedDict, total=False):
    """The highest place promised in a row; `burnt`: what was promised there is not known."""

    height: int
    round: int
    step: int
    burnt: bool


class LastSignState(TypedDict, total=False):
    """As the Go CometKMS shows it. signature: base64; signbytes: upper-case hex; absent when empty."""

    height: int
    round: int
    step: int
    signature: str
    signbytes: str


class Quantiles(TypedDict, total=False):
    """Latencies in microseconds, with the number of samples they rest on."""

    count: int
    p50: float
    p90: float
    p99: float
    max: float


class QuantilesForm(TypedDict):
    """All of them, or none."""

    count: int
    p50: float
    p90: float
    p99: float
    max: float


class RowReport(TypedDict, total=False):
    """One chain as the promise store holds it. public_key: hex."""

    chain_id: str
    public_key: Annotated[str, bytes]
    watermark: WatermarkReport
    last_sign_state: LastSignState | None
    signed_at: float | None


class StrictWaitReport(TypedDict):
    """Members that wait for each other for ever: those whose promises are lost, and those that start with strict_start."""

    lost: list[str]
    starting: list[str]


class _Event(TypedDict):
    """What every event has."""

    at: float
    what: str


class EventReport(_Event, total=False):
    """Something rare that happened. at: UNIX seconds; the fields behind `what` are those of its kind.

    started · ordered {peer}: that leader obeyed an order to hand over · preferred {peer}: it hands over to whom leader_priority prefers ·
    leader {leader, term} · lease {granted} · handing_over {reason, peer} · peer_connected {peer} · peer_disconnected {peer, why, closed} ·
    node_state {state} · peer_state {peer, state} · signed_again {chain, height, last_height, last_at, gap_ms}: the first signature
    under another leader. Made by the history of the api process: child_restarted {child, why} · validator_connected and
    validator_lost {chain, addr, why} · refused {chain, validator, reason, why, asked, signed} · alert_raised and alert_over {name, peer,
    why}: peer is the alert's subject.
    """

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


class RefusalReport(TypedDict):
    """A request that was refused for good. at: UNIX seconds; asked, signed: height/round/step; blocks: hex, "" is nil."""

    at: float
    reason: str
    why: str
    validator: str
    asked: str
    asked_block: str
    signed: str
    signed_block: str
    burnt: bool


class MeasureReport(TypedDict, total=False):
    """One protection of one process. state: on, off, unavailable; why: what exactly holds, or why it does not."""

    process: str
    measure: str
    state: str
    why: str


class _Named(TypedDict):
    """What every member has."""

    id: str


class MarkForm(TypedDict, total=False):
    """Where a member stands in a chain."""

    chain_id: str
    height: int
    round: int
    step: int


class MemberForm(_Named, total=False):
    """What a member's entry is held against when it is read; the entry itself may hold more."""

    addr: str
    self: bool
    connected: bool
    connects: int
    connection: str
    state: str | None
    seq: int | None
    since: float | None
    last_contact: float | None
    rtt_us: float | None
    clock_ahead_ms: float | None
    marks: list[MarkForm]
    error: str
    last_error: str
    version: str
    facts: dict[str, str]


class DifferenceForm(TypedDict):
    """Likewise, where two members' settings differ."""

    member: str
    what: str
    here: str
    there: str


class StateSection(TypedDict, total=False):
    """Written by the state process."""

    node_id: str
    is_leader: bool
    leader_id: str
    leader_addr: str
    epoch: int
    digest: str
    members: list[Annotated[dict[str, object], MemberForm]]
    config_differences: list[Annotated[dict[str, str], DifferenceForm]]
    node_state: str
    why: str
    term: int
    strict_wait: StrictWaitReport | None
    lease_left_s: float
    seq: int
    refused: dict[str, int]
    peers_port: dict[str, int]
    permit_us: Annotated[Quantiles, QuantilesForm]
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
    fdatasync_us: Annotated[Quantiles, QuantilesForm]
    events: list[EventReport]


class FailingReport(TypedDict, total=False):
    """A validator's failures in a row, since its last signature here. since, at: UNIX seconds of the first and the last; reason: a Reason's name."""

    count: int
    since: float
    at: float
    reason: str
    why: str


class ValidatorReport(TypedDict, total=False):
    """One connection to a validator. since: UNIX seconds at which `state` began; signed_at: of its last signature, None: it got none here.

    line: its release line, such as "v1", None while no vote has told it.
    """

    addr: str
    state: str
    since: float
    dialect: str | None
    line: str | None
    remote_identity: str
    requests: int
    connects: int
    failed: int
    failed_in_row: int
    last_error: str
    signed_at: float | None
    failing: FailingReport | None


class Counters(TypedDict, total=False):
    """Requests by outcome since the signer started; unanswered and refused by reason. signed_values, signed_raw: bytes that are no vote, of
    SignBytes, and of SignRawBytes by unique id."""

    signed: int
    repeated: int
    unanswered: dict[str, int]
    refused: dict[str, int]
    pub_keys: int
    signed_values: int
    signed_raw: dict[str, int]


class VoteReport(TypedDict, total=False):
    """One kind of vote that this signer signed; signer/tally.py. at: UNIX seconds of the last one."""

    signed: int
    height: int
    round: int
    at: float | None
    missed: int
    missed_last: int


class ChainReport(TypedDict, total=False):
    """One chain as the signer sees it. public_key and address: hex. last_signed_at: UNIX seconds."""

    chain_id: str
    public_key: Annotated[str, bytes]
    address: Annotated[str, bytes]
    validators: list[ValidatorReport]
    counters: Counters
    latency_us: Annotated[Quantiles, QuantilesForm]
    latency_hist: Buckets
    votes: dict[str, VoteReport]
    missed: dict[str, int]
    last_signed_at: float | None
    refusals: list[RefusalReport]


class AgentLinkReport(TypedDict, total=False):
    """An agent that is connected. name: "agent:" and its own; requests: for signatures, on this connection; without_lead: those of them
    that this node served while another one led, or nobody; about: what the agent says of itself."""

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
    """Written by the api process. `alerts`: raised now, the worst first; `looks_since`: UNIX seconds since when this process looks."""

    alerts: list[AlertReport]
    looks_since: float
    hardening: list[MeasureReport]


class AuditSection(TypedDict, total=False):
    """Written by the audit process. `records`, `dropped`: since it began; `bytes`: of all files; `head`: SEQ:HASH of the last line.

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
    """Written by the webhook process. `to`: scheme, host and port, for the rest is a secret; `delivered`, `failed`, `dropped`: notices,
    attempts and notices since it began; `error`: why nothing arrives just now, "": all is well; `told`: what the receiver knows as raised.
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
    """One child of the supervisor. started_at: UNIX seconds."""

    name: str
    pid: int
    state: str
    started_at: float
    restarts: int
    last_exit: str | None


class UseReport(TypedDict, total=False):
    """What a child used since its start, and uses now; as last looked at."""

    cpu_s: float
    resident_bytes: int


class ReloadReport(TypedDict, total=False):
    """What the last SIGHUP came to, in words. at: UNIX seconds; error: "" unless nothing was taken over."""

    at: float
    changed: list[str]
    needs_restart: list[str]
    error: str


class SupervisorSection(TypedDict, total=False):
    """Written by the supervisor. started_at: UNIX seconds."""

    version: str
    pid: int
    home: str
    started_at: float
    children: list[ChildReport]
    use: dict[str, UseReport]
    hardening: list[MeasureReport]
    reload: ReloadReport


class Sections(TypedDict):
    """All that was read from the board at one moment; None: never written, or not readable just now."""

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
