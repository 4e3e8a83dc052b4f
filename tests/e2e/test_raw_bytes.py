"""Bytes that are no vote, asked of whole nodes: CometBFT v1.0.1's own client, and Celestia's
requests as its specification has them.

No Go module of Celestia can be had, so the form of its requests and answers is the vectors'
(tests/vectors/celestia).
"""

import asyncio
import hashlib
import json
import signal
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cometkms.core import choose
from cometkms.keytypes import by_name, typed
from cometkms.limits import RAW_VALUE_MAX_BYTES
from cometkms.model import Kind, Message
from tests.e2e.cluster import Client, Cluster
from tests.e2e.node import PRECOMMIT, Node, Validator, cmkms, free_tcp, until
from tests.e2e.wire import CHAIN, WireNode, connected
from tests.vectors.vectors import HERE

CORE = choose.load()
NEVER = json.loads((HERE / "v1/keys_v1.json").read_text())["never"]
CELESTIA = json.loads((HERE / "celestia/raw_bytes.json").read_text())["cases"]
VOTE = NEVER[0]["value"]
HASH = hashlib.sha256(b"a block's header").hexdigest()


def chain_of(node: Node | WireNode) -> dict[str, Any]:
    shown: dict[str, Any] = node.status()["chains"][0]
    return shown


def is_signed(node: WireNode, text: bytes, signature: bytes) -> bool:
    return CORE.verify(b64decode(chain_of(node)["public_key"]), text, signature)


@pytest.mark.parametrize(
    ("scheme", "key_type"),
    [
        ("tcp", "ed25519"),
        ("unix", "ed25519"),
        ("unix", "secp256k1"),
        ("tcp", "secp256k1"),
        ("tcp", "bls12_381"),
    ],  # the last as Berachain has it
)
def test_cometbfts_own_client_gets_values_signed_and_never_a_votes(
    scheme: str,
    key_type: str,
    make_node: Callable[..., Node],
    make_validator: Callable[..., Validator],
    tmp_path: Path,
) -> None:
    """Between votes, whose watermark does not move for it; also the largest value."""
    address = free_tcp() if scheme == "tcp" else f"unix://{tmp_path}/privval.sock"
    validator = make_validator(address, "v1")
    node = make_node(address, key_type=key_type).start("--sign-bytes")
    public_key = typed(by_name(key_type), bytes.fromhex(validator.connect()))
    validator.must_sign(PRECOMMIT, 7, extension="ab")
    for value in (HASH, HASH, "00", "ab" * RAW_VALUE_MAX_BYTES):
        answer = validator.ask(cmd="sign_bytes", value=value)
        assert CORE.verify(public_key, bytes.fromhex(value), bytes.fromhex(answer["signature"])), answer
    for case in NEVER:
        for value in (case["value"], case["value"][2:]):  # with its length, and without
            refused = validator.ask(cmd="sign_bytes", value=value)
            assert refused["remote"], case["what"]
            assert not refused.get("signature"), case["what"]
            assert "bytes are a vote" in refused["error"]
    for value in ("", "ab" * (RAW_VALUE_MAX_BYTES + 1)):
        assert "bad bytes" in validator.ask(cmd="sign_bytes", value=value)["error"]
    validator.must_sign(PRECOMMIT, 8, extension="ab")
    until("it is counted", lambda: chain_of(node)["counters"].get("signed_values") == 4)
    no = {"bytes_are_a_vote": 2 * len(NEVER), "bad_bytes": 2}
    until("so is what was refused", lambda: chain_of(node)["counters"]["refused"] == no)
    until("it is an alert", lambda: "vote_as_bytes" in [one["name"] for one in node.status()["alerts"]])
    until("the state file is in step", lambda: (node.file_state()["height"], node.file_state()["step"]) == ("8", 3))
    series = 'cometkms_signed_bytes_total{chain_id="test-1",unique_id=""} 4'
    until("it is scraped", lambda: series in fetched(node, "/metrics"))
    until("the page shows it", lambda: "4 SignBytes" in fetched(node, "/"))
    shown = cmkms("status", "--home", str(node.home), "--http-addr", f"127.0.0.1:{node.http_port}").stdout
    assert "signed bytes: SignBytes 4" in shown
    assert node.closed_by_itself() == []
    assert node.stop() == 0
    assert audited(node, "signed_bytes") == [
        ("sign_bytes_request", hashlib.sha256(bytes.fromhex(value)).hexdigest(), len(value) // 2, "")
        for value in (HASH, HASH, "00", "ab" * RAW_VALUE_MAX_BYTES)
    ]
    assert (audited(node, "refused_bytes") or [()])[0][:3] == (
        "sign_bytes_request",
        hashlib.sha256(bytes.fromhex(NEVER[0]["value"])).hexdigest(),
        len(NEVER[0]["value"]) // 2,
    )
    assert cmkms("audit", "verify", "--home", str(node.home)).returncode == 0


def fetched(node: Node, path: str) -> str:
    return node.fetch(path)[1]


def audited(node: Node, what: str, node_id: str = "node0") -> list[tuple[str, str, int, str]]:
    """Kind, hash, length and unique id of each such line."""
    lines = map(
        json.loads, cmkms("audit", "show", "--home", str(node.home), "--id", node_id, "--json").stdout.splitlines()
    )
    return [(one["kind"], one["bytes"], one["length"], one["unique_id"]) for one in lines if one["what"] == what]


def test_a_reload_gives_the_permission_and_takes_it_back_while_votes_go_on(
    make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    address = free_tcp()
    validator = make_validator(address, "v1")
    node = make_node(address).start()
    validator.connect()

    def reload(line: str, says: str) -> None:
        path = node.home / "config.toml"
        kept = [one for one in path.read_text().splitlines() if not one.startswith("sign_bytes")]
        path.write_text("\n".join([line, *kept]) + "\n")
        seen = len(node.log())
        assert node.process is not None
        node.process.send_signal(signal.SIGHUP)
        until(f"it says {says}", lambda: says in node.log()[seen:])

    def refused() -> bool:
        return "bytes not allowed" in validator.ask(cmd="sign_bytes", value=HASH).get("error", "")

    assert refused()
    reload("sign_bytes = true", "sign_bytes of test-1: on")
    until("it is signed", lambda: not refused())
    validator.must_sign(PRECOMMIT, 1)
    reload("sign_bytes = false", "sign_bytes of test-1: off")
    until("it is refused", refused)
    validator.must_sign(PRECOMMIT, 2)
    assert node.closed_by_itself() == []
    assert node.stop() == 0


@pytest.fixture(scope="module")
def celestia(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WireNode]:
    ids = [part for one in ("fiber-commitment", "fibre/pp:v0") for part in ("--raw-bytes-unique-ids", one)]
    directory = tmp_path_factory.mktemp("celestia")
    made = WireNode(directory / "home", [free_tcp(), f"unix://{directory}/a.sock"], *ids)
    yield made
    assert made.stop() == 0


@pytest.mark.parametrize("number", [0, 1], ids=["tcp", "unix"])
def test_celestias_requests_are_signed_under_the_ids_that_are_listed(celestia: WireNode, number: int) -> None:
    """Each of the vectors for this node's chain, votes between them; another id, another chain and
    v1's form are refused.
    """

    async def scenario() -> None:
        async with connected(celestia, CORE, celestia.addresses[number]) as validator:
            for case in CELESTIA:
                raw, unique_id = bytes.fromhex(case["raw_bytes"]), case["unique_id"]
                asked = Message(Kind.SIGN_RAW_BYTES_REQUEST, CHAIN, value=raw, unique_id=unique_id)
                if unique_id in ("fiber-commitment", "fibre/pp:v0"):
                    answer = await validator.ask(asked)
                    assert answer.error is None
                    assert is_signed(celestia, CORE.raw_bytes(CHAIN, raw, unique_id), answer.value)
                else:
                    assert f"{unique_id!r}" in await validator.must_refuse(asked)
            raw = b"\x11" * 32
            for asked, words in (
                (
                    Message(Kind.SIGN_RAW_BYTES_REQUEST, "celestia", value=raw, unique_id="fiber-commitment"),
                    "wrong chain",
                ),
                (Message(Kind.SIGN_RAW_BYTES_REQUEST, CHAIN, value=b"", unique_id="fiber-commitment"), "bad bytes"),
                (Message(Kind.SIGN_RAW_BYTES_REQUEST, CHAIN, value=raw, unique_id=""), "bytes not allowed"),
                (Message(Kind.SIGN_BYTES_REQUEST, value=raw), "bytes not allowed"),
            ):
                assert words in await validator.must_refuse(asked)
            await validator.must_serve(celestia.next_height())

    before = celestia.pids()
    asyncio.run(scenario())
    assert celestia.pids() == before
    listed = {case["unique_id"] for case in CELESTIA} & {"fiber-commitment", "fibre/pp:v0"}
    until("each is counted", lambda: set(chain_of(celestia)["counters"].get("signed_raw", {})) == listed)


def test_a_request_with_a_field_of_neither_is_refused_and_a_broken_one_closes_the_connection(
    celestia: WireNode,
) -> None:
    async def scenario() -> None:
        address = celestia.addresses[0]
        async with connected(celestia, CORE, address) as validator:
            # field 4, field 4, field 9
            for inner in ("0a01631201721a0269642200", "0a02abcd2200", "0a02abcd4801"):
                body = bytes.fromhex(inner)
                answer = await validator.ask_raw(bytes([len(body) + 2, 0x4A, len(body)]) + body)
                assert answer.kind is Kind.SIGN_BYTES_RESPONSE
                assert (answer.value, answer.error is not None) == (b"", True)
            await validator.must_serve(celestia.next_height())
            validator.link.send(bytes.fromhex("044a021001"))  # raw bytes that are a number
            await validator.must_be_closed()
        async with connected(celestia, CORE, address) as validator:
            await validator.must_serve(celestia.next_height())

    asyncio.run(scenario())


@pytest.mark.parametrize("key_type", ["ed25519", "secp256k1", "bls12_381"])
def test_in_a_cluster_the_leader_signs_and_after_it_the_next_one(key_type: str, tmp_path: Path) -> None:
    """The same bytes have the same signature, whoever leads; those that do not lead sign none, and
    no node signs a vote's.
    """
    address = free_tcp()
    cluster = Cluster(tmp_path, 3, address, key_type=key_type)
    client = Client(address, "v1")

    def audit_of(outcome: str) -> list[tuple[str, str, int, str]]:
        """All nodes', one behind the other."""
        return [line for name in cluster.ids for line in audited(cluster.nodes[name], f"{outcome}_bytes", name)]

    try:
        cluster.extra = {name: ["--sign-bytes"] for name in cluster.ids}
        cluster.start()
        client.must_sign(PRECOMMIT, 1)
        signatures = {signature_of(client)}
        assert signatures == {signature_of(client)}
        must_refuse_a_vote(client)
        first = until("somebody leads", cluster.leader)
        assert [
            chain_of(cluster.nodes[name])["counters"].get("signed_values", 0) for name in cluster.ids if name != first
        ] == [0, 0]
        until(
            "what it decided is written",
            lambda: len(audit_of("signed")) >= 2 and len(audit_of("refused")) >= 1,
        )
        cluster.kill(first)
        client.must_sign(PRECOMMIT, 2)
        signatures.add(signature_of(client))
        assert len(signatures) == 1
        must_refuse_a_vote(client)
        client.must_sign(PRECOMMIT, 3)
    finally:
        client.close()
        cluster.stop()
    signed, refused = audit_of("signed"), audit_of("refused")
    digests = {
        name: hashlib.sha256(bytes.fromhex(value)).hexdigest() for name, value in (("signed", HASH), ("refused", VOTE))
    }
    assert set(signed) == {("sign_bytes_request", digests["signed"], 32, "")}
    assert set(refused) == {("sign_bytes_request", digests["refused"], len(VOTE) // 2, "")}
    assert (len(signed) >= 3, len(refused) >= 2) == (True, True)


def must_refuse_a_vote(client: Validator) -> None:
    refused = client.ask(cmd="sign_bytes", value=VOTE)
    assert refused["remote"] and not refused.get("signature"), refused
    assert "bytes are a vote" in refused["error"]


def signature_of(client: Validator) -> str:
    def signed() -> str:
        return str(client.ask(cmd="sign_bytes", value=HASH).get("signature") or "")

    return str(until("a node signs it", signed))
