"""A real CometBFT node, its kvstore application inside, with us as its only signer: it makes blocks
while both are restarted.
"""

import base64
import json
import subprocess
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from cometkms.keytypes import by_name, by_public_json
from tests.e2e.cluster import Cluster
from tests.e2e.node import PATIENCE_S, Node, cmkms, free_port, free_tcp, until
from tests.gotools import program

BLOCKS = 30
BOOTS_MAX = 5
_HEADERS_AT_ONCE = 20  # CometBFT gives no more


class CometBFT:
    """One validator, fast blocks.

    `version`: of tests/go's nodes. `extensions_from`: the first height with vote extensions.
    """

    def __init__(self, home: Path, laddr: str, version: str = "node", extensions_from: int = 0) -> None:
        self.home, self.address, self.rpc, self.version = home, laddr, free_port(), version
        subprocess.run([program(version), "init", "--home", str(home)], check=True, capture_output=True)
        config = home / "config" / "config.toml"
        text = config.read_text()
        for key, value in {
            "priv_validator_laddr": laddr,
            "timeout_propose": "500ms",
            "timeout_commit": "100ms",
            "proxy_app": "kvstore",
        }.items():
            lines = [f'{key} = "{value}"' if line.startswith(f"{key} =") else line for line in text.splitlines()]
            assert lines != text.splitlines(), key
            text = "\n".join(lines)
        config.write_text(text)
        if extensions_from:
            genesis = home / "config" / "genesis.json"
            document = json.loads(genesis.read_text())
            # v1's, and v0.38's
            place = "feature" if "feature" in document["consensus_params"] else "abci"
            document["consensus_params"][place]["vote_extensions_enable_height"] = str(extensions_from)
            genesis.write_text(json.dumps(document))
        self.process: subprocess.Popen[bytes] | None = None
        self.command: list[str] = []
        self.boots = 0

    @property
    def chain_id(self) -> str:
        return json.loads((self.home / "config" / "genesis.json").read_text())["chain_id"]

    def use_key(self, node: Node) -> None:
        """The genesis's only validator is ours; the node's own key is gone."""
        genesis = self.home / "config" / "genesis.json"
        document = json.loads(genesis.read_text())
        key = json.loads(node.key_path.read_text())
        document["validators"][0].update(address=key["address"], pub_key=key["pub_key"])
        document["consensus_params"]["validator"]["pub_key_types"] = [by_public_json(key["pub_key"]["type"]).name]
        genesis.write_text(json.dumps(document))
        (self.home / "config" / "priv_validator_key.json").unlink()

    def start(self) -> None:
        command = [program(self.version), "start", "--home", str(self.home), "--log_level", "error"]
        command += ["--rpc.laddr", f"tcp://127.0.0.1:{self.rpc}", "--p2p.laddr", f"tcp://127.0.0.1:{free_port()}"]
        self.boot([str(one) for one in command])

    def boot(self, command: list[str]) -> None:
        self.command, self.boots = command, 0
        self._run()

    def _run(self) -> None:
        self.boots += 1
        with (self.home / "node.log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=PATIENCE_S)

    def get(self, path: str) -> dict:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.rpc}/{path}", timeout=PATIENCE_S) as answer:
            return json.loads(answer.read())["result"]

    def extensions_from(self) -> int:
        """The height from which on the chain itself says that votes have extensions."""
        params = self.get("consensus_params?height=1")["consensus_params"]
        return int((params.get("feature") or params["abci"])["vote_extensions_enable_height"])

    def height(self) -> int:
        """0 while it does not answer.

        CometBFT ends when no signer dials within three seconds of its start: it is
        started again then.
        """
        assert self.process is not None
        if self.process.poll() is not None:
            assert self.boots < BOOTS_MAX, (self.home / "node.log").read_text()
            self._run()
        try:
            return int(self.get("status")["sync_info"]["latest_block_height"])
        except OSError:
            return 0

    def times(self, first: int, last: int) -> list[float]:
        """When the blocks from `first` to `last` were made, UNIX seconds, by their headers."""
        found: list[float] = []
        for low in range(first, last + 1, _HEADERS_AT_ONCE):
            high = min(last, low + _HEADERS_AT_ONCE - 1)
            metas = self.get(f"blockchain?minHeight={low}&maxHeight={high}")["block_metas"]
            found += [datetime.fromisoformat(one["header"]["time"]).timestamp() for one in reversed(metas)]
        return found


#: Why a request is refused, as FilePV would, of a node that was stopped between its precommit and
#: the block: it replays its log and asks for that height's proposal and prevote again.
REPLAYED = {"step_regression"}


def shown_line(node: Node, line: str) -> bool:
    return [one["line"] for one in node.status()["chains"][0]["validators"]] == [line]


@pytest.mark.parametrize(
    ("version", "line", "key_type"),
    [
        ("node", "v0.34-v0.40", "ed25519"),
        ("node-v1", "v1", "ed25519"),
        ("node-v1", "v1", "secp256k1"),
        ("node-v1", "v1", "bls12_381"),
        ("node-v040", "v0.34-v0.40", "secp256k1"),
        ("node-v040", "v0.34-v0.40", "secp256k1eth"),
    ],
)
def test_a_real_node_makes_blocks_through_restarts_of_both(
    version: str, line: str, key_type: str, make_node: Callable[..., Node], tmp_path: Path
) -> None:
    """The first heights are without vote extensions, and the others with them: a node refuses its
    own precommit without their signature.
    """
    address = free_tcp()
    chain = CometBFT(tmp_path / "comet", address, version, BLOCKS // 2)
    node = make_node(address, chain=chain.chain_id, key_type=key_type)
    chain.use_key(node)
    try:
        node.start()
        chain.start()
        until("10 blocks", lambda: chain.height() >= BLOCKS // 3)
        assert node.stop() == 0
        node.start()
        until("20 blocks", lambda: chain.height() >= 2 * BLOCKS // 3)
        chain.stop()
        chain.start()
        until("30 blocks", lambda: chain.height() >= BLOCKS)
        assert chain.extensions_from() == BLOCKS // 2
        address_hex = json.loads(node.key_path.read_text())["address"]
        for height in range(1, BLOCKS):
            commit = chain.get(f"commit?height={height}")["signed_header"]["commit"]
            assert [one["validator_address"] for one in commit["signatures"]] == [address_hex], height
            assert len(base64.b64decode(commit["signatures"][0]["signature"])) == by_name(key_type).signature_bytes
        shown = node.status()["chains"][0]
        assert set(shown["counters"]["refused"]) <= REPLAYED
        assert "conflict_refused" not in node.log()  # an alert, which is logged
        assert shown["key_type"] == key_type
        key = json.loads(node.key_path.read_text())["pub_key"]["value"]
        assert (shown["public_key"], shown["address"]) == (key, address_hex)
        until("the line is shown", lambda: shown_line(node, line))
        findings: list[dict[str, str]] = []

        def well() -> bool:
            rpc = f"http://127.0.0.1:{chain.rpc}"
            examined = cmkms("doctor", "--home", str(node.home), "--rpc", rpc, "--blocks", "25", "--json")
            findings[:] = [one for one in json.loads(examined.stdout)["findings"] if one["area"] == "chain"]
            return [one["level"] for one in findings] == ["ok"] * 4

        until(lambda: f"the chain is well: {findings}", well)
    finally:
        chain.stop()


@pytest.mark.parametrize(
    ("version", "line", "key_type"),
    [
        ("node-v1", "v1", "ed25519"),
        ("node-v1", "v1", "secp256k1"),
        ("node-v1", "v1", "bls12_381"),
        ("node", "v0.34-v0.40", "ed25519"),
        ("node-v040", "v0.34-v0.40", "secp256k1eth"),
    ],
)
def test_a_real_node_makes_blocks_while_our_leaders_are_killed(
    version: str, line: str, key_type: str, tmp_path: Path
) -> None:
    """Its only signer is a cluster of three. Blocks with vote extensions from height 5 on."""
    address = free_tcp()
    chain = CometBFT(tmp_path / "comet", address, version, 5)
    cluster = Cluster(tmp_path / "signers", 3, address, chain=chain.chain_id, key_type=key_type)
    chain.use_key(cluster.nodes["node0"])
    try:
        cluster.start()
        cluster.wait_leader()
        chain.start()
        until("blocks with extensions", lambda: chain.height() >= 8)
        assert chain.extensions_from() == 5
        for _ in range(2):
            leader = cluster.wait_leader()
            before = chain.height()
            cluster.kill(leader)
            until("blocks while the leader is dead", lambda before=before: chain.height() >= before + 5)
            cluster.start(leader)
            cluster.wait_state(leader, "complete")
        before = chain.height()
        chain.stop()
        chain.start()
        until("blocks after the node's restart", lambda: chain.height() >= before + 5)
        leading = cluster.nodes[cluster.wait_leader()]
        until("the line is shown", lambda: shown_line(leading, line))
        for name in cluster.ids:
            # a final no
            refusals = [line for line in cluster.log(name).splitlines() if "] refused  " in line]
            assert [line for line in refusals if not any(f"reason={one} " in line for one in REPLAYED)] == []
    finally:
        chain.stop()
        cluster.stop()
