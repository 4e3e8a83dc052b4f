"""/metrics: what a board says is what is scraped, in both formats; what is not known is left out
and nothing else with it.
"""

from collections.abc import Mapping
from typing import Any

import falcon.testing
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from cometkms.api.alerts import RULES
from cometkms.api.app import make_app
from cometkms.api.compose import OTHER, Samples, compose_samples
from cometkms.api.families import FAMILIES, Type
from cometkms.api.metrics import encode
from cometkms.api.watch import Watch
from cometkms.board.status_board import Board
from cometkms.config.schema import AlertBounds
from cometkms.histogram import BOUNDS_US, Histogram
from cometkms.limits import (
    CHAINS_MAX,
    METRIC_LABEL_MAX_CHARS,
    METRIC_SERIES_MAX,
    RAW_UNIQUE_ID_MAX_BYTES,
    RAW_UNIQUE_IDS_MAX,
    REFUSAL_WORDS_MAX,
    REFUSALS_SHOWN,
)
from cometkms.model import FINAL_REASONS, OLDER_REASONS, Reason
from cometkms.signer.tally import KINDS, Missed

from .boards import NOW, FakeBoard, Told
from .full_board import FullBoard, histogram
from .library_metrics import library_encode, same_text

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
NO_SECTIONS: Mapping[str, Any] = {"state": None, "signer": None, "supervisor": None}

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(body: str, accept: str = "") -> Series:
    """Every sample by name and labels; each once."""
    parse = parse_openmetrics if accept else parse_text
    found: Series = {}
    for family in parse(body):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def scrape(sections: Mapping[str, Any], ages: Mapping[str, float | None] | None = None, **more: Any) -> Series:
    samples = compose_samples(sections, ages or {}, NOW, **more)
    text, open_metrics = encode(samples, "")[0].decode(), encode(samples, OPENMETRICS)[0].decode()
    assert same_text(text, library_encode(samples, ""))
    assert same_text(open_metrics, library_encode(samples, OPENMETRICS))
    plain = scraped(text)
    assert scraped(open_metrics, OPENMETRICS) == plain
    return plain


def full(**more: Any) -> Series:
    board = FullBoard()
    return scrape(
        board.sections_now,
        board.ages,
        alerts={"disk_slow": True, "no_leader": False},
        **more,
    )


def one(series: Series, name: str, /, **labels: str) -> float | None:
    return series.get((name, frozenset(labels.items())))


def names_in(series: Series) -> set[str]:
    return {name for name, _ in series}


# --- a whole board ---


def test_a_board_that_says_everything_gives_every_metric_with_its_labels() -> None:
    series = full()
    known = {name: family for family in FAMILIES.values() for name in family.series_names}
    assert names_in(series) == set(known)
    for name, labels in series:
        wanted = set(known[name].labels) | ({"le"} if name.endswith("_bucket") else set())
        assert {label for label, _ in labels} == wanted, name


CHAIN = {"chain_id": "chain-a"}
LINK = {"chain_id": "chain-a", "validator": "tcp://10.0.0.1:26658"}


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("cometkms_node_info", {"node": "node0"}, 1),
        ("cometkms_start_time_seconds", {}, NOW - 60),
        ("cometkms_node_state", {"state": "complete"}, 1),
        ("cometkms_node_state", {"state": "recovering"}, 0),
        ("cometkms_alert", {"name": "disk_slow"}, 1),
        ("cometkms_alert", {"name": "no_leader"}, 0),
        ("cometkms_metrics_dropped_series", {}, 0),
        ("cometkms_child_up", {"child": "audit"}, 1),
        ("cometkms_child_restarts_total", {"child": "signer"}, 1),
        ("cometkms_child_beat_age_seconds", {"child": "signer"}, 0.02),
        ("cometkms_child_cpu_seconds_total", {"child": "state"}, 50.5),
        ("cometkms_child_resident_memory_bytes", {"child": "state"}, 101 * 4096),
        ("cometkms_is_leader", {}, 1),
        ("cometkms_has_leader", {}, 1),
        ("cometkms_leader_info", {"leader": "node0"}, 1),
        ("cometkms_leader_changes_total", {}, 3),
        ("cometkms_proposals_without_lead_total", {}, 5),
        ("cometkms_agent_port_total", {"event": "unlisted"}, 4),
        ("cometkms_handovers_total", {"reason": "signer_silent"}, 2),
        ("cometkms_handovers_total", {"reason": "no_validator"}, 0),
        ("cometkms_term", {}, 17),
        ("cometkms_lease_left_seconds", {}, 0.85),
        ("cometkms_members", {}, 3),
        ("cometkms_quorum", {}, 2),
        ("cometkms_peers_connected", {}, 1),
        ("cometkms_peer_connected", {"peer": "node2"}, 0),
        ("cometkms_peer_connected", {"peer": "node0"}, None),
        ("cometkms_peer_state", {"peer": "node2", "state": "recovering"}, 1),
        ("cometkms_peer_info", {"peer": "node2", "version": "0.2.0"}, 1),
        ("cometkms_peer_round_trip_seconds", {"peer": "node1"}, 0.00048),
        ("cometkms_peer_round_trip_seconds", {"peer": "node2"}, None),
        ("cometkms_peer_silence_seconds", {"peer": "node2"}, 90),
        ("cometkms_peer_promise_lag", {"peer": "node2"}, 711),
        ("cometkms_peer_promise_lag_heights", {"peer": "node2", "chain_id": "chain-a"}, 237),
        ("cometkms_peer_port_total", {"event": "strangers"}, 4),
        ("cometkms_promises_total", {}, 4711),
        ("cometkms_mark_height", {"chain_id": "chain-b"}, 9),
        ("cometkms_mark_burnt", {"chain_id": "chain-b"}, 1),
        ("cometkms_promises_refused_total", {"reason": "conflict"}, 2),
        ("cometkms_ring_depth", {"ring": "requests"}, 1),
        ("cometkms_fsync_seconds_bucket", {"le": "0.0001"}, 10),
        ("cometkms_fsync_seconds_bucket", {"le": "+Inf"}, 100),
        ("cometkms_fsync_seconds_count", {}, 100),
        ("cometkms_fsync_seconds_sum", {}, 0.0012345),
        ("cometkms_permit_seconds_bucket", {"le": "0.001"}, 80),
        ("cometkms_sign_seconds_bucket", {**CHAIN, "le": "0.001"}, 3000),
        ("cometkms_signatures_total", CHAIN, 3003),
        ("cometkms_repeats_total", CHAIN, 5),
        ("cometkms_signed_bytes_total", {**CHAIN, "unique_id": ""}, 11),
        ("cometkms_signed_bytes_total", {**CHAIN, "unique_id": "fiber-commitment"}, 12),
        ("cometkms_refusals_total", {**CHAIN, "kind": "rule", "reason": "conflict"}, 1),
        ("cometkms_refusals_total", {**CHAIN, "kind": "senseless", "reason": "wrong_chain"}, 2),
        ("cometkms_refusals_total", {**CHAIN, "kind": "other", "reason": "other"}, 7),
        ("cometkms_unanswered_total", {**CHAIN, "reason": "no_permit"}, 6),
        ("cometkms_missed_heights_total", {**CHAIN, "cause": "validator_away"}, 3),
        ("cometkms_last_signed_height", CHAIN, 1002),
        ("cometkms_last_signed_height", {"chain_id": "chain-b"}, None),
        ("cometkms_seconds_since_last_signature", CHAIN, 1.5),
        ("cometkms_seconds_since_last_signature", {"chain_id": "chain-b"}, None),
        ("signer_last_precommit_height", CHAIN, 1001),
        ("signer_last_precommit_round", CHAIN, 2),
        ("signer_last_precommit_height", {"chain_id": "chain-b"}, None),
        ("signer_total_precommits_signed", CHAIN, 1500),
        ("signer_total_precommits_signed", {"chain_id": "chain-b"}, 0),
        ("signer_seconds_since_last_prevote", CHAIN, 2),
        ("signer_missed_prevotes", CHAIN, 1),
        ("signer_total_missed_precommits", CHAIN, 4),
        ("signer_total_pubkey_requests", CHAIN, 7),
        ("cometkms_validator_connected", LINK, 1),
        ("cometkms_validator_state", {**LINK, "state": "waiting"}, 0),
        ("cometkms_validator_requests_total", LINK, 3010),
        ("signer_sentry_connect_tries", {"node": "unix:///run/validator.sock"}, 61),
        ("signer_total_sentry_connect_tries", {"node": "tcp://10.0.0.1:26658"}, 4),
        ("cometkms_validator_line", {"chain_id": "chain-a", "validator": "tcp://10.0.0.1:26658", "line": "v1"}, 1),
        ("cometkms_validator_line", {"chain_id": "chain-a", "validator": "tcp://10.0.0.1:26658", "line": "v0.33"}, 0),
        (
            "cometkms_validator_line",
            {"chain_id": "chain-a", "validator": "unix:///run/validator.sock", "line": "v1"},
            None,
        ),
        ("cometkms_hardening", {"process": "signer", "measure": "landlock", "state": "unavailable"}, 1),
        ("cometkms_hardening", {"process": "api", "measure": "no_new_privs", "state": "on"}, 0),
        ("cometkms_audit_records_total", {}, 3020),
        ("cometkms_audit_failing", {}, 0),
        ("cometkms_webhook_delivered_total", {}, 7),
        ("cometkms_webhook_failed_total", {}, 2),
        ("cometkms_webhook_dropped_total", {}, 1),
        ("cometkms_webhook_waiting", {}, 3),
        ("cometkms_webhook_failing", {}, 0),
    ],
)
def test_a_value_is_the_boards(name: str, labels: dict[str, str], value: float | None) -> None:
    assert one(full(), name, **labels) == value


def test_the_tables_of_states_and_reasons_are_those_of_the_program() -> None:
    board = FullBoard()
    chain = board.sections_now["signer"]["chains"][0]
    chain["counters"]["refused"] = {reason.name.lower(): 1 for reason in FINAL_REASONS}
    chain["counters"]["unanswered"] = {reason.name.lower(): 1 for reason in set(Reason) - FINAL_REASONS}
    chain["missed"] = dict.fromkeys(Missed, 1)
    assert set(chain["votes"]) == set(KINDS.values())
    series = scrape(board.sections_now)
    assert not [labels for _, labels in series if ("reason", OTHER) in labels]
    kinds = {dict(labels)["reason"]: dict(labels)["kind"] for name, labels in series if name.startswith("cometkms_ref")}
    assert kinds["bad_address"] == kinds["wrong_chain"] == "senseless"
    assert kinds["conflict"] == kinds["burnt"] == kinds["jump"] == "rule"
    assert {reason for reason, kind in kinds.items() if kind == "older"} == {one.name.lower() for one in OLDER_REASONS}


def test_the_first_conflict_is_an_increase() -> None:
    """Prometheus sees none in a series that begins with 1."""
    chain_b = {"chain_id": "chain-b"}
    assert one(full(), "cometkms_refusals_total", **chain_b, kind="rule", reason="conflict") == 0
    assert one(full(), "cometkms_unanswered_total", **chain_b, reason="no_permit") == 0
    assert one(full(), "cometkms_missed_heights_total", **chain_b, cause="unanswered") == 0


# --- less than a whole board ---


def test_an_empty_board_names_every_metric_and_knows_no_value() -> None:
    assert set(scrape(NO_SECTIONS)) == {("cometkms_metrics_dropped_series", frozenset())}
    body = encode(compose_samples({}, {}, NOW), "")[0].decode()
    assert {line.split()[2] for line in body.splitlines() if line.startswith("# TYPE")} == set(FAMILIES)


def test_the_board_of_an_older_version_gives_what_it_has() -> None:
    board = FakeBoard()
    series = scrape(board.sections(), board.ages)
    assert one(series, "cometkms_signatures_total", chain_id="chain-a") == 7
    assert one(series, "cometkms_seconds_since_last_signature", chain_id="chain-a") == 1
    assert "cometkms_fsync_seconds_count" not in names_in(series)


@pytest.mark.parametrize(
    ("child", "gone", "kept"),
    [
        ("state", "cometkms_is_leader", "cometkms_signatures_total"),
        ("signer", "cometkms_signatures_total", "cometkms_is_leader"),
        ("audit", "cometkms_audit_records_total", "cometkms_signatures_total"),
    ],
)
def test_what_a_child_said_before_it_died_is_not_repeated(child: str, gone: str, kept: str) -> None:
    """Its section stays on the board: a dead leader would lead on for ever."""
    board = FullBoard()
    entry = next(one for one in board.sections_now["supervisor"]["children"] if one["name"] == child)
    entry.update(state="backoff", restarts=8)
    series = scrape(board.sections_now, board.ages)
    assert gone not in names_in(series)
    assert kept in names_in(series)
    assert one(series, "cometkms_child_up", child=child) == 0
    assert one(series, "cometkms_child_restarts_total", child=child) == 8
    assert one(series, "cometkms_child_beat_age_seconds", child=child) is None


def test_a_follower_has_no_promise_lag_and_a_node_without_a_leader_says_so() -> None:
    board = FullBoard()
    state = board.sections_now["state"]
    state.update(is_leader=False, leader_id=None)
    for member in state["members"]:
        member.pop("behind", None)
    series = scrape(board.sections_now)
    assert one(series, "cometkms_has_leader") == 0
    assert not {"cometkms_peer_promise_lag", "cometkms_leader_info"} & names_in(series)


@pytest.mark.parametrize(
    "odd",
    [
        histogram(5, 4, 6, 7),
        histogram(1, 2, 3, 2),
        {"count": 1, "sum_us": 1.0, "buckets": [[100, 1], [100, 1]]},
        {"count": 1, "sum_us": 1.0, "buckets": [[100]]},
        {"count": 1, "sum_us": 1.0, "buckets": []},
        {"count": -1, "sum_us": 1.0, "buckets": [[100, 0]]},
        {"count": 1, "sum_us": float("nan"), "buckets": [[100, 0]]},
        {"count": 1, "sum_us": 1.0, "buckets": [["100", 0]]},
        [],
        7,
    ],
)
def test_a_histogram_that_is_not_whole_is_left_out(odd: Any) -> None:
    board = FullBoard()
    board.sections_now["state"]["sync_hist"] = odd
    series = scrape(board.sections_now)
    assert "cometkms_fsync_seconds_count" not in names_in(series)
    assert one(series, "cometkms_permit_seconds_count") == 99


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -1, "7", None, [], {}, 10**400])
def test_a_number_that_is_none_costs_its_own_figure_only(odd: Any) -> None:
    board = FullBoard()
    board.sections_now["state"]["term"] = odd
    series = scrape(board.sections_now)
    assert one(series, "cometkms_term") is None
    assert one(series, "cometkms_epoch") == 2


def test_a_clock_that_was_set_back_gives_no_negative_age() -> None:
    board = FullBoard()
    samples = compose_samples(board.sections_now, board.ages, NOW - 3600)
    assert samples.of["cometkms_seconds_since_last_signature"][("chain-a",)] == 0


# --- bounds ---


def test_labels_are_cut_and_fit_any_encoding() -> None:
    board = FullBoard()
    board.sections_now["signer"]["chains"][0]["chain_id"] = 'evil"\n\\' + "x" * 1000
    board.sections_now["state"]["node_id"] = "half a pair \ud800"
    series = scrape(board.sections_now)
    labels = {value for _, labels in series for _, value in labels}
    assert max(map(len, labels)) == METRIC_LABEL_MAX_CHARS
    assert "half a pair ?" in labels


def test_a_family_has_a_bound_and_what_is_over_it_is_counted() -> None:
    samples = Samples()
    for number in range(METRIC_SERIES_MAX + 5):
        samples.add("cometkms_peer_port_total", 1.0, f"event {number}")
    samples.add("cometkms_peer_port_total", 1.0, "event 0")
    assert len(samples.of["cometkms_peer_port_total"]) == METRIC_SERIES_MAX
    assert samples.of["cometkms_peer_port_total"][("event 0",)] == 2
    assert samples.dropped == 5


def test_the_dropped_series_are_told() -> None:
    board = FullBoard()
    board.sections_now["state"]["peers_port"] = {f"event {number}": 1 for number in range(METRIC_SERIES_MAX + 3)}
    assert one(scrape(board.sections_now), "cometkms_metrics_dropped_series") == 3


def test_the_section_of_the_largest_signer_fits_the_board() -> None:
    """64 chains with four validators each, every counter long and every reason met; a section that
    does not fit ends its process.
    """
    many = 10**12
    histogram = Histogram()
    for bound in BOUNDS_US:
        histogram.add(bound * 1000)
    told = {**histogram.buckets_us(), "buckets": [[bound, many] for bound in BOUNDS_US]}
    refusal = {
        "at": NOW, "reason": "height_regression", "why": "x" * REFUSAL_WORDS_MAX, "validator": "tcp://" + "v" * 60, "asked": f"{many}/1/1",
        "asked_block": "ab" * 32, "signed": f"{many}/1/1", "signed_block": "ab" * 32, "burnt": False,
    }  # fmt: skip
    template = FullBoard().sections_now["signer"]["chains"][0]
    validator = {**template["validators"][0], "addr": "tcp://" + "v" * 60, "last_error": "y" * 100, "requests": many}
    chain = {
        **template,
        "chain_id": "c" * 50,
        "validators": [validator] * 4,
        "counters": {
            "signed": many, "repeated": many, "pub_keys": many, "signed_values": many,
            "signed_raw": {f"{number}" * RAW_UNIQUE_ID_MAX_BYTES: many for number in range(RAW_UNIQUE_IDS_MAX)},
            "refused": {reason.name.lower(): many for reason in FINAL_REASONS},
            "unanswered": {reason.name.lower(): many for reason in set(Reason) - FINAL_REASONS},
        },
        "latency_hist": told,
        "refusals": [refusal] * (REFUSALS_SHOWN // CHAINS_MAX),
    }  # fmt: skip
    Board(("signer",), ()).section("signer").write({"core": "native", "chains": [chain] * CHAINS_MAX})


# --- the table ---


def test_names_and_types_are_as_prometheus_wants_them() -> None:
    for family in FAMILIES.values():
        assert family.help.endswith(".")
        assert (family.type is Type.COUNTER) == family.name.endswith("_total"), family.name
        assert (family.type is Type.UNTYPED) == family.name.startswith("signer_total_"), family.name


# --- over HTTP ---


@pytest.fixture
def http() -> falcon.testing.TestClient:
    def fail(path: str, error: BaseException) -> None:
        raise AssertionError(path) from error

    board = FullBoard()
    watch = Watch(board, AlertBounds(), Told(), wall_clock=lambda: NOW, clock=lambda: 0.0)
    return falcon.testing.TestClient(make_app(board, fail, watch))


def test_every_alert_is_a_series_raised_or_not(http: falcon.testing.TestClient) -> None:
    samples = scraped(http.simulate_get("/metrics").text)
    assert {name: one(samples, "cometkms_alert", name=name) for name in RULES} == dict.fromkeys(RULES, 0)


def test_the_text_format_is_the_default(http: falcon.testing.TestClient) -> None:
    result = http.simulate_get("/metrics")
    assert result.status_code == 200
    assert result.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert result.headers["cache-control"] == "no-store"
    assert one(scraped(result.text), "cometkms_signatures_total", chain_id="chain-a") == 3003


def test_openmetrics_is_what_prometheus_asks_for(http: falcon.testing.TestClient) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    result = http.simulate_get("/metrics", headers={"Accept": accept})
    assert result.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert result.text.endswith("# EOF\n")
    assert one(scraped(result.text, accept), "cometkms_signatures_total", chain_id="chain-a") == 3003


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text;version=1.0.0\r\nX: y",
        "application/openmetrics-text;version=x",
        "text/plain;version=1.x.0",
        ";;;===,,,",
        "application/json",
        "application/openmetrics-text;version=2.0.0",
        "application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4",
        "é" * 99,
    ],
)
def test_an_accept_header_that_makes_no_sense_gets_the_text_format(accept: str) -> None:
    body, content_type = encode(Samples(), accept)
    assert content_type.startswith("text/plain; version=0.0.4")
    scraped(body.decode())


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text",
        "text/html, application/openmetrics-text; version=1.0.0; charset=utf-8",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
        "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3",
    ],
)
def test_what_prometheus_2_and_3_ask_for_is_open_metrics_and_nothing_of_it_is_said_again(accept: str) -> None:
    body, content_type = encode(Samples(), accept)
    assert content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    scraped(body.decode(), accept)
