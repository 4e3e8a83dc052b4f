"""The privval clients of CometBFT v0.34, v0.37 to v0.40 and v1.0 and of Tendermint v0.33 ask a
whole node for everything, and verify it.
"""

import json
import random
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tests.e2e.node import PRECOMMIT, PREVOTE, PROPOSAL, Node, Validator, ballot, cmkms, free_tcp, until

LINES = {"v033": "v0.33", "v1": "v1"} | dict.fromkeys(("v034", "v037", "v038", "v039", "v040"), "v0.34-v0.40")
#: Every type of key beside ed25519 with the clients that know it.
OTHER_KEYS = [
    ("v033", "secp256k1"),
    ("v034", "secp256k1"),
    ("v037", "secp256k1"),
    ("v038", "secp256k1"),
    ("v039", "secp256k1"),
    ("v039", "bls12_381"),
    ("v040", "secp256k1"),
    ("v040", "secp256k1eth"),
    ("v040", "bls12_381"),
    ("v1", "secp256k1"),
    ("v1", "bls12_381"),
]
NO_EXTENSIONS = ("v033", "v034", "v037")


@pytest.fixture(params=["tcp", "unix"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return free_tcp() if request.param == "tcp" else f"unix://{tmp_path}/privval.sock"


@pytest.mark.parametrize(("version", "key_type"), [*((one, "ed25519") for one in LINES), *OTHER_KEYS])
def test_everything_a_validator_asks(
    version: str,
    key_type: str,
    address: str,
    make_node: Callable[..., Node],
    make_validator: Callable[..., Validator],
) -> None:
    validator = make_validator(address, version)
    node = make_node(address, key_type=key_type).start()
    assert validator.connect() in _public_key_hex(node)
    assert validator.ask(cmd="ping")["verified"]
    for height in range(1, 6):
        validator.must_sign(PROPOSAL, height)
        validator.must_sign(PREVOTE, height, block="" if height == 3 else "aa")
        first = validator.must_sign(PRECOMMIT, height, block="" if height == 3 else "aa")
        again = validator.must_sign(PRECOMMIT, height, block="" if height == 3 else "aa", second=9)
        assert [again[key] for key in ("signature", "seconds", "nanos")] == [
            first[key] for key in ("signature", "seconds", "nanos")
        ]
        assert "conflicting data" in validator.must_refuse(PRECOMMIT, height, block="ee")
    assert "height regression" in validator.must_refuse(PREVOTE, 4)
    assert "step regression" in validator.must_refuse(PREVOTE, 5)
    validator.must_sign(PREVOTE, 5, round_=1)
    assert "round regression" in validator.must_refuse(PRECOMMIT, 5)
    until("the state file is in step", lambda: node.file_state()["round"] == 1)
    assert node.file_state() == {**node.file_state(), "height": "5", "round": 1, "step": 2}
    until("the status board is in step", lambda: node.status()["chains"][0]["validators"][0]["requests"] > 30)
    assert node.status()["chains"][0]["validators"][0]["line"] == LINES[version]
    assert node.closed_by_itself() == []  # no refusal closed the connection
    assert node.stop() == 0


def _public_key_hex(node: Node) -> str:
    import base64

    return base64.b64decode(node.status()["chains"][0]["public_key"]).hex()


@pytest.mark.parametrize(
    ("version", "key_type"),
    [one for one in (*((line, "ed25519") for line in LINES), *OTHER_KEYS) if one[0] not in NO_EXTENSIONS],
)
def test_extensions_of_every_size(
    version: str, key_type: str, make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    address = free_tcp()
    validator = make_validator(address, version)
    make_node(address, key_type=key_type).start()
    validator.connect()
    for height, size in enumerate([0, 1, 1000, 100_000, 1 << 20], start=1):
        validator.must_sign(PRECOMMIT, height, extension="ab" * size)
        # another extension at the same place
        validator.must_sign(PRECOMMIT, height, extension="cd" * size)
    assert "extension" in validator.must_refuse(PREVOTE, 99, extension="ab", skip=False)
    assert "extension" in validator.must_refuse(PRECOMMIT, 99, block="", extension="ab", skip=False)
    assert "chain" in validator.must_refuse(PREVOTE, 99, chain="another-1")
    validator.must_sign(PREVOTE, 99)


def test_v1_skips_extensions_and_signs_no_other_bytes(
    make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    """A repeat has the extension's signature that the first answer lacked.

    SignBytes is a final no, and votes go on.
    """
    address = free_tcp()
    validator = make_validator(address, "v1")
    node = make_node(address).start()
    validator.connect()
    for height in range(1, 4):
        first = validator.must_sign(PRECOMMIT, height, extension="ab", skip=True)
        assert "extension_signature" not in first
        again = validator.must_sign(PRECOMMIT, height, extension="ab", skip=False, second=9)
        assert again.pop("extension_signature")
        assert again == first == validator.must_sign(PRECOMMIT, height, extension="ab", skip=True)
        refused = validator.ask(cmd="sign_bytes", value="ab" * 32)
        assert refused["remote"] and not refused.get("signature"), refused
        assert "bytes not allowed" in refused["error"]
    until(
        "the refusals are counted",
        lambda: node.status()["chains"][0]["counters"]["refused"] == {"bytes_not_allowed": 3},
    )
    assert node.closed_by_itself() == []
    assert node.stop() == 0
    shown = cmkms("audit", "show", "--home", str(node.home), "--json").stdout
    refusals = [one for one in map(json.loads, shown.splitlines()) if one.get("what") == "refused_bytes"]
    assert {(one["kind"], one["reason"]) for one in refusals} == {("sign_bytes_request", "bytes_not_allowed")}
    assert {(one["bytes"], one["length"]) for one in refusals} == {(sha256(b"\xab" * 32).hexdigest(), 32)}


@pytest.mark.parametrize(
    ("version", "key_type"),
    [
        ("v034", "ed25519"),
        ("v038", "ed25519"),
        ("v1", "ed25519"),
        ("v1", "secp256k1"),
        ("v040", "secp256k1eth"),
        ("v1", "bls12_381"),
    ],
)
def test_a_random_walk_gets_what_filepv_gives(
    version: str,
    key_type: str,
    make_node: Callable[..., Node],
    make_validator: Callable[..., Validator],
    tmp_path: Path,
) -> None:
    """The same requests to CometBFT's own FilePV, with the same key, in the validator's process."""
    address = free_tcp()
    validator = make_validator(address, version)
    node = make_node(address, key_type=key_type).start()
    validator.connect()
    files = {"key_file": str(node.key_path), "state_file": str(tmp_path / "filepv.json")}
    assert validator.ask(cmd="filepv", **files)["verified"]
    seed = random.randrange(1 << 32)
    choose = random.Random(seed)
    height, signed, refused = 1, 0, 0
    for _ in range(600):
        height = max(1, height + choose.choice([0, 0, 0, 1, 1, -1]))
        request = ballot(
            choose.choice([PROPOSAL, PREVOTE, PRECOMMIT]),
            height,
            choose.randint(0, 2),
            choose.choice(["", "aa", "bb"]) if choose.random() < 0.5 else "aa",
            choose.randint(0, 3),
        )
        if version == "v1":
            request["skip"] = choose.random() < 0.5
        if version in NO_EXTENSIONS:
            pass
        elif request["type"] == PRECOMMIT and request["hash"]:
            request["extension"] = choose.choice(["", "ab", "cd" * 500])
        elif request.get("skip") and request["type"] != PROPOSAL:
            # a stray one, which nobody looks at then
            request["extension"] = choose.choice(["", "ab"])
        ours, theirs = validator.ask(**request), validator.ask(**request, target="filepv")
        for answer in (ours, theirs):
            answer.pop("took_ns", None)
        if theirs.get("error"):
            refused += 1
            assert ours.get("remote"), (seed, request, ours, theirs)
        else:
            signed += 1
            assert ours == theirs, (seed, request)
    assert signed > 50 < refused, (seed, signed, refused)
    assert node.stop() == 0
    assert node.file_state() == json.loads((tmp_path / "filepv.json").read_text())


def test_two_validators_at_once_get_one_outcome(
    make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    """Conflicting blocks for one place at the same moment: a judge outside finds one signature's
    block at each place.
    """
    addresses = [free_tcp(), free_tcp()]
    validators = [make_validator(address) for address in addresses]
    make_node(*addresses).start()
    for validator in validators:
        validator.connect()
    won = [0, 0]
    for height in range(1, 151):
        for kind in (PROPOSAL, PREVOTE, PRECOMMIT):
            order = [0, 1] if height % 2 else [1, 0]
            for number in order:
                validators[number].send(**ballot(kind, height, block=("aa", "bb")[number]))
            answers = [validator.receive() for validator in validators]
            signed = [number for number in (0, 1) if answers[number].get("signature")]
            assert len(signed) == 1, (height, kind, answers)
            assert answers[signed[0]]["verified"]
            assert answers[1 - signed[0]]["remote"]
            won[signed[0]] += 1
    assert sum(won) == 450


def test_several_chains_have_their_own_keys_watermarks_and_connections(
    make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    from tests.e2e.node import cmkms

    addresses = {"chain-a": free_tcp(), "chain-b": free_tcp()}
    node = make_node()
    tables = "".join(
        f'\n[[chain]]\nid = "{chain}"\nvalidator_addr = "{address}"\n' for chain, address in addresses.items()
    )
    config = node.home / "config.toml"
    lines = [line for line in config.read_text().splitlines() if not line.startswith(("chain_id", "validator_addr"))]
    config.write_text("\n".join(lines) + tables)
    for chain in addresses:
        done = cmkms("keys", "new", "--home", str(node.home), "--chain-id", chain)
        assert done.returncode == 0, done.stderr
        (node.home / "priv" / chain / "priv_validator_state.json").write_text('{"height":"0","round":0,"step":0}')
    validators = {chain: make_validator(address, chain=chain) for chain, address in addresses.items()}
    node.start()
    keys = {chain: validator.connect() for chain, validator in validators.items()}
    assert len(set(keys.values())) == 2
    validators["chain-a"].must_sign(PRECOMMIT, 100)
    validators["chain-b"].must_sign(PRECOMMIT, 5)
    assert "regression" in validators["chain-a"].must_refuse(PRECOMMIT, 5)
    marks = until(
        "the status shows both",
        lambda: [chain["watermark"]["height"] for chain in node.status()["chains"]] == [100, 5],
    )
    assert marks
