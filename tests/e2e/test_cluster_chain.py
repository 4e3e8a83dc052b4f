"""A chain of four real CometBFT nodes, one of which signs through our three: blocks keep coming
while leaders are killed.
"""

import base64
import hashlib
import json
from pathlib import Path

from tests.e2e.cluster import Cluster
from tests.e2e.node import free_port, free_tcp, until
from tests.e2e.test_real_node import CometBFT
from tests.gotools import program

KILLS = 4


class Member(CometBFT):
    """One of four; `laddr` "": it signs with its own file."""

    def __init__(self, home: Path, laddr: str) -> None:
        super().__init__(home, laddr or "tcp://127.0.0.1:1")
        self.p2p = free_port()
        if not laddr:
            config = home / "config" / "config.toml"
            config.write_text(
                config.read_text().replace('priv_validator_laddr = "tcp://127.0.0.1:1"', 'priv_validator_laddr = ""')
            )

    @property
    def node_id(self) -> str:
        key = json.loads((self.home / "config" / "node_key.json").read_text())["priv_key"]["value"]
        return hashlib.sha256(base64.b64decode(key)[32:]).hexdigest()[:40]

    def join(self, others: list["Member"]) -> None:
        peers = ",".join(f"{one.node_id}@127.0.0.1:{one.p2p}" for one in others)
        command = [program("node"), "start", "--home", str(self.home), "--log_level", "error"]
        command += ["--rpc.laddr", f"tcp://127.0.0.1:{self.rpc}", "--p2p.laddr", f"tcp://127.0.0.1:{self.p2p}"]
        command += ["--p2p.persistent_peers", peers]
        self.boot([str(one) for one in command])


def genesis_of(members: list[Member], ours: Path) -> str:
    """Four validators of equal power, the first with our key; the chain's id."""
    document = json.loads((members[0].home / "config" / "genesis.json").read_text())
    keys = [ours, *(one.home / "config" / "priv_validator_key.json" for one in members[1:])]
    document["validators"] = []
    for number, path in enumerate(keys):
        key = json.loads(path.read_text())
        document["validators"].append(
            {"address": key["address"], "pub_key": key["pub_key"], "power": "10", "name": f"v{number}"}
        )
    for one in members:
        (one.home / "config" / "genesis.json").write_text(json.dumps(document))
        config = one.home / "config" / "config.toml"
        text = config.read_text().replace("addr_book_strict = true", "addr_book_strict = false")
        config.write_text(text.replace("allow_duplicate_ip = false", "allow_duplicate_ip = true"))
    (members[0].home / "config" / "priv_validator_key.json").unlink()
    return document["chain_id"]


def signs_above(member: Member, address: str, height: int) -> bool:
    """Whether that validator is in the commit of a block above `height`.

    The newest block's commit may still grow.
    """
    for above in range(height + 1, member.height()):
        commit = member.get(f"commit?height={above}")["signed_header"]["commit"]
        if address in [one["validator_address"] for one in commit["signatures"]]:
            return True
    return False


def test_a_chain_of_four_validators_keeps_its_blocks_while_our_leaders_are_killed(tmp_path: Path) -> None:
    address = free_tcp()
    members = [Member(tmp_path / f"comet{number}", address if number == 0 else "") for number in range(4)]
    chain_id = members[0].chain_id
    cluster = Cluster(tmp_path / "signers", 3, address, chain=chain_id)
    ours = cluster.nodes["node0"].key_path
    assert genesis_of(members, ours) == chain_id
    our_address = json.loads(ours.read_text())["address"]
    try:
        cluster.start()
        cluster.wait_leader()
        for one in members:
            one.join([other for other in members if other is not one])
        until("blocks", lambda: members[1].height() >= 3)
        until("our node keeps up", lambda: members[0].height() >= 3)
        for _ in range(KILLS):
            leader = cluster.wait_leader()
            before = members[1].height()
            cluster.kill(leader)
            until("blocks while the leader is dead", lambda before=before: members[1].height() >= before + 3)
            until("our validator is in one of them", lambda before=before: signs_above(members[1], our_address, before))
            cluster.start(leader)
            cluster.wait_state(leader, "complete")
        top = members[1].height()
        until("our node keeps up", lambda: members[0].height() >= top)
        until("our validator signs on", lambda: signs_above(members[1], our_address, top))
        for name in cluster.ids:
            assert "conflict" not in cluster.log(name)
    finally:
        for one in members:
            one.stop()
        cluster.stop()
