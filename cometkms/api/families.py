"""Every metric of /metrics: name, type, labels, meaning. The document, the dashboard and the alert
rules are tested against this table.

A metric that means what Horcrux's means has Horcrux's name (`signer_…`, its signer/metrics.go); all
others begin with `cometkms_`. Horcrux's counters lack the `_total` at the end that OpenMetrics
wants, so that they are untyped here: `rate()` does not mind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Type(StrEnum):
    """Name the types of the text format. A counter that lives in a child process begins at 0 again
    with it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    UNTYPED = "untyped"  # a counter by another name


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `help` is a sentence for people."""

    name: str
    type: Type
    labels: tuple[str, ...]
    help: str

    @property
    def series_names(self) -> tuple[str, ...]:
        """What a query may call it."""
        if self.type is Type.HISTOGRAM:
            return (f"{self.name}_bucket", f"{self.name}_sum", f"{self.name}_count")
        return (self.name,)


def _gauge(name: str, *labels: str, help: str) -> Family:  # noqa: A002 - it is called so
    return Family(name, Type.GAUGE, labels, help)


def _counter(name: str, *labels: str, help: str) -> Family:  # noqa: A002
    return Family(name, Type.COUNTER, labels, help)


def _histogram(name: str, *labels: str, help: str) -> Family:  # noqa: A002
    return Family(name, Type.HISTOGRAM, labels, help)


def _horcrux(name: str, *labels: str, help: str) -> Family:  # noqa: A002
    kind = Type.UNTYPED if name.startswith("signer_total_") else Type.GAUGE
    return Family(name, kind, labels, help)


_ALL: Final = (
    # the node
    _gauge("cometkms_build_info", "version", "core", "python", help="1; version of the program, its core (native or pure), of Python."),
    _gauge("cometkms_node_info", "node", help="1; the id of this node."),
    _gauge("cometkms_start_time_seconds", help="UNIX time at which the node was started."),
    _gauge("cometkms_node_state", "state", help="1 for the state the node is in, 0 for the others; only a complete node promises."),
    _gauge("cometkms_alert", "name", help="1 while the alert is raised; docs/RUNBOOK.md has each name."),
    _gauge("cometkms_metrics_dropped_series", help="Series left out of this answer because a bound was reached; 0 unless something is wrong."),
    # its processes
    _gauge("cometkms_child_up", "child", help="1 while the child process runs and is ready."),
    _counter("cometkms_child_restarts_total", "child", help="Restarts of the child since the node was started."),
    _gauge("cometkms_child_start_time_seconds", "child", help="UNIX time at which the child was started last."),
    _gauge("cometkms_child_beat_age_seconds", "child", help="Seconds since the child's own loop last beat; it is killed at 5."),
    _counter("cometkms_child_cpu_seconds_total", "child", help="CPU time of the child, user and system."),
    _gauge("cometkms_child_resident_memory_bytes", "child", help="Resident memory of the child, what it shares with the others included."),
    # who leads
    _gauge("cometkms_is_leader", help="1 while this node leads and holds the lease: only then its signer is connected."),
    _gauge("cometkms_has_leader", help="1 while this node leads, or hears who does."),
    _gauge("cometkms_leader_info", "leader", help="1; the leader, while this node hears it. Absent when nobody leads."),
    _counter("cometkms_leader_changes_total", help="New leaders or new terms seen since the state process was started."),
    _counter("cometkms_handovers_total", "reason", help="Handovers by itself, without an order: signer_silent, signer_gone, no_validator, preferred."),
    _counter("cometkms_proposals_without_lead_total", help="Places that this node proposed while another one led, or nobody: what agents asked for urgently."),
    _counter("cometkms_agent_port_total", "event", help="Connections to the port for agents: admitted, unlisted, failed, timed_out, pushed_out."),
    _gauge("cometkms_term", help="Raft term."),
    _gauge("cometkms_epoch", help="Epoch of the peer list."),
    _gauge("cometkms_lease_left_seconds", help="How long a leader may go on without hearing from a majority; 0 on a follower."),
    # the members
    _gauge("cometkms_members", help="Members of the cluster, this node included."),
    _gauge("cometkms_quorum", help="Members whose promises make a permit, this node included."),
    _gauge("cometkms_peers_connected", help="Other members that are connected."),
    _gauge("cometkms_peer_connected", "peer", help="1 while the member is connected."),
    _gauge("cometkms_peer_state", "peer", "state", help="1 for the state the member last told, 0 for the others; none before it told any."),
    _gauge("cometkms_peer_info", "peer", "version", help="1; the version the member told."),
    _counter("cometkms_peer_connects_total", "peer", help="Connections to the member since the state process was started."),
    _gauge("cometkms_peer_round_trip_seconds", "peer", help="Round trip to the member as last measured."),
    _gauge("cometkms_peer_silence_seconds", "peer", help="Seconds since the member was last heard."),
    _gauge("cometkms_peer_promise_lag", "peer", help="Promises this node, leading, made since the member's last acknowledgement; absent on a follower."),
    _gauge("cometkms_peer_promise_lag_heights", "peer", "chain_id", help="Heights between them, likewise."),
    _counter("cometkms_peer_port_total", "event", help="What came of connections at the peers' port: accepted, strangers, refused, silent and so on."),
    # promises
    _counter("cometkms_promises_total", help="Promises in this node's store; it survives restarts."),
    _gauge("cometkms_mark_height", "chain_id", help="Height of the highest place promised here."),
    _gauge("cometkms_mark_round", "chain_id", help="Its round."),
    _gauge("cometkms_mark_step", "chain_id", help="Its step: 1 proposal, 2 prevote, 3 precommit."),
    _gauge("cometkms_mark_burnt", "chain_id", help="1 if what was promised there is not known, so that nothing is signed there."),
    _counter("cometkms_promises_refused_total", "reason", help="Promises this node refused to its signer or to a member."),
    _counter("cometkms_fast_path_total", "event", help="Permits and answers to members that the C core made without Python."),
    _gauge("cometkms_ring_depth", "ring", help="Messages that wait between signer and state process: requests to, permits from it."),
    _histogram("cometkms_fsync_seconds", help="Sync of this node's store for a promise, its own or a member's."),
    _histogram("cometkms_permit_seconds", help="From the signer's reservation to the majority's promise, in the leader's state process."),
    # signatures
    _counter("cometkms_signatures_total", "chain_id", help="Signatures this node made."),
    _counter("cometkms_repeats_total", "chain_id", help="Signatures given again for the same request."),
    _counter("cometkms_signed_bytes_total", "chain_id", "unique_id", help="Bytes signed that are no vote: Celestia's by unique id, SignBytes without one."),
    _counter("cometkms_refusals_total", "chain_id", "kind", "reason", help="Refused for good; kind: senseless, older (below the last place), rule."),
    _counter("cometkms_unanswered_total", "chain_id", "reason", help="Requests answered empty, so that the validator asks again."),
    _counter("cometkms_missed_heights_total", "chain_id", "cause", help="Heights without a precommit while it led: unanswered, validator_away, not_asked."),
    _histogram("cometkms_sign_seconds", "chain_id", help="From the request's last byte to the answer, in the signer."),
    _gauge("cometkms_last_signed_height", "chain_id", help="Height of the last signature this node knows of, whoever made it."),
    _gauge("cometkms_last_signed_round", "chain_id", help="Its round."),
    _gauge("cometkms_last_signed_step", "chain_id", help="Its step: 1 proposal, 2 prevote, 3 precommit."),
    _gauge("cometkms_seconds_since_last_signature", "chain_id", help="Seconds since this node made, or learned of, a signature."),
    _horcrux("signer_last_proposal_height", "chain_id", help="Last height of which this node signed the proposal."),
    _horcrux("signer_last_proposal_round", "chain_id", help="Its round."),
    _horcrux("signer_last_prevote_height", "chain_id", help="Last height of which this node signed a prevote."),
    _horcrux("signer_last_prevote_round", "chain_id", help="Its round."),
    _horcrux("signer_last_precommit_height", "chain_id", help="Last height of which this node signed a precommit."),
    _horcrux("signer_last_precommit_round", "chain_id", help="Its round."),
    _horcrux("signer_total_proposals_signed", "chain_id", help="Proposals this node signed."),
    _horcrux("signer_total_prevotes_signed", "chain_id", help="Prevotes this node signed."),
    _horcrux("signer_total_precommits_signed", "chain_id", help="Precommits this node signed."),
    _horcrux("signer_seconds_since_last_prevote", "chain_id", help="Seconds since this node signed a prevote."),
    _horcrux("signer_seconds_since_last_precommit", "chain_id", help="Seconds since this node signed a precommit."),
    _horcrux("signer_missed_prevotes", "chain_id", help="Heights between the last two prevotes under one lease; 0 when they follow each other."),
    _horcrux("signer_missed_precommits", "chain_id", help="Heights between the last two precommits under one lease, likewise."),
    _horcrux("signer_total_missed_prevotes", "chain_id", help="Heights without a prevote between two signed under one lease."),
    _horcrux("signer_total_missed_precommits", "chain_id", help="Heights without a precommit, likewise."),
    _horcrux("signer_total_pubkey_requests", "chain_id", help="Times the public key was asked for: a validator that starts or reconnects."),
    # the validators
    _gauge("cometkms_validator_connected", "chain_id", "validator", help="1 while the validator is connected. 0 on a follower, whose signer stands by."),
    _gauge("cometkms_validator_state", "chain_id", "validator", "state", help="1 for the connection's state, 0 for the others."),
    _gauge("cometkms_validator_line", "chain_id", "validator", "line", help="1 for the validator's release line, 0 for the others, once its votes told it."),
    _counter("cometkms_validator_connects_total", "chain_id", "validator", help="Connections that were established."),
    _counter("cometkms_validator_requests_total", "chain_id", "validator", help="Requests received, pings included."),
    _horcrux("signer_sentry_connect_tries", "node", help="Failed attempts to connect to the validator since the last that worked."),
    _horcrux("signer_total_sentry_connect_tries", "node", help="Failed attempts to connect to the validator."),
    # trust
    _gauge("cometkms_hardening", "process", "measure", "state", help="1 for the state of the measure (on, off, unavailable), 0 for the others."),
    _counter("cometkms_audit_records_total", help="Records written to the audit log since its process began."),
    _counter("cometkms_audit_dropped_total", help="Records that the audit log misses, likewise."),
    _gauge("cometkms_audit_bytes", help="Size of the audit log, all of its files."),
    _counter("cometkms_webhook_delivered_total", help="Notices of alerts that the webhook's receiver took, since the webhook process began."),
    _counter("cometkms_webhook_failed_total", help="Attempts to deliver that failed, likewise."),
    _counter("cometkms_webhook_dropped_total", help="Notices that were given up: too many waited, or one for an hour."),
    _gauge("cometkms_webhook_waiting", help="Notices that wait for delivery."),
    _gauge("cometkms_webhook_failing", help="1 while alerts are not delivered; absent where no webhook is configured."),
    _gauge("cometkms_audit_failing", help="1 while the audit log cannot be written."),
)  # fmt: skip

FAMILIES: Final[Mapping[str, Family]] = {family.name: family for family in _ALL}
