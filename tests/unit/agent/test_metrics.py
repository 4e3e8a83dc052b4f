"""The agent's metrics: what they are is what docs/AGENT.md says, and Prometheus reads them."""

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from cometkms.agent.asking import Counters
from cometkms.agent.metrics import text_of

ROOT = Path(__file__).resolve().parents[3]
REPORT = {
    "started_at": 1_700_000_000.25,
    "late": 3,
    "nodes": {"node0": {"up": True, "round_trip_s": 0.001, "connects": 2, "patience_s": 0.06}},
    "validators": [
        {
            "chain_id": 'a"\\\nb',
            "addr": "unix:///v.sock",
            "connected": True,
            "connects": 1,
            "counters": Counters(requests=9, signed=7, refused=1, empty=1, wrong=4, again={"silence": 5}),
            "slowest_s": 0.5,
        }
    ],
}


def documented() -> dict[str, tuple[set[str], set[str]]]:
    """By name: its labels, and the values in backticks that its meaning names."""
    text = (ROOT / "docs" / "AGENT.md").read_text()
    rows = re.findall(r"^\| `(cometkms_agent_\w+)` \|([^|]*)\|([^|]*)\|$", text[text.index("## Metrics") :], re.M)
    return {
        name: ({one.strip() for one in labels.split(",") if one.strip()}, set(re.findall(r"`(\w+)`", meaning)))
        for name, labels, meaning in rows
    }


def test_the_document_has_every_metric_with_its_labels_and_their_values() -> None:
    shown: dict[str, tuple[set[str], set[str]]] = {}
    for family in text_string_to_metric_families(text_of(REPORT)):
        for sample in family.samples:
            labels, values = shown.setdefault(sample.name, (set(), set()))
            labels |= set(sample.labels)
            values |= {value for name, value in sample.labels.items() if name in ("outcome", "why")}
    assert documented() == shown


def test_every_number_is_where_it_belongs_and_a_label_may_hold_anything() -> None:
    found = {
        (sample.name, sample.labels.get("why") or sample.labels.get("outcome") or ""): sample
        for family in text_string_to_metric_families(text_of(REPORT))
        for sample in family.samples
    }
    values = {key: sample.value for key, sample in found.items()}
    assert values["cometkms_agent_requests_total", ""] == 9
    assert values["cometkms_agent_answers_total", "signed"] == 7
    assert values["cometkms_agent_again_total", "silence"] == 5
    assert values["cometkms_agent_again_total", "gone"] == 0
    assert values["cometkms_agent_wrong_answers_total", ""] == 4
    assert values["cometkms_agent_late_answers_total", ""] == 3
    assert values["cometkms_agent_start_time_seconds", ""] == 1_700_000_000.25
    assert found["cometkms_agent_requests_total", ""].labels["chain_id"] == 'a"\\\nb'
