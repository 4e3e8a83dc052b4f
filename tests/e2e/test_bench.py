"""`python -m benchmarks --quick`: everything it promises to write is written, and a second run is
compared with the first. Of its longest section each part is a test of its own, which a busy machine
ends in time.
"""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks import agent
from tests.e2e.node import PATIENCE_S, environment

SECTIONS = ("micro", "three", "budget")


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
    said = bench(tmp_path / "again", "micro", "--compare", str(tmp_path / "bench.json"))
    assert "compared with the other run" in said


def test_a_signature_through_an_agent_is_compared_with_the_direct_one_of_its_network(tmp_path: Path) -> None:
    ways = agent.latency(tmp_path / "latency", 1, 30)
    for network in ("tcp", "unix"):
        direct, through = ways[f"direct, {network}"], ways[f"agent, {network}"]
        assert direct["count"] == through["count"] == 90
        assert (direct["p50 added"], through["p50 added"]) == (0, round(through["p50"] - direct["p50"], 1))


def test_an_agents_start_is_timed(tmp_path: Path) -> None:
    started = agent.starts(tmp_path / "starts", 2)
    assert started["start to dial, CPU"]["p50_ms"] > 0
    assert len(started["start to dial"]["all_ms"]) == 2


def test_each_way_to_lose_a_leader_has_a_row_with_an_agent_and_without_one(tmp_path: Path) -> None:
    """Where network namespaces cannot be made, the rows of a lost host say so."""
    lost = agent.faults(tmp_path / "loss", 1)
    if list(lost) == ["host loss"]:
        assert lost["host loss"]["not run"] != ""
        return
    hosts = ["cable pulled", "frozen"]
    rows = [f"agent, {fault}" for fault in (*hosts, "killed", "the agent killed", "a node restarted")]
    assert list(lost) == [*rows, *(f"direct, {fault}" for fault in (*hosts, "killed"))]
    assert [len(row["all_ms"]) for row in lost.values()] == [1, 1, 1, 1, 3, 1, 1, 1]
    assert all(lost[f"{way}, {fault}"]["max_ms"] > 0 for way in ("agent", "direct") for fault in hosts)


def test_a_chain_behind_an_agent_has_a_row_for_each_loss_of_a_host(tmp_path: Path) -> None:
    chain = agent.blocks(tmp_path / "blocks", 1)
    if list(chain) == ["host loss"]:
        assert chain["host loss"]["not run"] != ""
        return
    assert list(chain) == ["nothing happens", "cable pulled", "frozen"]
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
