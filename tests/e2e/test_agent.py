"""An agent beside a real CometBFT client: hosts that vanish, freeze and die, agents that are
killed, strangers.
"""

import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.agents import AgentCluster, AgentProcess, identity_of
from tests.e2e.cluster import Client
from tests.e2e.namespaces import NONE_HERE, Namespaces, free_network
from tests.e2e.node import (
    HAS_NOT_FAILED,
    PRECOMMIT,
    PREVOTE,
    PROPOSAL,
    Node,
    Validator,
    ballot,
    closed_by_itself,
    cmkms,
    free_port,
    free_tcp,
    until,
)

AgentNet = tuple[AgentCluster, AgentProcess, Client]


@pytest.fixture
def net(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[AgentNet]:
    """Its parameter, if a test gives one: the type of the validator's key, and a client
    that knows it.
    """
    key_type, version = getattr(request, "param", ("ed25519", "v038"))
    address = free_tcp()
    agent = AgentProcess(tmp_path / "agent")
    cluster = AgentCluster(tmp_path, 3, [agent], key_type=key_type)
    agent.configure(cluster.lines(), [address])
    validator = Client(address, version)
    try:
        cluster.start()
        agent.start()
        cluster.wait_leader()
        agent.wait_linked(len(cluster.ids))
        yield cluster, agent, validator
    finally:
        agent.stop()
        cluster.stop()
        validator.close()


@pytest.mark.parametrize(
    "net",
    [("ed25519", "v038"), ("secp256k1", "v1"), ("secp256k1eth", "v040"), ("bls12_381", "v1")],
    indirect=True,
    ids=lambda one: one[0],
)
def test_a_validator_signs_through_its_agent_and_every_state_file_follows(net: AgentNet) -> None:
    """The agent verifies each signature and extension's signature before it hands them
    on: of every key type.
    """
    cluster, agent, validator = net
    for height in (1, 2, 3):
        validator.must_sign(PREVOTE, height)
        validator.must_sign(PRECOMMIT, height, extension="ab" * height)
    for name in cluster.ids:
        until(f"{name}'s state file follows", lambda name=name: cluster.nodes[name].file_state().get("height") == "3")
    assert "asked again" not in agent.log() or "silence" in agent.log()


def test_a_leader_that_freezes_or_is_killed_does_not_cost_the_validator_its_connection(net: AgentNet) -> None:
    """Nobody else answers for a frozen host: the agent's second try does, by a node that does not
    lead. CometBFT alone waits five seconds.
    """
    cluster, agent, validator = net
    validator.must_sign(PREVOTE, 1)
    leader = cluster.wait_leader()
    cluster.freeze(leader)
    try:
        for height in (2, 3, 4):
            validator.must_sign(PREVOTE, height)
            validator.must_sign(PRECOMMIT, height)
    finally:
        cluster.thaw(leader)
    second = cluster.wait_leader()
    validator.must_sign(PREVOTE, 5)
    cluster.kill(second)
    validator.must_sign(PREVOTE, 6)
    told = agent.metrics()
    assert (
        told['cometkms_agent_again_total{chain_id="test-1",validator="' + validator.address + '",why="silence"}'] >= 1
    )
    assert closed_by_itself(agent.log(), validator.address) == []
    cluster.start(second)
    cluster.wait_whole()
    validator.must_sign(PRECOMMIT, 6)
    for name in cluster.ids:
        until(f"{name}'s state file follows", lambda name=name: cluster.nodes[name].file_state().get("height") == "6")


def test_an_agent_that_is_killed_and_started_again_signs_nothing_twice(net: AgentNet) -> None:
    """It remembers nothing, and needs not: the same question has the same answer, another one at
    the place a refusal.
    """
    _, agent, validator = net
    first = validator.must_sign(PREVOTE, 1)
    for height in range(2, 6):
        validator.send(**ballot(PREVOTE, height))
        agent.kill()
        agent.start()
        validator.receive()
        validator.must_sign(PREVOTE, height)
    assert validator.must_refuse(PREVOTE, 5, block="dd")
    assert first["verified"]


def test_a_validator_boots_while_no_node_is_there_once_the_key_was_seen(net: AgentNet) -> None:
    cluster, agent, validator = net
    key = validator.connect()
    cluster.stop()
    agent.kill()
    agent.start()
    assert validator.connect() == key
    assert validator.ask(**ballot(PREVOTE, 1)).get("error"), "the empty answer, and no signature"
    cluster.start()
    cluster.wait_whole()  # the read at a start may burn what is asked for meanwhile (rule 8)
    validator.must_sign(PREVOTE, 2)


def test_strangers_and_floods_do_no_harm(net: AgentNet, tmp_path: Path) -> None:
    """An unlisted key proves itself and is sent away; connections that say nothing push each other
    out; the validator signs on.
    """
    cluster, _, validator = net
    validator.must_sign(PREVOTE, 1)
    stranger = AgentProcess(tmp_path / "stranger", "stranger")
    address = free_tcp()
    other = Client(address)
    stranger.configure(cluster.lines(), [address]).start()
    held = []
    try:
        until(lambda: stranger.log(), lambda: "is not listed there" in stranger.log())
        assert other.ask(cmd="pub_key").get("error")
        port = cluster.agent_ports[cluster.wait_leader()]
        for number in range(1000):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(b"GET / HTTP/1.1\r\n" if number % 2 else b"")
            held.append(connection)
            if number % 100 == 0:
                validator.must_sign(PREVOTE, 2 + number)
        validator.must_sign(PREVOTE, 1000)
        leader = cluster.wait_leader()
        until(
            lambda: f"the door counts: {cluster.status(leader).get('agents')}",
            lambda: (
                cluster.nodes[leader].status()["agents"]["door"]["unlisted"] >= 1
                and cluster.nodes[leader].status()["agents"]["door"]["pushed_out"] >= 20
            ),
        )
    finally:
        stranger.stop()
        other.close()
        for connection in held:
            connection.close()


def test_an_agent_of_another_chain_gets_nothing_signed(tmp_path: Path) -> None:
    """Its key is listed for test-1: whatever its own settings call the chain, no node
    serves it for another.
    """
    address = free_tcp()
    agent = AgentProcess(tmp_path / "agent")
    cluster = AgentCluster(tmp_path, 1, [agent])
    agent.configure(cluster.lines(), [address], chain="other-1")
    validator = Client(address, chain="other-1")
    try:
        cluster.start()
        agent.start()
        until(lambda: agent.log(), lambda: "does not serve this agent" in agent.log())
        assert not validator.ask(**ballot(PREVOTE, 1)).get("signature")
    finally:
        agent.stop()
        cluster.stop()
        validator.close()


@pytest.mark.parametrize(("version", "scheme"), [("v033", "tcp"), ("v038", "unix"), ("v040", "tcp"), ("v1", "tcp")])
def test_every_dialect_and_socket_goes_through(tmp_path: Path, version: str, scheme: str) -> None:
    """Proposals, votes, the public key and the largest vote extension, of one node alone; bytes
    that are no vote are refused.
    """
    address = free_tcp() if scheme == "tcp" else f"unix://{tmp_path}/v.sock"
    agent = AgentProcess(tmp_path / "agent")
    cluster = AgentCluster(tmp_path, 1, [agent])
    agent.configure(cluster.lines(), [address])
    validator = Validator(address, version)
    try:
        cluster.start()
        agent.start()
        validator.connect()
        for kind in (PROPOSAL, PREVOTE, PRECOMMIT):
            more = {"extension": "ee" * (1 << 20)} if (version, kind) == ("v038", PRECOMMIT) else {}
            validator.must_sign(kind, 1, **more)
        assert validator.must_refuse(PREVOTE, 1, block="dd")
        if version == "v1":
            refused = [validator.ask(cmd="sign_bytes", value="ab" * 32) for _ in range(3)]
            assert all(one["remote"] and "bytes not allowed" in one["error"] for one in refused)
            counted = [number for name, number in agent.metrics().items() if 'outcome="refused"' in name]
            # a validator that got no answer in time asks again
            assert len(counted) == 1 and counted[0] >= 4
            validator.must_sign(PREVOTE, 2)
            until("it is told", lambda: "bytes refused" in agent.log())
            # once a connection
            assert agent.log().count("bytes refused") <= agent.log().count("validator connected")
    finally:
        agent.stop()
        cluster.stop()
        validator.close()


def test_a_host_whose_cable_is_pulled_costs_a_request_one_more_try(tmp_path: Path) -> None:
    """No FIN and no RST come: the validator's own connection stays, and the node that does not lead
    yet signs what is asked next.
    """
    net = free_network()
    host = Namespaces.host(net)
    address = f"tcp://{host}:26970"
    agent = AgentProcess(tmp_path / "agent")
    cluster = Namespaces(tmp_path, net=net)
    if not cluster.build():
        cluster.remove()
        pytest.skip(f"{NONE_HERE}; a frozen leader is the same to its agent")
    cluster.flags = ["--agent-addr", ":9440", "--agents", agent.line]
    lines = [identity_of(cluster.node(name), name, f"{cluster.hosts[name]}:9440") for name in cluster.ids]
    agent.configure(lines, [address])
    validator = Client(address)
    try:
        for name in cluster.ids:
            cluster.run(name)
        agent.start()
        until("a leader", cluster.seen_leading)
        # else the node that is pulled may not be the one that is asked
        agent.wait_linked(len(cluster.ids))
        validator.must_sign(PREVOTE, 1)
        for height in (2, 5):
            leader = until("a leader", cluster.seen_leading)
            cluster.pull(leader)
            for more in range(3):
                validator.must_sign(PREVOTE, height + more)
                validator.must_sign(PRECOMMIT, height + more)
            cluster.pull(leader, out=False)
        told = agent.metrics()
        labels = f'chain_id="test-1",validator="{address}"'
        assert told[f'cometkms_agent_again_total{{{labels},why="silence"}}'] >= 1
        assert closed_by_itself(agent.log(), address) == []
    finally:
        agent.stop()
        cluster.stop()
        validator.close()
        cluster.remove()


def test_a_reload_strikes_an_agent_off_the_list_and_lets_another_in(tmp_path: Path) -> None:
    """A stolen key's end is one line and a signal; the node goes on."""
    addresses = [free_tcp(), free_tcp()]
    agents = [AgentProcess(tmp_path / name, name) for name in ("sentry-a", "sentry-b")]
    validators = [Client(address) for address in addresses]
    node = Node(tmp_path / "node0")
    agent_addr = f"127.0.0.1:{free_port()}"

    def configure(agent: AgentProcess) -> None:
        config = node.home / "config.toml"
        lines = [line for line in config.read_text().splitlines() if not line.startswith(("validator_addr", "agent"))]
        at = next(number for number, line in enumerate(lines) if line.startswith("chain_id"))
        lines[at:at] = [f'agent_addr = "{agent_addr}"', f'agents = ["{agent.line}"]']
        config.write_text("\n".join(lines) + "\n")

    try:
        configure(agents[0])
        for agent, address in zip(agents, addresses, strict=True):
            agent.configure([identity_of(node, "node0", agent_addr)], [address]).start()
        node.start()
        validators[0].must_sign(PREVOTE, 1)
        until(agents[1].log, lambda: "is not listed there" in agents[1].log())
        configure(agents[1])
        assert node.process is not None
        node.process.send_signal(signal.SIGHUP)
        validators[1].must_sign(PREVOTE, 2)
        until(agents[0].log, lambda: "is not listed there" in agents[0].log())
        assert not validators[0].ask(**ballot(PREVOTE, 3)).get("signature")
        validators[1].must_sign(PREVOTE, 3)
        assert {child["last_exit"] for child in node.status()["children"]} <= HAS_NOT_FAILED
    finally:
        for agent in agents:
            agent.stop()
        node.stop()
        for validator in validators:
            validator.close()


def test_one_agent_serves_several_chains_and_two_validators_of_one(
    tmp_path: Path, make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    """Each has its own place and key; the two of one chain never get two blocks, and a refusal of
    one chain's is nothing to the other.
    """
    addresses = {free_tcp(): "chain-a", free_tcp(): "chain-a", free_tcp(): "chain-b"}
    agent = AgentProcess(tmp_path / "agent")
    node = make_node()
    agent_addr = f"127.0.0.1:{free_port()}"
    agent.configure([identity_of(node, "node0", agent_addr)], [])
    with (agent.home / "agent.toml").open("a") as settings:
        for address, chain in addresses.items():
            settings.write(f'\n[[validator]]\nchain_id = "{chain}"\naddr = "{address}"\n')
    config = node.home / "config.toml"
    lines = [line for line in config.read_text().splitlines() if not line.startswith(("chain_id", "validator_addr"))]
    lines.append(f'agent_addr = "{agent_addr}"')
    lines += [f'[[chain]]\nid = "{chain}"\nagents = ["{agent.line}"]' for chain in ("chain-a", "chain-b")]
    config.write_text("\n".join(lines) + "\n")
    for chain in ("chain-a", "chain-b"):
        done = cmkms("keys", "new", "--home", str(node.home), "--chain-id", chain)
        assert done.returncode == 0, done.stderr
        (node.home / "priv" / chain / "priv_validator_state.json").write_text('{"height":"0","round":0,"step":0}')
    first, second, other = [make_validator(address, chain=chain) for address, chain in addresses.items()]
    try:
        node.start()
        agent.start()
        keys = [validator.connect() for validator in (first, second, other)]
        assert keys[0] == keys[1] != keys[2]
        for height in range(1, 8):
            first.send(**ballot(PREVOTE, height, block="aa"))
            second.send(**ballot(PREVOTE, height, block="bb"))
            other.must_sign(PREVOTE, 100 + height)
            answers = [validator.receive() for validator in (first, second)]
            assert sum(bool(one.get("signature")) and one["verified"] for one in answers) == 1, answers
        assert other.must_refuse(PREVOTE, 5)
        first.must_sign(PREVOTE, 20)
        for address in addresses:
            assert closed_by_itself(agent.log(), address) == []
    finally:
        agent.stop()
