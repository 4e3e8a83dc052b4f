"""Compose what /status and /healthz say from the status board. Pure: no clock, no I/O, no HTTP."""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict, cast

from cometkms import __version__
from cometkms.board.dating import as_set_now
from cometkms.board.sections import (
    AgentsReport,
    AlertReport,
    AuditSection,
    ChainReport,
    ChildState,
    CountersReport,
    DifferenceReport,
    EventReport,
    LastSignState,
    MemberReport,
    RefusalReport,
    RowReport,
    Sections,
    SignerSection,
    StateSection,
    StrictWaitReport,
    ValidatorReport,
    WatermarkReport,
    WebhookSection,
)
from cometkms.board.situation import SituationReport, answers, situation_of
from cometkms.board.trouble import BESIDE, find_trouble, trouble_of_child, trouble_of_supervisor
from cometkms.hardening.measures import MeasureReport
from cometkms.histogram import Buckets, Quantiles
from cometkms.keytypes import raw_of, type_of


class NodeStatus(TypedDict):
    """This node. started_at: UNIX seconds, None before the supervisor has reported."""

    id: str
    home: str
    version: str
    core: str
    started_at: float | None
    uptime_s: float | None
    pid: int | None


class ChainStatus(TypedDict):
    """One chain. public_key: base64; key_type: CometBFT's name of its type; address: upper-case
    hex.

    last_signed_at: here; signed_at: when this node learned of the newest.
    """

    chain_id: str
    public_key: str
    key_type: str
    address: str
    watermark: WatermarkReport | None
    last_sign_state: LastSignState | None
    validators: list[ValidatorReport]
    counters: CountersReport
    latency_us: Quantiles
    latency_hist: Buckets
    last_signed_at: float | None
    signed_at: float | None
    refusals: list[RefusalReport]


class ChildStatus(TypedDict):
    """One child process. beat_age_s: since its own loop last beat."""

    name: str
    pid: int | None
    state: str
    uptime_s: float | None
    restarts: int
    last_exit: str | None
    beat_age_s: float | None


class Status(TypedDict, total=False):
    """The body of GET /status. The first four are the Go CometKMS's, absent where Go's omitempty
    leaves them out."""

    is_leader: bool
    leader_addr: str
    leader_id: str
    last_sign_state: LastSignState
    healthy: bool
    trouble: list[str]
    situation: SituationReport
    node_state: str
    next: list[str]
    why: str
    strict_wait: StrictWaitReport | None
    store_gone: str
    home_unlocked: str
    term: int
    epoch: int
    digest: str
    lease_left_s: float
    members: list[MemberReport]
    config_differences: list[DifferenceReport]
    peers_port: dict[str, int]
    promises_refused: dict[str, int]
    permit_us: Quantiles
    fast_path: dict[str, int]
    now: float
    node: NodeStatus
    chains: list[ChainStatus]
    children: list[ChildStatus]
    fdatasync_us: Quantiles
    sync_hist: Buckets
    warnings: list[str]
    events: list[EventReport]
    alerts: list[AlertReport]
    audit: AuditSection
    webhook: WebhookSection
    agents: AgentsReport
    hardening: list[MeasureReport]


def compose_status(
    sections: Sections, beat_ages_s: Mapping[str, float | None], now: float, monotonic: float | None = None
) -> Status:
    """The whole of GET /status.

    now: UNIX seconds; `monotonic`: the same moment by the clock that nobody sets, where the times
    are to be moved with a wall clock that somebody did set. A process that is away, or hangs,
    leaves its part empty: what it wrote is no longer so. The Go fields then say "not the leader",
    because without the state process nothing can be signed here.
    """
    sections = as_set_now(sections, now, monotonic)
    situation, trouble = situation_of(sections, beat_ages_s, now), find_trouble(sections, beat_ages_s, now)
    sections = _of_the_living(sections, beat_ages_s)
    state = sections["state"] or StateSection()
    signer = sections["signer"] or SignerSection()
    chains = _chains(state.get("rows", []), signer.get("chains", []))
    status: Status = {"is_leader": state.get("is_leader", False)}
    if leader_addr := state.get("leader_addr", ""):
        status["leader_addr"] = leader_addr
    if leader_id := state.get("leader_id", ""):
        status["leader_id"] = leader_id
    if chains and (last := chains[0]["last_sign_state"]) is not None:
        status["last_sign_state"] = last
    status["healthy"] = not trouble
    status["trouble"] = trouble
    status["situation"] = situation.document()
    if sections["state"] is not None:
        _put_state(status, state)
    status["now"] = round(now, 3)
    status["node"] = _node(sections, now)
    status["chains"] = chains
    status["children"] = _children(sections, beat_ages_s, now)
    status["fdatasync_us"] = state.get("fdatasync_us", {})
    status["sync_hist"] = state.get("sync_hist", {})
    status["events"] = state.get("events", [])
    status["warnings"] = [*state.get("warnings", []), *signer.get("warnings", []), *_beside(sections, beat_ages_s)]
    status["home_unlocked"] = (sections["supervisor"] or {}).get("home_unlocked", "")
    status["warnings"] += _not_reloaded(sections)
    if (audit := sections.get("audit")) is not None:
        shown: AuditSection = {**audit}
        shown.pop("hardening", None)  # it stands with the others'
        status["audit"] = shown
    if (webhook := sections.get("webhook")) is not None:
        sent: WebhookSection = {**webhook}
        sent.pop("hardening", None)
        sent.pop("told", None)  # the alerts themselves say more
        status["webhook"] = sent
    if (agents := signer.get("agents")) is not None:
        status["agents"] = agents
    status["hardening"] = _hardening(sections)
    return status


def _put_state(status: Status, state: StateSection) -> None:
    """What the state process says of itself and the cluster."""
    status["node_state"] = state.get("node_state", "")
    status["next"] = state.get("next", [])
    status["why"] = state.get("why", "")
    status["strict_wait"] = state.get("strict_wait")
    status["store_gone"] = state.get("store_gone", "")
    status["term"] = state.get("term", 0)
    status["epoch"] = state.get("epoch", 0)
    status["digest"] = state.get("digest", "")
    status["lease_left_s"] = state.get("lease_left_s", 0.0)
    status["members"] = state.get("members", [])
    status["config_differences"] = state.get("config_differences", [])
    status["peers_port"] = state.get("peers_port", {})
    status["promises_refused"] = state.get("refused", {})
    status["permit_us"] = state.get("permit_us", {})
    status["fast_path"] = state.get("fast_path", {})


def _of_the_living(sections: Sections, beat_ages_s: Mapping[str, float | None]) -> Sections:
    """Leave out what a process wrote that does not answer any more."""
    living = sections.copy()
    if not answers("state", sections, beat_ages_s):
        living["state"] = None
    if not answers("signer", sections, beat_ages_s):
        living["signer"] = None
    return living


def _hardening(sections: Sections) -> list[MeasureReport]:
    """Every process's own words, in the order of the sections."""
    # each may hold them
    reports = cast("Mapping[str, Mapping[str, list[MeasureReport]] | None]", sections)
    return [one for section in reports.values() for one in (section or {}).get("hardening", [])]


def _beside(sections: Sections, beat_ages_s: Mapping[str, float | None]) -> list[str]:
    """What is wrong with processes without which the node signs on."""
    found = trouble_of_supervisor(beat_ages_s)
    if why := (sections["supervisor"] or {}).get("home_unlocked", ""):
        found.append(f"this node does not hold its home's lock: {why}; signing goes on")
    for child in (sections["supervisor"] or {}).get("children", []):
        if (name := child.get("name", "")) in BESIDE:
            found += [f"{words}; signing goes on" for words in trouble_of_child(name, child, beat_ages_s)]
    audit = sections.get("audit") or {}
    if error := audit.get("error", ""):
        found.append(f"the audit log is not written: {error}; signing goes on")
    if dropped := audit.get("dropped", 0):
        found.append(f"{dropped} decisions are missing in the audit log")
    if error := (sections.get("webhook") or {}).get("error", ""):
        found.append(f"alerts are not delivered: {error}; signing goes on")
    return found


def _not_reloaded(sections: Sections) -> list[str]:
    """What the settings say and the node does not do, as far as it was asked to look."""
    told = (sections["supervisor"] or {}).get("reload", {})
    found = [f"config.toml says, and only a restart takes over: {what}" for what in told.get("needs_restart", [])]
    if error := told.get("error"):
        found.append(f"the last reload changed nothing: {error}")
    return found


def _node(sections: Sections, now: float) -> NodeStatus:
    supervisor = sections["supervisor"] or {}
    started_at = supervisor.get("started_at")
    return NodeStatus(
        id=(sections["state"] or {}).get("node_id", ""),
        home=supervisor.get("home", ""),
        version=supervisor.get("version", __version__),
        core=(sections["signer"] or {}).get("core", ""),
        started_at=started_at,
        uptime_s=_since(started_at, now),
        pid=supervisor.get("pid"),
    )


def _children(sections: Sections, beat_ages_s: Mapping[str, float | None], now: float) -> list[ChildStatus]:
    supervisor = sections["supervisor"] or {}
    return [
        ChildStatus(
            name=child.get("name", ""),
            pid=child.get("pid") or None,
            state=child.get("state", "unknown"),
            uptime_s=_since(child.get("started_at"), now) if child.get("state") == ChildState.RUNNING else None,
            restarts=child.get("restarts", 0),
            last_exit=child.get("last_exit"),
            beat_age_s=beat_ages_s.get(child.get("name", "")),
        )
        for child in supervisor.get("children", [])
    ]


def _since(then: float | None, now: float) -> float | None:
    """Seconds, never negative: the wall clock may have been set back."""
    return None if then is None else round(max(0.0, now - then), 3)


def _chains(rows: Sequence[RowReport], reports: Sequence[ChainReport]) -> list[ChainStatus]:
    """Marry what the state process knows of a chain to what the signer knows of it, in the state
    process's order."""
    row_of = {row.get("chain_id", ""): row for row in rows}
    report_of = {report.get("chain_id", ""): report for report in reports}
    return [
        _chain(chain_id, row_of.get(chain_id, {}), report_of.get(chain_id, {}))
        for chain_id in _union(row_of, report_of)
    ]


def _union(first: Iterable[str], second: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))


def _public_key(untrusted: str) -> tuple[bytes, str]:
    """A key as a section shows it, hex: without its type, and the type's name. b"" and "": it is
    not known."""
    try:
        public_key = bytes.fromhex(untrusted)
        return raw_of(public_key), type_of(public_key).name
    except ValueError:
        return b"", ""


def _chain(chain_id: str, row: RowReport, report: ChainReport) -> ChainStatus:
    raw, key_type = _public_key(row.get("public_key") or report.get("public_key") or "")
    return ChainStatus(
        chain_id=chain_id,
        public_key=b64encode(raw).decode(),
        key_type=key_type,
        address=report.get("address", "").upper(),
        watermark=row.get("watermark"),
        last_sign_state=_last_sign_state(row.get("last_sign_state")),
        validators=report.get("validators", []),
        counters={
            "signed": 0,
            "repeated": 0,
            "unanswered": {},
            "refused": {},
            **report.get("counters", {}),
        },
        latency_us=report.get("latency_us", {}),
        latency_hist=report.get("latency_hist", {}),
        last_signed_at=report.get("last_signed_at"),
        signed_at=row.get("signed_at"),
        refusals=report.get("refusals", []),
    )


def _last_sign_state(last: LastSignState | None) -> LastSignState | None:
    """Go's omitempty: no empty signature, no empty signbytes; nothing at all where nothing was ever
    signed."""
    if last is None or not (last.get("height") or last.get("round") or last.get("step")):
        return None
    shown: LastSignState = {
        "height": last.get("height", 0),
        "round": last.get("round", 0),
        "step": last.get("step", 0),
    }
    if signature := last.get("signature"):
        shown["signature"] = signature
    if signbytes := last.get("signbytes"):
        shown["signbytes"] = signbytes.upper()
    return shown
