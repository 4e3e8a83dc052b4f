"""Compose what /metrics says from the status board. Pure: no clock, no I/O, no HTTP, nothing of
Prometheus.

What one process alone knows is left out while that process is away: its section still holds the
words of the one before. Whatever a section holds, the rest is said all the same (untrusted.py), and
no family grows without bound.
"""

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from cometkms.api.failovers import HANDING_OVER
from cometkms.api.families import FAMILIES
from cometkms.api.untrusted import NOTHING, Untrusted
from cometkms.board.sections import ChildState, LinkState, MemberState
from cometkms.board.situation import BEAT_LATE_S
from cometkms.limits import METRIC_LABEL_MAX_CHARS, METRIC_SERIES_MAX
from cometkms.model import FINAL_REASONS, OLDER_REASONS, Reason, quorum_of
from cometkms.rules.incarnation import REFUSALS
from cometkms.wire.dialect import LINES

MEASURE_STATES: Final = ("on", "off", "unavailable")
KINDS: Final = ("proposal", "prevote", "precommit")
OTHER: Final = "other"  # a reason that this version does not know
_SENSELESS: Final = {reason.name.lower() for reason in Reason if Reason.NONE < reason < Reason.HEIGHT_REGRESSION}
_RULE: Final = tuple(
    reason.name.lower() for reason in Reason if reason in FINAL_REASONS and reason >= Reason.HEIGHT_REGRESSION
)
_OLDER: Final = {reason.name.lower() for reason in OLDER_REASONS}
_PASSING: Final = tuple(
    reason.name.lower() for reason in Reason if reason > Reason.NONE and reason not in FINAL_REASONS
)
_REASONS: Final = {*(reason.name.lower() for reason in Reason), *REFUSALS}


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram's sample in seconds: for each upper bound how many were at most so much; all of
    them; their sum."""

    bounds: tuple[tuple[float, float], ...]
    count: float
    sum: float


class Samples:
    """Values by family and labels. Adds up what has the same labels; what is None is not said."""

    def __init__(self) -> None:
        self.of: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in FAMILIES}
        self.histograms: dict[str, dict[tuple[str, ...], Buckets]] = {name: {} for name in FAMILIES}
        self.dropped = 0

    def put(self, name: str, value: float | None, *labels: str) -> None:
        """A gauge; the first word counts."""
        if value is not None and self._room(self.of[name], labels := _bounded(labels)):
            self.of[name].setdefault(labels, value)

    def add(self, name: str, value: float | None, *labels: str) -> None:
        """A counter."""
        if value is not None and self._room(self.of[name], labels := _bounded(labels)):
            self.of[name][labels] = self.of[name].get(labels, 0.0) + value

    def put_states(self, name: str, states: Iterable[str], now: str | None, *labels: str) -> None:
        """One of several states; none if `now` is None."""
        for state in states if now is not None else ():
            self.put(name, float(state == now), *labels, state)

    def put_histogram(self, name: str, part: Untrusted, *labels: str) -> None:
        """One that is not whole is not said."""
        buckets = _buckets(part)
        if buckets is not None and self._room(self.histograms[name], labels := _bounded(labels)):
            self.histograms[name].setdefault(labels, buckets)

    def _room(self, series: Mapping[tuple[str, ...], object], labels: tuple[str, ...]) -> bool:
        if labels in series or len(series) < METRIC_SERIES_MAX:
            return True
        self.dropped += 1
        return False


def _bounded(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Texts that fit a line and any encoding."""
    return tuple(text[:METRIC_LABEL_MAX_CHARS].encode("utf-8", "replace").decode() for text in labels)


def _buckets(part: Untrusted) -> Buckets | None:
    """None for what is no cumulative histogram of whole samples."""
    count, total = part["count"].amount, part["sum_us"].amount
    if count is None or total is None or count % 1:
        return None
    bounds: list[tuple[float, float]] = []
    for one in part["buckets"].items:
        pair = [number.amount for number in one.items]
        if len(pair) != 2 or pair[0] is None or pair[1] is None or pair[1] % 1:
            return None
        bound, below = pair[0] / 1e6, pair[1]
        if bounds and not (bound > bounds[-1][0] and below >= bounds[-1][1]):
            return None
        bounds.append((bound, below))
    if not bounds or bounds[-1][1] > count:
        return None
    return Buckets(tuple(bounds), count, total / 1e6)


def compose_samples(
    sections: Mapping[str, object],
    beat_ages_s: Mapping[str, float | None],
    now: float,
    alerts: Mapping[str, bool] | None = None,
) -> Samples:
    """The whole of GET /metrics.

    now: UNIX seconds. alerts: whether each is raised; None: they were not looked at.
    """
    samples = Samples()
    supervisor = Untrusted(sections.get("supervisor"))
    away = {
        child["name"].text
        for child in supervisor["children"].items
        if child["state"].text not in (None, ChildState.RUNNING)
    }
    away |= {name for name, age_s in beat_ages_s.items() if age_s is not None and age_s > BEAT_LATE_S}
    state, signer, audit, api, webhook = (
        NOTHING if name in away else Untrusted(sections.get(name))
        for name in ("state", "signer", "audit", "api", "webhook")
    )
    _put_node(samples, state, signer, supervisor)
    _put_children(samples, supervisor, beat_ages_s)
    _put_leadership(samples, state)
    _put_members(samples, state, now)
    _put_promises(samples, state)
    for event, count in signer["agents"]["door"].pairs:
        samples.add("cometkms_agent_port_total", count.amount, event)
    for chain in signer["chains"].items:
        _put_chain(samples, chain, now)
    _put_last_signed(samples, state, signer, now)
    for section in (supervisor, state, signer, audit, api, webhook):
        _put_hardening(samples, section["hardening"])
    _put_audit(samples, audit)
    _put_webhook(samples, webhook)
    for name, raised in (alerts or {}).items():
        samples.put("cometkms_alert", float(raised), name)
    samples.put("cometkms_metrics_dropped_series", float(samples.dropped))
    return samples


def _put_node(samples: Samples, state: Untrusted, signer: Untrusted, supervisor: Untrusted) -> None:
    version = supervisor["version"].text
    if version is not None:
        samples.put("cometkms_build_info", 1.0, version, signer["core"].text or "", platform.python_version())
    if (node := state["node_id"].text) is not None:
        samples.put("cometkms_node_info", 1.0, node)
    samples.put("cometkms_start_time_seconds", supervisor["started_at"].amount)
    samples.put_states("cometkms_node_state", MemberState, state["node_state"].text)


def _put_children(samples: Samples, supervisor: Untrusted, beat_ages_s: Mapping[str, float | None]) -> None:
    for child in supervisor["children"].items:
        if (name := child["name"].text) is None:
            continue
        running = child["state"].text == ChildState.RUNNING
        samples.put("cometkms_child_up", float(running), name)
        samples.add("cometkms_child_restarts_total", child["restarts"].amount, name)
        if not running:
            continue
        samples.put("cometkms_child_start_time_seconds", child["started_at"].amount, name)
        samples.put("cometkms_child_beat_age_seconds", Untrusted(beat_ages_s.get(name)).amount, name)
        use = supervisor["use"][name]
        samples.put("cometkms_child_cpu_seconds_total", use["cpu_s"].amount, name)
        samples.put("cometkms_child_resident_memory_bytes", use["resident_bytes"].amount, name)


def _put_leadership(samples: Samples, state: Untrusted) -> None:
    samples.put("cometkms_is_leader", state["is_leader"].amount)
    leader = state["leader_id"].text
    if leader:
        samples.put("cometkms_leader_info", 1.0, leader)
    if state["node_id"].there:
        samples.put("cometkms_has_leader", float(bool(leader)))
    samples.add("cometkms_leader_changes_total", state["leader_changes"].amount)
    counted = dict(state["handovers"].pairs)
    for reason in (
        (*HANDING_OVER, *(one for one in counted if one not in HANDING_OVER)) if state["node_id"].there else ()
    ):
        amount = counted[reason].amount if reason in counted else 0.0
        samples.add("cometkms_handovers_total", amount, reason if reason in HANDING_OVER else OTHER)
    samples.add("cometkms_proposals_without_lead_total", state["proposed_without_lead"].amount)
    samples.put("cometkms_term", state["term"].amount)
    samples.put("cometkms_epoch", state["epoch"].amount)
    samples.put("cometkms_lease_left_seconds", state["lease_left_s"].amount)


def _put_members(samples: Samples, state: Untrusted, now: float) -> None:
    members = state["members"].items
    if members:
        samples.put("cometkms_members", float(len(members)))
        samples.put("cometkms_quorum", float(quorum_of(len(members))))
    connected = 0.0
    for member in members:
        peer = member["id"].text
        if peer is None or member["self"].number:
            continue
        up = bool(member["connected"].number)
        connected += up
        samples.put("cometkms_peer_connected", float(up), peer)
        samples.put_states("cometkms_peer_state", MemberState, member["state"].text, peer)
        if (version := member["version"].text) is not None:
            samples.put("cometkms_peer_info", 1.0, peer, version)
        samples.add("cometkms_peer_connects_total", member["connects"].amount, peer)
        if up and (rtt_us := member["rtt_us"].amount) is not None:
            samples.put("cometkms_peer_round_trip_seconds", rtt_us / 1e6, peer)
        samples.put("cometkms_peer_silence_seconds", _since(member["last_contact"], now), peer)
        samples.put("cometkms_peer_promise_lag", member["behind"]["promises"].amount, peer)
        for chain_id, heights in member["behind"]["heights"].pairs:
            samples.put("cometkms_peer_promise_lag_heights", heights.amount, peer, chain_id)
    if members:
        samples.put("cometkms_peers_connected", connected)
    for event, count in state["peers_port"].pairs:
        samples.add("cometkms_peer_port_total", count.amount, event)


def _put_promises(samples: Samples, state: Untrusted) -> None:
    samples.add("cometkms_promises_total", state["seq"].amount)
    for row in state["rows"].items:
        if (chain_id := row["chain_id"].text) is None:
            continue
        for field in ("height", "round", "step", "burnt"):
            samples.put(f"cometkms_mark_{field}", row["watermark"][field].amount, chain_id)
    for reason, count in state["refused"].pairs:
        samples.add("cometkms_promises_refused_total", count.amount, reason if reason in _REASONS else OTHER)
    for event, count in state["fast_path"].pairs:
        samples.add("cometkms_fast_path_total", count.amount, event)
    for ring, depth in state["ring_depth"].pairs:
        samples.put("cometkms_ring_depth", depth.amount, ring)
    samples.put_histogram("cometkms_fsync_seconds", state["sync_hist"])
    samples.put_histogram("cometkms_permit_seconds", state["permit_hist"])


def _put_chain(samples: Samples, chain: Untrusted, now: float) -> None:
    if (chain_id := chain["chain_id"].text) is None:
        return
    counters = chain["counters"]
    samples.add("cometkms_signatures_total", counters["signed"].amount, chain_id)
    samples.add("cometkms_repeats_total", counters["repeated"].amount, chain_id)
    samples.add("cometkms_signed_bytes_total", counters["signed_values"].amount, chain_id, "")
    for unique_id, count in counters["signed_raw"].pairs:
        samples.add("cometkms_signed_bytes_total", count.amount, chain_id, unique_id)
    samples.add("signer_total_pubkey_requests", counters["pub_keys"].amount, chain_id)
    _begin_at_zero(samples, counters, chain_id)
    for reason, count in counters["refused"].pairs:
        kind = _kind_of_refusal(reason)
        samples.add("cometkms_refusals_total", count.amount, chain_id, kind, OTHER if kind == OTHER else reason)
    for reason, count in counters["unanswered"].pairs:
        samples.add("cometkms_unanswered_total", count.amount, chain_id, reason if reason in _REASONS else OTHER)
    for cause, count in chain["missed"].pairs:
        samples.add("cometkms_missed_heights_total", count.amount, chain_id, cause)
    samples.put_histogram("cometkms_sign_seconds", chain["latency_hist"], chain_id)
    for kind in KINDS:
        _put_votes(samples, chain["votes"][kind], kind, chain_id, now)
    for validator in chain["validators"].items:
        _put_validator(samples, validator, chain_id)


def _kind_of_refusal(reason: str) -> str:
    if reason in _SENSELESS:
        return "senseless"
    if reason in _OLDER:
        return "older"
    return "rule" if reason in _RULE else OTHER


def _begin_at_zero(samples: Samples, counters: Untrusted, chain_id: str) -> None:
    """A counter that appears with its first event shows no increase for it, and an alert would miss
    the first conflict."""
    for reason in _RULE if counters["refused"].there else ():
        samples.add("cometkms_refusals_total", 0.0, chain_id, _kind_of_refusal(reason), reason)
    for reason in _PASSING if counters["unanswered"].there else ():
        samples.add("cometkms_unanswered_total", 0.0, chain_id, reason)


def _put_votes(samples: Samples, votes: Untrusted, kind: str, chain_id: str, now: float) -> None:
    """Under Horcrux's names. Nothing is said of the last one before there was one."""
    signed = votes["signed"].amount
    samples.add(f"signer_total_{kind}s_signed", signed, chain_id)
    if signed:
        samples.put(f"signer_last_{kind}_height", votes["height"].amount, chain_id)
        samples.put(f"signer_last_{kind}_round", votes["round"].amount, chain_id)
    if kind == "proposal":
        return  # nobody proposes every height: it is neither missed nor late
    if signed:
        samples.put(f"signer_seconds_since_last_{kind}", _since(votes["at"], now), chain_id)
    samples.put(f"signer_missed_{kind}s", votes["missed_last"].amount, chain_id)
    samples.add(f"signer_total_missed_{kind}s", votes["missed"].amount, chain_id)


def _put_validator(samples: Samples, validator: Untrusted, chain_id: str) -> None:
    if (address := validator["addr"].text) is None:
        return
    state = validator["state"].text
    if state is not None:
        samples.put("cometkms_validator_connected", float(state == LinkState.CONNECTED), chain_id, address)
    samples.put_states("cometkms_validator_state", LinkState, state, chain_id, address)
    samples.put_states("cometkms_validator_line", LINES, validator["line"].text, chain_id, address)
    samples.add("cometkms_validator_connects_total", validator["connects"].amount, chain_id, address)
    samples.add("cometkms_validator_requests_total", validator["requests"].amount, chain_id, address)
    samples.put("signer_sentry_connect_tries", validator["failed_in_row"].amount, address)
    samples.add("signer_total_sentry_connect_tries", validator["failed"].amount, address)


def _put_last_signed(samples: Samples, state: Untrusted, signer: Untrusted, now: float) -> None:
    """The state process knows of every node's signatures, the signer of its own, a moment
    earlier."""
    ages: dict[str, list[float | None]] = {}
    for row in state["rows"].items:
        last = row["last_sign_state"]
        if (chain_id := row["chain_id"].text) is None or not last["height"].amount:
            continue
        for field in ("height", "round", "step"):
            samples.put(f"cometkms_last_signed_{field}", last[field].amount, chain_id)
        ages.setdefault(chain_id, []).append(_since(row["signed_at"], now))
    for chain in signer["chains"].items:
        if (chain_id := chain["chain_id"].text) is not None:
            ages.setdefault(chain_id, []).append(_since(chain["last_signed_at"], now))
    for chain_id, found in ages.items():
        known = [age for age in found if age is not None]
        samples.put("cometkms_seconds_since_last_signature", min(known, default=None), chain_id)


def _put_hardening(samples: Samples, part: Untrusted) -> None:
    for one in part.items:
        process, measure, state = one["process"].text, one["measure"].text, one["state"].text
        if process is not None and measure is not None:
            samples.put_states("cometkms_hardening", MEASURE_STATES, state, process, measure)


def _put_audit(samples: Samples, audit: Untrusted) -> None:
    samples.add("cometkms_audit_records_total", audit["records"].amount)
    samples.add("cometkms_audit_dropped_total", audit["dropped"].amount)
    samples.put("cometkms_audit_bytes", audit["bytes"].amount)
    if (error := audit["error"].text) is not None:
        samples.put("cometkms_audit_failing", float(bool(error)))


def _put_webhook(samples: Samples, webhook: Untrusted) -> None:
    for name in ("delivered", "failed", "dropped"):
        samples.add(f"cometkms_webhook_{name}_total", webhook[name].amount)
    samples.put("cometkms_webhook_waiting", webhook["waiting"].amount)
    if (error := webhook["error"].text) is not None:
        samples.put("cometkms_webhook_failing", float(bool(error)))


def _since(then: Untrusted, now: float) -> float | None:
    """Seconds, never negative: the wall clock may have been set back. None: it never happened."""
    at = then.amount
    return max(0.0, now - at) if at else None
