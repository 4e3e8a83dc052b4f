"""What goes wrong around an agent: nodes that swallow what they are asked or restart, agents that
are killed, copied, or want other blocks.
"""

import shutil
import signal
from pathlib import Path

import pytest

from tests.e2e.agents import AgentCluster, AgentProcess, identity_of
from tests.e2e.cluster import Client, Judge, Rivals
from tests.e2e.faults import Faults
from tests.e2e.namespaces import NONE_HERE, Namespaces, free_network
from tests.e2e.node import CHAIN, PRECOMMIT, PREVOTE, Node, ballot, closed_by_itself, free_port, free_tcp, until
from tests.e2e.relay import Relay
from tests.e2e.test_real_node import CometBFT


def again(agent: AgentProcess, address: str, why: str, chain: str = CHAIN) -> float:
    return agent.metrics()[f'cometkms_agent_again_total{{chain_id="{chain}",validator="{address}",why="{why}"}}']


def test_a_leader_that_accepts_and_never_answers_costs_its_patience_and_is_asked_again_when_it_speaks(
    tmp_path: Path,
) -> None:
    """Its host lives and takes every byte; nothing comes back.

    Nothing is closed either, so only silence tells.
    """
    address = free_tcp()
    agent = AgentProcess(tmp_path / "agent")
    cluster = AgentCluster(tmp_path, 3, [agent])
    relays = {name: Relay(cluster.agent_ports[name]) for name in cluster.ids}
    lines = [
        line.replace(f":{cluster.agent_ports[name]}:", f":{relays[name].port}:")
        for name, line in zip(cluster.ids, cluster.lines(), strict=True)
    ]
    agent.configure(lines, [address])
    validator = Client(address)
    try:
        cluster.start()
        agent.start()
        cluster.wait_leader()
        agent.wait_linked(3)
        validator.must_sign(PREVOTE, 1)
        leader = cluster.wait_leader()
        silences = again(agent, address, "silence")
        relays[leader].silent = True
        for height in range(2, 8):
            validator.must_sign(PREVOTE, height)
            validator.must_sign(PRECOMMIT, height)
        assert again(agent, address, "silence") > silences
        # its link is given up, and dialled again
        until(agent.log, lambda: "silent for" in agent.log())
        validator.must_sign(PREVOTE, 8)
        links = agent.log().count(" node connected")
        relays[leader].silent = False
        until(agent.log, lambda: agent.log().count(" node connected") > links)
        validator.must_sign(PREVOTE, 9)
        assert closed_by_itself(agent.log(), address) == []
    finally:
        agent.stop()
        cluster.stop()
        validator.close()
        for relay in relays.values():
            relay.close()


def test_nodes_that_restart_one_by_one_cost_the_validator_no_request(tmp_path: Path) -> None:
    """As at an upgrade, the leader among them: every request is answered with a
    signature, over one connection.
    """
    address = free_tcp()
    agent = AgentProcess(tmp_path / "agent")
    cluster = AgentCluster(tmp_path, 3, [agent])
    agent.configure(cluster.lines(), [address])
    validator = Client(address)
    height = 0

    def sign() -> bool:
        nonlocal height
        height += 1
        validator.must_sign(PREVOTE, height)
        validator.must_sign(PRECOMMIT, height)
        return True

    try:
        cluster.start()
        agent.start()
        cluster.wait_whole()
        agent.wait_linked(3)
        for name in cluster.ids:
            before = agent.log().count(" node connected")
            process = cluster.nodes[name].process
            assert process is not None
            process.send_signal(signal.SIGTERM)
            until(f"{name} ends", lambda process=process: sign() and process.poll() is not None)
            cluster.start(name)
            until(
                lambda name=name: f"{name} is back: {cluster.reasons()}",
                lambda name=name, before=before: (
                    sign() and cluster.status(name).get("healthy") and agent.log().count(" node connected") > before
                ),
            )
            cluster.wait_whole()
        sign()
        assert closed_by_itself(agent.log(), address) == []
        answers = agent.metrics()
        assert [n for name, n in answers.items() if 'outcome="empty"' in name or 'outcome="refused"' in name] == [0, 0]
    finally:
        agent.stop()
        cluster.stop()
        validator.close()


def test_two_agents_whose_validators_want_other_blocks_never_get_two_signatures_at_a_place(tmp_path: Path) -> None:
    """While leaders freeze and die, so that both agents ask nodes that do not lead,
    urgently, and at once.
    """
    addresses = [free_tcp(), free_tcp()]
    agents = [AgentProcess(tmp_path / name, name) for name in ("sentry-a", "sentry-b")]
    cluster = AgentCluster(tmp_path, 3, agents)
    for agent, address in zip(agents, addresses, strict=True):
        agent.configure(cluster.lines(), [address])
    judge = Judge()
    rivals = Rivals(addresses, judge)
    try:
        cluster.start()
        cluster.wait_leader()
        for agent in agents:
            agent.start()
            agent.wait_linked(3)
        rivals.start()
        rivals.progress(5)
        for _ in range(2):
            frozen = cluster.wait_leader()
            cluster.freeze(frozen)
            rivals.progress(5)
            cluster.thaw(frozen)
            rivals.progress(3)
        killed = cluster.wait_leader()
        cluster.kill(killed)
        rivals.progress(5)
        agents[0].kill()
        rivals.progress(5)
        agents[0].start()
        cluster.start(killed)
        rivals.progress(5)
        judge.verdict()
    finally:
        rivals.stop()
        for agent in agents:
            agent.stop()
        cluster.stop()
    judge.verdict()


def test_an_agent_killed_at_each_point_of_a_request_never_lets_two_blocks_be_signed(
    tmp_path: Path, faults: Faults
) -> None:
    """Before and after each of what it sends: the question to the node, the answer to the
    validator, and what comes next. Its supervisor starts it again, and the validator goes on.
    """
    address = free_tcp()
    agent = AgentProcess(tmp_path / "agent")
    node = Node(tmp_path / "node0")
    agent_addr = f"127.0.0.1:{free_port()}"
    agent.configure([identity_of(node, "node0", agent_addr)], [address])
    validator = Client(address)
    height = 1
    try:
        node.start("--agent-addr", agent_addr, "--agents", agent.line)
        for how in ("kill-before", "kill-after"):
            for nth in ("1", "2", "3"):
                faults.disarm()
                linked = agent.log().count(" node connected")
                with agent.supervised(**{**faults.of("send", "", how), "CK_FAULT_NTH": nth}):
                    until(agent.log, lambda linked=linked: agent.log().count(" node connected") > linked)
                    height += 1
                    validator.must_sign(PREVOTE, height)
                    starts, killed = agent.starts, faults.injected
                    faults.arm()
                    signed = set()
                    if validator.ask(**ballot(PRECOMMIT, height, block="aa")).get("signature"):
                        signed.add("aa")
                    until("it is killed", lambda killed=killed: faults.injected > killed)
                    faults.disarm()
                    until("it is started again", lambda starts=starts: agent.starts > starts)
                    for block in ("bb", "aa"):
                        if validator.sign(PRECOMMIT, height, block=block, second=3).get("signature"):
                            signed.add(block)
                    assert len(signed) == 1, (how, nth, signed, agent.log())
                    validator.must_sign(PREVOTE, height + 1)
                    height += 1
        faults.must_have_happened()
    finally:
        node.stop()
        validator.close()


def test_a_copied_agent_and_the_original_push_each_other_out_ever_more_slowly_and_sign_nothing_twice(
    tmp_path: Path,
) -> None:
    """One key, two machines: each node keeps the one that came last.

    Nobody is starved, and the log says what it is.
    """
    addresses = [free_tcp(), free_tcp()]
    agent = AgentProcess(tmp_path / "agent")
    cluster = AgentCluster(tmp_path, 1, [agent])
    agent.configure(cluster.lines(), [addresses[0]])
    twin = AgentProcess(tmp_path / "other")
    shutil.copytree(agent.home, tmp_path / "twin")
    twin.home = tmp_path / "twin"
    text = (twin.home / "agent.toml").read_text()
    text = text.replace(addresses[0], addresses[1]).replace(f":{agent.metrics_port}", f":{twin.metrics_port}")
    (twin.home / "agent.toml").write_text(text)
    judge = Judge()
    rivals = Rivals(addresses, judge)
    try:
        cluster.start()
        cluster.wait_leader()
        agent.start()
        twin.start()
        rivals.start()
        until("the node says it", lambda: "a newer connection of the same agent" in cluster.log("node0"))
        rivals.progress(5)
        judge.verdict()
    finally:
        rivals.stop()
        agent.stop()
        twin.stop()
        cluster.stop()
    judge.verdict()


@pytest.mark.parametrize("fault", ["freeze", "kill"])
def test_a_real_node_behind_an_agent_makes_blocks_through_the_loss_of_its_leader(fault: str, tmp_path: Path) -> None:
    """CometBFT's own node, 100 ms commits: it boots, and its one connection to the agent lives
    through whatever happens behind.
    """
    address = free_tcp()
    chain = CometBFT(tmp_path / "comet", address)
    agent = AgentProcess(tmp_path / "agent")
    cluster = AgentCluster(tmp_path, 3, [agent], chain=chain.chain_id)
    chain.use_key(cluster.nodes["node0"])
    agent.configure(cluster.lines(), [address], chain=chain.chain_id)
    try:
        cluster.start()
        agent.start()
        cluster.wait_leader()
        agent.wait_linked(3)
        chain.start()
        until("10 blocks", lambda: chain.height() >= 10)
        leader = cluster.wait_leader()
        if fault == "freeze":
            cluster.freeze(leader)
        else:
            cluster.kill(leader)
        seen = chain.height()
        until("20 more", lambda: chain.height() >= seen + 20)
        if fault == "freeze":
            cluster.thaw(leader)
        else:
            cluster.start(leader)
        until("10 more", lambda: chain.height() >= seen + 30)
        if chain.boots == 1:
            told = agent.metrics()
            assert [n for name, n in told.items() if "validator_connects_total" in name] == [1]
    finally:
        chain.stop()
        agent.stop()
        cluster.stop()


def test_a_real_node_behind_an_agent_makes_blocks_while_its_leaders_cable_is_pulled(tmp_path: Path) -> None:
    """No FIN and no RST come from that host; twice, so that another node's turn comes too."""
    chain = CometBFT(tmp_path / "comet", free_tcp())
    agent = AgentProcess(tmp_path / "agent")
    cluster = Namespaces(tmp_path, net=free_network(), chain=chain.chain_id)
    if not cluster.build():
        cluster.remove()
        pytest.skip(f"{NONE_HERE}; a frozen leader is the same to its agent")
    chain.use_key(cluster.nodes["node0"])
    cluster.flags = ["--agent-addr", ":9440", "--agents", agent.line]
    lines = [identity_of(cluster.node(name), name, f"{cluster.hosts[name]}:9440") for name in cluster.ids]
    agent.configure(lines, [chain.address], chain=chain.chain_id)
    try:
        for name in cluster.ids:
            cluster.run(name)
        agent.start()
        until("a leader", cluster.seen_leading)
        agent.wait_linked(len(cluster.ids))
        chain.start()
        until("10 blocks", lambda: chain.height() >= 10)
        for _ in range(2):
            leader = until("a leader", cluster.seen_leading)
            before = chain.height()
            cluster.pull(leader)
            until("20 more", lambda before=before: chain.height() >= before + 20)
            cluster.pull(leader, out=False)
            until("all links", lambda: agent.links() == len(cluster.ids))
        assert again(agent, chain.address, "silence", chain.chain_id) >= 1
        if chain.boots == 1:
            told = agent.metrics()
            assert [n for name, n in told.items() if "validator_connects_total" in name] == [1]
    finally:
        chain.stop()
        agent.stop()
        cluster.stop()
        cluster.remove()
