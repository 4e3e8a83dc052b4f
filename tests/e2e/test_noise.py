"""noise://: CometBFT v0.40's own listener, client and node, with one node of ours and
with a cluster.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.agents import AgentCluster, AgentProcess
from tests.e2e.cluster import Cluster
from tests.e2e.node import PRECOMMIT, PREVOTE, PROPOSAL, Node, Validator, cmkms, free_port, until
from tests.e2e.test_real_node import REPLAYED, CometBFT
from tests.gotools import program


def validators_id(node_key: Path) -> str:
    """Of the validator that has that node key, which is made if it is missing."""
    done = subprocess.run(
        [program("validator-v040"), "peer-id"],
        env={**os.environ, "NODE_KEY": str(node_key)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def our_id(home: Path) -> str:
    done = cmkms("peer-id", "--home", str(home))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(line.startswith(f'priv_validator_laddr = "noise://{lines[0]}@0.0.0.0:') for line in lines[1:])
    return lines[0]


class Place:
    """A port, the node key of the validator there, and the address by which we dial it."""

    def __init__(self, directory: Path, host: str = "127.0.0.1") -> None:
        self.port, self.key = free_port(), directory / "node_key.json"
        self.dialled = f"noise://{validators_id(self.key)}@{host}:{self.port}"

    def listened(self, signer: str) -> str:
        """The validator's priv_validator_laddr, which names the one signer that it lets in."""
        return f"noise://{signer}@127.0.0.1:{self.port}"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def shown(node: Node) -> dict:
    return node.status()["chains"][0]["validators"][0]


@pytest.mark.parametrize(
    ("host", "key_type"),
    [
        ("127.0.0.1", "ed25519"),
        ("localhost", "ed25519"),
        ("127.0.0.1", "secp256k1"),
        ("127.0.0.1", "secp256k1eth"),
        ("127.0.0.1", "bls12_381"),
    ],
)
def test_everything_a_validator_asks_over_noise(
    host: str, key_type: str, tmp_path: Path, make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    """Refusals and repeats among the signatures: each answer is the one to its own request."""
    place = Place(tmp_path, host)
    node = make_node(place.dialled, key_type=key_type)
    validator = make_validator(place.listened(our_id(node.home)), "v040", node_key=str(place.key))
    node.start()
    validator.connect()
    for height in range(1, 8):
        validator.must_sign(PROPOSAL, height)
        validator.must_sign(PREVOTE, height)
        validator.must_sign(PRECOMMIT, height, extension="ab" * (1 << 20 if height == 4 else height))
        assert "conflicting data" in validator.must_refuse(PRECOMMIT, height, block="ee")
        assert validator.ask(cmd="ping")["verified"]
    until("the status board is in step", lambda: shown(node)["requests"] > 30)
    assert shown(node)["line"] == "v0.34-v0.40"
    assert node.closed_by_itself() == []
    assert node.stop() == 0


def test_a_validator_that_does_not_list_us_is_told_with_our_id(
    place: Place, make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    node = make_node(place.dialled)
    validator = make_validator(place.listened(validators_id(place.key)), "v040", node_key=str(place.key))
    node.start()
    own = our_id(node.home)
    until("the cause is shown", lambda: f"must name this signer: noise://{own}@" in shown(node)["last_error"])
    until("and in the log", lambda: f"must name this signer: noise://{own}@" in node.log())
    assert validator.ask(cmd="pub_key").get("error")


def test_another_validator_than_the_configured_one_is_told_with_both_ids(
    place: Place, tmp_path: Path, make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    """Message 3, with our identity, never leaves."""
    (tmp_path / "other").mkdir()
    expected = validators_id(tmp_path / "other" / "node_key.json")
    node = make_node(f"noise://{expected}@127.0.0.1:{place.port}")
    make_validator(place.listened(our_id(node.home)), "v040", node_key=str(place.key))
    node.start()
    words = f"noise: {validators_id(place.key)} listens there, not {expected}"
    until("the cause is shown", lambda: words in shown(node)["last_error"])


def test_a_reload_brings_a_noise_validator_to_a_signer_that_had_none(
    place: Place, make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    """The identity is derived by a new signer process, before it shuts itself off."""
    before = f"tcp://127.0.0.1:{free_port()}"
    node = make_node(before)
    node.start()
    config = node.home / "config.toml"
    config.write_text(config.read_text().replace(before, place.dialled))
    validator = make_validator(place.listened(our_id(node.home)), "v040", node_key=str(place.key))
    assert node.process is not None
    node.process.send_signal(1)  # SIGHUP
    validator.connect()
    validator.must_sign(PREVOTE, 1)
    until("its log says why", lambda: "a new signer process is needed" in node.log())


def test_an_identity_of_the_operators_own_is_used_and_shown(
    place: Place, tmp_path: Path, make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    own = tmp_path / "identity.json"
    expected = validators_id(own)
    own.chmod(0o600)
    node = make_node(place.dialled)
    derived = our_id(node.home)
    config = node.home / "config.toml"
    config.write_text(f'noise_identity_file = "{own}"\n' + config.read_text())
    assert our_id(node.home) == expected != derived
    validator = make_validator(place.listened(expected), "v040", node_key=str(place.key))
    node.start()
    validator.connect()
    validator.must_sign(PREVOTE, 1)
    own.chmod(0o644)
    refused = cmkms("peer-id", "--home", str(node.home))
    assert refused.returncode == 4
    assert "cure: chmod 600" in refused.stderr


def test_a_sealed_key_makes_the_same_peer(
    place: Place, tmp_path: Path, make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    """The passphrase is used where the identity is derived, too."""
    node = make_node(place.dialled)
    own, word = our_id(node.home), tmp_path / "word"
    word.write_text("a passphrase")
    word.chmod(0o600)
    sealing = ("keys", "encrypt", "--home", str(node.home), "--memory-mib", "8", "--passphrase-file", str(word))
    assert cmkms(*sealing).returncode == 0
    config = node.home / "config.toml"
    config.write_text(f'key_passphrase_file = "{word}"\n' + config.read_text())
    assert our_id(node.home) == own
    validator = make_validator(place.listened(own), "v040", node_key=str(place.key))
    node.start()
    validator.connect()
    validator.must_sign(PREVOTE, 1)


def test_every_node_of_a_cluster_is_the_same_peer_and_the_next_leader_signs_on(
    place: Place, tmp_path: Path, make_validator: Callable[..., Validator]
) -> None:
    cluster = Cluster(tmp_path / "signers", 3, place.dialled)
    ids = {our_id(node.home) for node in cluster.nodes.values()}
    assert len(ids) == 1
    validator = make_validator(place.listened(ids.pop()), "v040", node_key=str(place.key))
    try:
        cluster.start()
        cluster.wait_leader()
        validator.connect()
        height = 1
        for _ in range(2):
            leader = cluster.wait_leader()
            for _ in range(3):
                validator.must_sign(PRECOMMIT, height)
                height += 1
            cluster.kill(leader)
            validator.must_sign(PRECOMMIT, height)
            height += 1
            cluster.start(leader)
            cluster.wait_state(leader, "complete")
    finally:
        cluster.stop()


def test_members_that_would_be_different_peers_say_so(place: Place, tmp_path: Path) -> None:
    own = tmp_path / "identity.json"
    other = validators_id(own)
    cluster = Cluster(tmp_path / "signers", 3, place.dialled)
    cluster.extra["node2"] = ["--noise-identity-file", str(own)]
    derived = our_id(cluster.nodes["node0"].home)
    try:
        cluster.start()
        cluster.wait_leader()

        def told(name: str) -> set[tuple[str, ...]]:
            found = cluster.status(name).get("config_differences", [])
            return {(one["member"], one["what"], one["here"], one["there"]) for one in found}

        until("node0 says it", lambda: told("node0") == {("node2", "noise_identity", derived, other)})
        until(
            "node2 says it of both",
            lambda: {one[:2] for one in told("node2")} == {(name, "noise_identity") for name in ("node0", "node1")},
        )
    finally:
        cluster.stop()


def test_a_real_v040_node_makes_blocks_over_noise_through_restarts_of_both(
    tmp_path: Path, make_node: Callable[..., Node]
) -> None:
    comet = tmp_path / "comet"
    port = free_port()
    chain = CometBFT(comet, f"tcp://127.0.0.1:{port}", "node-v040")
    key = comet / "config" / "node_key.json"
    printed = subprocess.run(
        [program("node-v040"), "show-node-id", "--libp2p", "--home", str(comet)],
        capture_output=True,
        text=True,
        check=True,
    )
    node = make_node(f"noise://{printed.stdout.strip()}@127.0.0.1:{port}", chain=chain.chain_id)
    assert printed.stdout.strip() == validators_id(key)
    chain.use_key(node)
    config = comet / "config" / "config.toml"
    laddr = f"noise://{our_id(node.home)}@127.0.0.1:{port}"
    config.write_text(
        config.read_text().replace(
            f'priv_validator_laddr = "tcp://127.0.0.1:{port}"', f'priv_validator_laddr = "{laddr}"'
        )
    )
    try:
        node.start()
        chain.start()
        until("10 blocks", lambda: chain.height() >= 10)
        assert node.stop() == 0
        node.start()
        until("20 blocks", lambda: chain.height() >= 20)
        chain.stop()
        chain.start()
        until("30 blocks", lambda: chain.height() >= 30)
        assert set(node.status()["chains"][0]["counters"]["refused"]) <= REPLAYED
        address = json.loads(node.key_path.read_text())["address"]
        commit = chain.get("commit?height=25")["signed_header"]["commit"]
        assert [one["validator_address"] for one in commit["signatures"]] == [address]
    finally:
        chain.stop()


def test_everything_a_validator_asks_over_noise_through_an_agent(
    place: Place, tmp_path: Path, make_validator: Callable[..., Validator]
) -> None:
    """It names the agent, by the line that `cmkms agent init` prints, and the agent names it."""
    agent = AgentProcess(tmp_path / "agent")
    cluster = AgentCluster(tmp_path, 1, [agent])
    agent.configure(cluster.lines(), [place.dialled])
    listened = agent.told.splitlines()[-1].removeprefix('priv_validator_laddr = "').rstrip('"')
    assert listened.endswith(f"@127.0.0.1:{place.port}")
    stranger = make_validator(place.listened(validators_id(place.key)), "v040", node_key=str(place.key))
    try:
        cluster.start()
        agent.start()
        until("the cause is in the log", lambda: f"must name this signer: {listened.partition('@')[0]}@" in agent.log())
        stranger.close()
        validator = make_validator(listened, "v040", node_key=str(place.key))
        validator.connect()
        for height in range(1, 6):
            validator.must_sign(PROPOSAL, height)
            validator.must_sign(PREVOTE, height)
            validator.must_sign(PRECOMMIT, height, extension="ab" * (1 << 20 if height == 4 else height))
            assert "conflicting data" in validator.must_refuse(PRECOMMIT, height, block="ee")
            assert validator.ask(cmd="ping")["verified"]
    finally:
        agent.stop()
        cluster.stop()
