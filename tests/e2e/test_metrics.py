"""A real node's /metrics: what it counted is what /status counted, and a child that is away costs
its own part only.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from cometkms.api.alerts import RULES
from cometkms.api.families import FAMILIES
from tests.e2e.cluster import Cluster
from tests.e2e.node import CHAIN, PRECOMMIT, PREVOTE, PROPOSAL, Node, Validator, free_tcp, until

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(node: Node) -> Series:
    _, text = node.fetch("/metrics", {"Accept": "application/openmetrics-text; version=1.0.0"})
    families = list(text_string_to_metric_families(text))
    assert {f"{one.name}_total" if one.type == "counter" else one.name for one in families} == set(FAMILIES)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def one(series: Series, metric: str, /, **labels: str) -> float | None:
    return series.get((metric, frozenset(labels.items())))


def test_counters_agree_with_status_and_a_scrape_outlives_a_child(
    make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    address = free_tcp()
    node = make_node(address).start()
    tries = until("a failed attempt", lambda: one(scrape(node), "signer_sentry_connect_tries", node=address))
    assert tries is not None
    validator = make_validator(address)
    validator.connect()
    for height in (1, 2, 5):
        for kind in (PROPOSAL, PREVOTE, PRECOMMIT):
            validator.must_sign(kind, height)
    validator.must_sign(PRECOMMIT, 5, second=1)  # again, with another time
    validator.must_refuse(PRECOMMIT, 5, block="dd")
    validator.must_refuse(PREVOTE, 4)

    def settled() -> tuple[Series, dict[str, Any]] | None:
        """Nobody asks any more: signer and state process have told all of it, and nothing moves."""
        before, series, after = node.status(), scrape(node), node.status()
        same = all(before[part] == after[part] for part in ("chains", "fdatasync_us", "permit_us"))
        whole = one(series, "cometkms_repeats_total", chain_id=CHAIN) and (
            one(series, "cometkms_last_signed_height", chain_id=CHAIN) == 5
            and (one(series, "cometkms_permit_seconds_count") or 0) >= 9
        )
        return (series, after) if same and whole and after["chains"][0]["counters"]["refused"] == refused else None

    refused = {"conflict": 1, "height_regression": 1}
    series, status = until("the board has it all", settled)
    counters = status["chains"][0]["counters"]
    chain = {"chain_id": CHAIN}
    assert counters["signed"] == one(series, "cometkms_signatures_total", **chain) == 9
    assert counters["repeated"] == one(series, "cometkms_repeats_total", **chain) == 1
    for kind, reason in (("rule", "conflict"), ("older", "height_regression")):
        assert one(series, "cometkms_refusals_total", **chain, kind=kind, reason=reason) == 1
    for kind in ("proposals", "prevotes", "precommits"):
        assert one(series, f"signer_total_{kind}_signed", **chain) == 3
    assert one(series, "cometkms_sign_seconds_count", **chain) == status["chains"][0]["latency_us"]["count"] == 10
    assert one(series, "cometkms_fsync_seconds_count") == status["fdatasync_us"]["count"] >= 9
    assert one(series, "cometkms_permit_seconds_count") == status["permit_us"]["count"] >= 9
    last = status["last_sign_state"]
    for field in ("height", "round", "step"):
        assert one(series, f"cometkms_last_signed_{field}", **chain) == last[field]
        assert one(series, f"cometkms_mark_{field}", **chain) == status["chains"][0]["watermark"][field]
    assert one(series, "signer_last_precommit_height", **chain) == 5
    assert one(series, "signer_missed_precommits", **chain) == one(series, "signer_total_missed_prevotes", **chain) == 2
    assert one(series, "cometkms_missed_heights_total", **chain, cause="not_asked") == 2
    assert (one(series, "signer_total_pubkey_requests", **chain) or 0) >= 1
    assert one(series, "cometkms_validator_connected", **chain, validator=address) == 1
    assert one(series, "signer_sentry_connect_tries", node=address) == 0
    assert (one(series, "signer_total_sentry_connect_tries", node=address) or 0) >= tries
    assert one(series, "cometkms_is_leader") == one(series, "cometkms_has_leader") == 1
    used = until("memory and CPU", lambda: one(scrape(node), "cometkms_child_resident_memory_bytes", child="signer"))
    assert used > 1 << 20
    assert one(series, "cometkms_child_restarts_total", child="signer") == 0
    assert one(series, "cometkms_audit_failing") == 0
    assert {dict(labels)["name"] for name, labels in series if name == "cometkms_alert"} == set(RULES)
    assert {dict(labels)["process"] for name, labels in series if name == "cometkms_hardening"} >= {"signer", "state"}

    os.kill(node.child("signer")["pid"], signal.SIGKILL)
    until("the restart is counted", lambda: one(scrape(node), "cometkms_child_restarts_total", child="signer") >= 1)
    until("the signer is back", lambda: one(scrape(node), "cometkms_child_up", child="signer") == 1)
    until("its counters begin again", lambda: one(scrape(node), "cometkms_signatures_total", chain_id=CHAIN) == 0)
    until("where it stands is known", lambda: one(scrape(node), "cometkms_last_signed_height", chain_id=CHAIN) == 5)


def test_a_leader_tells_how_far_a_member_that_is_away_has_fallen_behind(tmp_path: Path) -> None:
    address = free_tcp()
    validator, cluster = Validator(address), Cluster(tmp_path, 3, address)
    try:
        cluster.start()
        leader = cluster.wait_leader()
        away, follower = (name for name in cluster.ids if name != leader)
        validator.connect()
        validator.must_sign(PRECOMMIT, 1)
        cluster.kill(away)
        pair = (leader, follower)
        heights = iter(range(10, 10_000))

        def told() -> bool:
            """By whoever of the two leads when it is asked; a new leader tells how far the other
            has fallen behind since it leads.
            """
            for height in (next(heights) for _ in range(4)):
                validator.must_sign(PRECOMMIT, height)
            series = {name: scrape(cluster.nodes[name]) for name in pair}
            leads = [name for name in pair if one(series[name], "cometkms_is_leader") == 1]
            if len(leads) != 1:
                return False
            of_leader = series[leads[0]]
            of_other, other = next((series[name], name) for name in pair if name != leads[0])
            return (
                (one(of_leader, "cometkms_peer_promise_lag_heights", peer=away, chain_id=CHAIN) or 0) >= 3
                and (one(of_leader, "cometkms_peer_promise_lag", peer=away) or 0) >= 3
                and one(of_leader, "cometkms_peer_promise_lag", peer=other) == 0
                and one(of_other, "cometkms_peer_promise_lag", peer=away) is None
                and all(one(found, "cometkms_peer_connected", peer=away) == 0 for found in series.values())
                and all(one(found, "cometkms_peers_connected") == 1 for found in series.values())
                and all(one(found, "cometkms_leader_info", leader=leads[0]) == 1 for found in series.values())
                and all((one(found, "cometkms_fsync_seconds_count") or 0) >= 4 for found in series.values())
            )

        until("the lag is told, by the leader alone, and the syncs are timed by both", told)
        for name in pair:
            series = scrape(cluster.nodes[name])
            assert (one(series, "cometkms_quorum"), one(series, "cometkms_members")) == (2, 3)
    finally:
        cluster.stop()
        validator.close()
