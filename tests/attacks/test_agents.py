"""Somebody has a listed agent's key, and says through it what he likes: the validator of another
agent signs on, and neither the state process nor the signer restarts.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cometkms.errors import ProtocolError
from cometkms.limits import AGENT_FRAME_MAX_BYTES
from cometkms.wire.agent_messages import Ping
from tests.attacks.agent import StolenAgent, vote
from tests.e2e.agents import AgentCluster, AgentProcess
from tests.e2e.cluster import Client
from tests.e2e.node import PRECOMMIT, PREVOTE, free_tcp, until

AT_ONCE = 50
HEIGHTS = 30

Net = tuple[AgentCluster, AgentProcess, Client]


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    """One node, an honest agent with its validator, and the home of one whose key was stolen."""
    address = free_tcp()
    honest, stolen = AgentProcess(tmp_path / "honest", "honest"), AgentProcess(tmp_path / "stolen", "stolen")
    cluster = AgentCluster(tmp_path, 1, [honest, stolen])
    honest.configure(cluster.lines(), [address])
    stolen.configure(cluster.lines(), ["tcp://127.0.0.1:1"])
    validator = Client(address)
    try:
        cluster.start()
        honest.start()
        cluster.wait_leader()
        honest.wait_linked(1)
        validator.must_sign(PRECOMMIT, 1)
        yield cluster, stolen, validator
        children = cluster.nodes["node0"].status()["children"]
        # api and audit have a core last: one that got none for seconds was replaced, whoever asks
        restarts = {one["name"]: one["restarts"] for one in children if one["name"] in ("state", "signer")}
        assert restarts == {"state": 0, "signer": 0}, cluster.log("node0")
    finally:
        honest.stop()
        cluster.stop()
        validator.close()


@pytest.mark.parametrize("what", ["conflicts", "another chain", "not urgent", "large", "pings"])
def test_a_flood_of_one_agent_does_not_keep_another_from_signing(net: Net, what: str) -> None:
    cluster, stolen, validator = net
    over = threading.Event()
    said = 0

    def flood() -> None:
        nonlocal said
        agent = StolenAgent(stolen.home)
        large = vote(1, 2, extension=b"e" * (1 << 20))
        about = tuple((f"a{number}", "x" * 200) for number in range(16))
        try:
            while not over.is_set():
                match what:
                    case "conflicts":
                        agent.say(*(agent.ask(vote(1, 2)) for _ in range(AT_ONCE)))
                    case "another chain":
                        agent.say(*(agent.ask(vote(1, 2, chain="c-2"), chain="c-2") for _ in range(AT_ONCE)))
                    case "not urgent":
                        agent.say(*(agent.ask(vote(1, 2), urgent=False) for _ in range(AT_ONCE)))
                    case "large":
                        agent.say(agent.ask(large))
                    case _:
                        agent.say(*(Ping(number, about) for number in range(AT_ONCE)))
                said += 1
        finally:
            agent.close()

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    try:
        until("it floods", lambda: said > 3)
        for height in range(2, HEIGHTS):
            validator.must_sign(PREVOTE, height)
            validator.must_sign(PRECOMMIT, height)
    finally:
        over.set()
        thread.join(60)
    if what in ("conflicts", "large"):

        def refused() -> int:
            return sum(cluster.nodes["node0"].status()["chains"][0]["counters"]["refused"].values())

        until("the status tells that it was refused", refused)
    assert said > 3


@pytest.mark.parametrize(
    "plain",
    [
        b"\x00\x00\x00\x00",
        (AGENT_FRAME_MAX_BYTES + 1).to_bytes(4, "big"),
        b"\xff\xff\xff\xff" + bytes(1000),
        b"\x00\x00\x00\x01\xc1",
        b"\x00\x00\x00\x02\x91\x07",
        b"\x00\x00\x00\x05\x95\x03\x01\x01\x01",
        b"\x00\x00\x00\x09\xdd\xff\xff\xff\xff\x00\x00\x00\x00",
    ],
)
def test_bytes_that_are_no_message_end_the_link_and_nothing_else(net: Net, plain: bytes) -> None:
    cluster, stolen, validator = net
    agent = StolenAgent(stolen.home)
    with pytest.raises((ConnectionError, ProtocolError)):
        for _ in range(1000):
            agent.say_bytes(plain)
            agent.hear()
    agent.close()
    until(
        "the node says why", lambda: "agent not connected" in cluster.log("node0") and "stolen" in cluster.log("node0")
    )
    validator.must_sign(PREVOTE, 2)
