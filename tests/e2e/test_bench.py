"""`python -m benchmarks --quick`: everything it promises to write is written, and a second run is
compared with the first.
"""

import json
import subprocess
import sys
from pathlib import Path

from tests.e2e.node import PATIENCE_S, environment

SECTIONS = ("micro", "one", "three", "budget")


def bench(out: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment(), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_run_writes_figures_facts_and_pictures_and_is_compared_with_another(tmp_path: Path) -> None:
    bench(tmp_path, *SECTIONS)
    found = json.loads((tmp_path / "bench.json").read_text())
    assert {"cpu", "cores", "kernel", "filesystem", "fdatasync_us", "python", "commit"} <= found["facts"].keys()
    row = found["sections"]["three nodes"]["three nodes, tcp"]
    assert row["count"] == 90
    assert 0 < row["p50"] <= row["p90"] <= row["p99"] <= row["max"]
    assert row["p50 / floor"] > 0
    hops = found["sections"]["budget"]["three nodes"]
    assert hops["member: open, judge, its disk"]["p50"] > 0
    for name in ("latency", "budget"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (tmp_path / f"{name}.svg").read_text()
    said = bench(tmp_path / "again", "one", "--compare", str(tmp_path / "bench.json"))
    assert "compared with the other run" in said


def test_the_agents_section_compares_each_way_with_the_direct_one(tmp_path: Path) -> None:
    """Where network namespaces cannot be made, the rows of a lost host say so."""
    bench(tmp_path, "agent")
    found = json.loads((tmp_path / "bench.json").read_text())["sections"]
    ways = found["an agent"]
    for network in ("tcp", "unix"):
        direct, agent = ways[f"direct, {network}"], ways[f"agent, {network}"]
        assert direct["count"] == agent["count"] == 90
        assert (direct["p50 added"], agent["p50 added"]) == (0, round(agent["p50"] - direct["p50"], 1))
    started = found["an agent's start"]
    assert started["start to dial, CPU"]["p50_ms"] > 0
    assert len(started["start to dial"]["all_ms"]) == 4
    lost, chain = found["an agent, no signature for"], found["a CometBFT node behind an agent, no block for"]
    if list(lost) == ["host loss"]:
        assert lost["host loss"]["not run"] == chain["host loss"]["not run"] != ""
        return
    hosts = ["cable pulled", "frozen"]
    rows = [f"agent, {fault}" for fault in (*hosts, "killed", "the agent killed", "a node restarted")]
    assert list(lost) == [*rows, *(f"direct, {fault}" for fault in (*hosts, "killed"))]
    assert [len(row["all_ms"]) for row in lost.values()] == [1, 1, 1, 1, 3, 1, 1, 1]
    assert all(lost[f"{way}, {fault}"]["max_ms"] > 0 for way in ("agent", "direct") for fault in hosts)
    assert list(chain) == ["nothing happens", *hosts]
    assert all(len(row["all_ms"]) == 1 and row["max_ms"] > 0 for row in chain.values())


def test_the_keys_section_has_a_row_for_each_type(tmp_path: Path) -> None:
    bench(tmp_path, "keys")
    rows = json.loads((tmp_path / "bench.json").read_text())["sections"]["key types"]
    assert list(rows) == ["node, ed25519", "node, secp256k1", "node, bls12_381", "node, secp256k1eth"]
    assert all(row["count"] == 90 and row["p50"] > 0 for row in rows.values())


def test_a_section_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "nonsense", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 2
    assert "no section nonsense" in done.stderr
