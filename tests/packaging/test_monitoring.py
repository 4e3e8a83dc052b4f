"""The dashboard, the alert rules and the document name nothing that /metrics does not say; with
promtool on PATH, Prometheus itself agrees.

That /metrics says all of families.FAMILIES, with these labels, is tests/unit/api/test_metrics.py's,
and tests/e2e/test_metrics.py's of a real node.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cometkms.api.alerts import RULES as ALERTS_OF_A_NODE
from cometkms.api.families import FAMILIES
from tests.packaging.promql import TARGET_LABELS, Selector, grouping_labels, selectors

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "packaging" / "prometheus" / "cometkms.rules.yml"
RULE_TESTS = ROOT / "packaging" / "prometheus" / "cometkms.rules.test.yml"
DOCUMENT = ROOT / "docs" / "METRICS.md"
DASHBOARD = ROOT / "packaging" / "grafana" / "cometkms.json"
ALERTS = {
    "CometKMSHeightStalled": "height_stalled",
    "CometKMSLatencyHigh": "latency_high",
    "CometKMSDiskSlow": "disk_slow",
    "CometKMSNoLeader": "no_leader",
    "CometKMSQuorumMinimum": "quorum_minimum",
    "CometKMSRequestsRefused": "requests_refused",
    "CometKMSHeightJump": "height_jump",
    "CometKMSDuplicateId": "duplicate_id",
    "CometKMSPeerAway": "peer_away",
    "CometKMSPeerRecovering": "peer_recovering",
    "CometKMSStrictWait": "strict_wait",
    "CometKMSStoreGone": "store_gone",
    "CometKMSPeerFar": "peer_far",
    "CometKMSConflictRefused": "conflict_refused",
    "CometKMSVoteAsBytes": "vote_as_bytes",
    "CometKMSValidatorAway": "validator_away",
    "CometKMSAgentAway": "agent_away",
    "CometKMSChildRestarting": "child_restarting",
    "CometKMSConfigDiffers": "config_differs",
    "CometKMSHomeUnlocked": "home_unlocked",
    "CometKMSAuditFailing": "audit_failing",
    "CometKMSWebhookFailing": "webhook_failing",
}


def labels_of() -> dict[str, set[str]]:
    """By the name that a query uses."""
    found = {}
    for family in FAMILIES.values():
        for name in family.series_names:
            found[name] = set(family.labels) | TARGET_LABELS | ({"le"} if name.endswith("_bucket") else set())
    return found


KNOWN = labels_of()


def judge(expression: str) -> set[str]:
    """The metrics of a query. Raises: AssertionError for a metric or a label that no node says."""
    named = selectors(expression)
    assert named, expression
    for one in named:
        assert one.metric in KNOWN, f"{one.metric} is said by no node, in {expression}"
        assert one.labels <= KNOWN[one.metric], f"{one.labels - KNOWN[one.metric]} is no label, in {expression}"
    grouped = grouping_labels(expression)
    everything = set().union(*(KNOWN[one.metric] for one in named))
    assert grouped <= everything, f"{grouped - everything} is no label, in {expression}"
    return {one.metric for one in named}


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load(RULES.read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return json.loads(DASHBOARD.read_text())["panels"]


def queries() -> list[str]:
    """Every expression of the dashboard, with the variables as Grafana fills them in."""
    document = json.loads(DASHBOARD.read_text())
    found = [target["expr"] for panel in panels() for target in panel.get("targets", [])]
    found += [one["expr"] for one in document["annotations"]["list"]]
    return [filled(one) for one in found]


def filled(expression: str) -> str:
    for name, value in (("$__rate_interval", "1m"), ("$job", "cometkms"), ("$chain", ".+"), ("$node", ".+")):
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


# --- the rules ---


def test_there_is_one_rule_for_each_alert_of_the_status_page_and_the_runbook() -> None:
    assert {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules()} == {
        alert: f"docs/RUNBOOK.md#{name}" for alert, name in ALERTS.items()
    }
    assert set(ALERTS.values()) == set(ALERTS_OF_A_NODE)
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "RUNBOOK.md").read_text(), re.MULTILINE)
    assert set(ALERTS.values()) <= set(headings)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_names_what_nodes_say_and_says_what_to_do(rule: dict[str, Any]) -> None:
    judge(rule["expr"])
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"})
    assert re.fullmatch(r"\d+[sm]", rule.get("for", "0s"))
    assert " Cure: " in rule["annotations"]["description"]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_what_a_rule_says_uses_labels_that_its_result_has(rule: dict[str, Any]) -> None:
    aggregated = grouping_labels(rule["expr"].split(" and ")[0])
    result = aggregated - {"le"} or set().union(*(KNOWN[one.metric] for one in selectors(rule["expr"])))
    for text in rule["annotations"].values():
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= result, text


def test_every_rule_has_its_own_test_both_ways() -> None:
    cases = [case for test in yaml.safe_load(RULE_TESTS.read_text())["tests"] for case in test["alert_rule_test"]]
    for alert in ALERTS:
        raised = {bool(case.get("exp_alerts")) for case in cases if case["alertname"] == alert}
        assert raised == {True, False}, alert


def test_the_series_of_the_rule_tests_are_those_of_nodes() -> None:
    for test in yaml.safe_load(RULE_TESTS.read_text())["tests"]:
        for one in test["input_series"]:
            (series,) = selectors(one["series"])
            assert series.labels == KNOWN[series.metric], one["series"]


# --- the dashboard ---


@pytest.mark.parametrize("query", sorted(set(queries())))
def test_a_query_of_the_dashboard_names_what_nodes_say(query: str) -> None:
    judge(query)


def test_the_dashboard_shows_what_an_operator_asks_for() -> None:
    shown = set().union(*(judge(query) for query in queries()))
    assert shown >= {
        "cometkms_leader_info",
        "cometkms_last_signed_height",
        "signer_total_precommits_signed",
        "cometkms_sign_seconds_bucket",
        "cometkms_seconds_since_last_signature",
        "cometkms_fsync_seconds_bucket",
        "cometkms_refusals_total",
        "cometkms_peer_connected",
        "cometkms_alert",
    }


def test_the_variables_are_filled_from_labels_that_nodes_say() -> None:
    variables = json.loads(DASHBOARD.read_text())["templating"]["list"]
    assert [one["name"] for one in variables] == ["datasource", "job", "chain", "node"]
    for one in variables[1:]:
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", filled(one["definition"]))
        assert match, one["definition"]
        (metric,) = judge(match[1])
        assert match[2] in KNOWN[metric]
        assert one["query"]["query"] == one["definition"]


def test_panels_are_apart_and_read_the_chosen_datasource() -> None:
    assert len({panel["id"] for panel in panels()}) == len(panels())
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["targets"]
            assert panel["description"]
            for one in (panel, *panel["targets"]):
                assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.mark.parametrize("panel", [one for one in panels() if "targets" in one], ids=lambda panel: panel["title"])
def test_a_legend_uses_labels_that_its_query_keeps(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        query = filled(target["expr"])
        kept = grouping_labels(query) or set().union(*(KNOWN[one.metric] for one in selectors(query)))
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept, query


# --- the document ---


def test_the_document_lists_every_metric_as_nodes_say_it() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*?) \| (.*?) ?\|$", DOCUMENT.read_text(), re.MULTILINE)
    found = {name: (kind, tuple(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning, _ in rows}
    assert len(rows) == len(found)
    assert found == {one.name: (one.type.value, one.labels, one.help) for one in FAMILIES.values()}
    assert {name for name, *_, horcrux in rows if horcrux == "the same"} == {
        name for name in FAMILIES if name.startswith("signer_")
    }


def test_the_document_lists_every_alert() -> None:
    rows = re.findall(r"^\| `(CometKMS\w+)` \| .*? \| (.*?) ?\|$", DOCUMENT.read_text(), re.MULTILINE)
    written = {alert: "".join(wait.split()).replace("min", "m") for alert, wait in rows}
    assert written == {rule["alert"]: rule.get("for", "") for rule in rules()}


# --- Prometheus's own word ---


def test_promtool_agrees_where_it_is_there_and_the_files_are_whole_where_it_is_not(tmp_path: Path) -> None:
    """promtool is in Debian's package `prometheus`. Everything above holds without it."""
    dashboard = {
        "groups": [
            {
                "name": "dashboard",
                "rules": [{"record": "a:b", "expr": one, "labels": {"n": str(n)}} for n, one in enumerate(queries())],
            }
        ]
    }
    path = tmp_path / "dashboard.yml"
    path.write_text(yaml.safe_dump(dashboard))
    assert len(dashboard["groups"][0]["rules"]) >= 40
    assert yaml.safe_load(RULE_TESTS.read_text())["rule_files"] == [RULES.name]
    promtool = shutil.which("promtool")
    commands = [["check", "rules", str(RULES)], ["test", "rules", str(RULE_TESTS)], ["check", "rules", str(path)]]
    for command in commands if promtool is not None else []:
        done = subprocess.run([str(promtool), *command], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


# --- the reader of PromQL ---


def test_the_reader_finds_metrics_and_labels() -> None:
    text = 'histogram_quantile(0.9, sum by (job, le) (rate(a_bucket{x="{y}", z=~"b"}[5m]))) > 0.1 and on (job) c == 1 or absent(d)'
    assert selectors(text) == [
        Selector("a_bucket", frozenset({"x", "z"})),
        Selector("c", frozenset()),
        Selector("d", frozenset()),
    ]
    assert grouping_labels(text) == {"job", "le"}


@pytest.mark.parametrize(
    "wrong",
    [
        "cometkms_no_such_metric > 1",
        'cometkms_term{chain_id="x"}',
        "sum by (peer) (cometkms_term)",
        "cometkms_fsync_seconds",
        "deriv(cometkms_term[1m])",
        "1 + 1",
        "cometkms_term § 2",
    ],
)
def test_a_query_that_is_wrong_is_found(wrong: str) -> None:
    with pytest.raises(AssertionError):
        judge(wrong)
