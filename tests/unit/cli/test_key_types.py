"""Keys of types beside ed25519, command by command: made, shown, imported, sealed, moved in and
out; and refused by name.
"""

import base64
import json
from pathlib import Path

import pytest

from cometkms.core import choose
from cometkms.errors import KeyFileError
from cometkms.keys.validator_key import load_key_slot, load_public_key
from cometkms.keytypes import KEY_TYPES, by_name, type_of
from cometkms.operator.moving import tmkms
from tests.e2e.node import cmkms as separately
from tests.e2e.node import environment
from tests.unit.cli.inside import cmkms
from tests.unit.cli.test_cli import tree
from tests.vectors.vectors import HERE

CHAIN = "chain-a"
OTHERS = [one.name for one in KEY_TYPES if one.name != "ed25519"]
VECTORS = json.loads((HERE / "v040/signatures_v040.json").read_text())["keys"]


def vector(name: str) -> dict:
    return next(key for key in VECTORS if key["key_type"] == name)


def init(path: Path, *arguments: str) -> Path:
    done = cmkms("init", "--home", str(path), "--chain-id", CHAIN, "--validator-addr", "tcp://127.0.0.1:1", *arguments)
    assert done.returncode == 0, done.stderr
    return path


def key_of(home: Path) -> Path:
    return home / "priv" / "priv_validator_key.json"


def shown(home: Path) -> dict:
    return json.loads(cmkms("keys", "show", "--home", str(home), "--json").stdout)


@pytest.fixture(params=OTHERS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_new_key_has_the_type_that_was_asked_for(tmp_path: Path, name: str) -> None:
    made = init(tmp_path / "one", "--new-key", "--type", name)
    other = init(tmp_path / "two")
    done = cmkms("keys", "new", "--home", str(other), "--type", name)
    assert done.returncode == 0, done.stderr
    for home in (made, other):
        key_type = by_name(name)
        assert type_of(load_public_key(key_of(home))) is key_type
        facts = shown(home)
        assert (facts["type"], facts["cometbft"]["type"]) == (name, key_type.public_json)
        assert (facts["cosmos"] is None) == (key_type.cosmos == "")
        words = cmkms("keys", "show", "--home", str(home)).stdout
        assert f"type      {name}\naddress   {facts['address']}\n" in words
    assert key_of(made).read_bytes() != key_of(other).read_bytes()
    # never overwritten
    assert cmkms("keys", "new", "--home", str(other), "--type", name).returncode == 4


def test_a_key_is_imported_as_what_it_is(tmp_path: Path, name: str) -> None:
    """A file tells its type; 32 bytes do not, and are an ed25519 seed unless the
    operator says what they are.
    """
    case = vector(name)
    (tmp_path / "key.json").write_text(json.dumps(case["key_file"]))
    (tmp_path / "key.hex").write_text(case["private_key"])
    (tmp_path / "key.base64").write_text(case["key_file"]["priv_key"]["value"] + "\n")
    for number, (file, options, found) in enumerate(
        [
            ("key.json", (), name),
            ("key.json", ("--type", name), name),
            ("key.hex", ("--type", name), name),
            ("key.base64", ("--type", name), name),
            ("key.base64", (), "ed25519"),
        ]
    ):
        home = init(tmp_path / f"home{number}")
        done = cmkms("keys", "import", "--home", str(home), *options, str(tmp_path / file))
        assert done.returncode == 0, done.stderr
        facts = shown(home)
        assert facts["type"] == found
        if found == name:
            assert json.loads(key_of(home).read_text()) == case["key_file"]
            assert (facts["address"], facts["cometbft"]) == (case["address"].upper(), case["key_file"]["pub_key"])
    home = init(tmp_path / "last")
    refused = cmkms("keys", "import", "--home", str(home), "--type", "ed25519", str(tmp_path / "key.json"))
    assert (refused.returncode, key_of(home).exists()) == (4, False)
    assert f"holds a key of type {name}, and ed25519 was asked for" in refused.stderr


def test_a_trial_cluster_has_one_new_key_of_the_type_that_was_asked_for(tmp_path: Path, name: str) -> None:
    done = cmkms("testnet", "--dir", str(tmp_path / "net"), "--type", name)
    assert done.returncode == 0, done.stderr
    homes = [tmp_path / "net" / f"node{n}" for n in range(3)]
    public_keys = {load_public_key(key_of(home)) for home in homes}
    assert {type_of(one) for one in public_keys} == {by_name(name)}
    assert f"key   {shown(homes[0])['address']}, {name}, new, the same on every node" in done.stdout
    asked = ("--dir", str(tmp_path / "more"), "--key-file", str(key_of(homes[0])), "--chain-id", "c", "--json")
    copied = json.loads(cmkms("testnet", *asked).stdout)
    assert (copied["key"]["type"], copied["key"]["address"]) == (name, shown(homes[0])["address"])


def test_a_type_without_a_key_to_make_is_refused(tmp_path: Path) -> None:
    refused = cmkms("init", "--home", str(tmp_path / "home"), "--type", "secp256k1")
    assert (refused.returncode, (tmp_path / "home").exists()) == (2, False)
    assert "--type is of the key that --new-key makes" in refused.stderr


@pytest.mark.parametrize(
    ("wanted", "why"), [("ml_dsa_65", "is not supported: no library signs ml_dsa_65"), ("rsa", "is not known")]
)
def test_a_type_that_is_not_there_is_refused_by_name(tmp_path: Path, wanted: str, why: str) -> None:
    home = init(tmp_path / "home")
    before = tree(home)
    for command in (
        ("keys", "new", "--home", str(home), "--type", wanted),
        ("keys", "import", "--home", str(home), "--type", wanted, "-"),
        ("init", "--home", str(tmp_path / "no"), "--new-key", "--type", wanted),
        ("testnet", "--dir", str(tmp_path / "no"), "--type", wanted),
    ):
        refused = cmkms(*command)
        assert refused.returncode == 2
        assert f"the key type {wanted!r} {why}" in refused.stderr
    assert tree(home) == before
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("cometbft/PrivKeyMlDsa65", "no library signs ml_dsa_65"),
        ("ethermint/PrivKeyEthSecp256k1", "no consensus key of CometBFT"),
        ("example/PrivKeyOther", "supported are tendermint/PrivKeyEd25519, tendermint/PrivKeySecp256k1"),
    ],
)
def test_a_key_file_of_another_type_is_refused_by_name(tmp_path: Path, kind: str, words: str) -> None:
    case = vector("secp256k1")
    file = {**case["key_file"], "priv_key": {"type": kind, "value": case["key_file"]["priv_key"]["value"]}}
    home = init(tmp_path / "home")
    (tmp_path / "key.json").write_text(json.dumps(file))
    refused = cmkms("keys", "import", "--home", str(home), str(tmp_path / "key.json"))
    assert refused.returncode == 4
    assert words in refused.stderr
    key_of(home).write_text(json.dumps(file))
    key_of(home).chmod(0o600)
    for run, command in ((cmkms, ("keys", "show")), (cmkms, ("state", "show")), (separately, ("start",))):
        refused = run(*command, "--home", str(home))
        assert refused.returncode == 4, command
        assert words in refused.stderr
        assert case["key_file"]["priv_key"]["value"] not in refused.stderr


@pytest.mark.parametrize(
    ("name", "public", "words"),
    [
        ("secp256k1", bytes([4]) + bytes(64), "an uncompressed one has 65"),
        ("secp256k1eth", bytes([4]) + bytes(64), "an uncompressed one has 65"),
        ("secp256k1", bytes(32), "is no tendermint/PubKeySecp256k1 of 33 bytes"),
    ],
)
def test_a_public_key_of_another_form_is_refused_in_words(tmp_path: Path, name: str, public: bytes, words: str) -> None:
    home, case = init(tmp_path / "home"), vector(name)
    document = {**case["key_file"]}
    document["pub_key"] = {**document["pub_key"], "value": base64.b64encode(public).decode()}
    key_of(home).write_text(json.dumps(document))
    key_of(home).chmod(0o600)
    refused = cmkms("keys", "show", "--home", str(home))
    assert refused.returncode == 4
    assert words in refused.stderr


def test_an_address_or_public_key_that_is_not_the_keys_is_refused(tmp_path: Path, name: str) -> None:
    home, case = init(tmp_path / "home"), vector(name)
    other = next(key for key in VECTORS if key["key_type"] == name and key["address"] != case["address"])
    for part in ("address", "pub_key"):
        key_of(home).write_text(json.dumps({**case["key_file"], part: other["key_file"][part]}))
        key_of(home).chmod(0o600)
        assert cmkms("keys", "show", "--home", str(home)).returncode == 4
    key_of(home).write_text(json.dumps({**other["key_file"], "priv_key": case["key_file"]["priv_key"]}))
    key_of(home).chmod(0o600)
    with pytest.raises(KeyFileError, match="is not the public key of its priv_key"):
        load_key_slot(choose.load(), key_of(home), CHAIN)


def test_a_sealed_key_of_the_type_opens_to_the_letter(tmp_path: Path, name: str) -> None:
    home = init(tmp_path / "home", "--new-key", "--type", name)
    plain, public_key = key_of(home).read_bytes(), load_public_key(key_of(home))
    word = tmp_path / "word"
    word.write_text("correct horse battery\n")
    word.chmod(0o600)
    done = cmkms("keys", "encrypt", "--home", str(home), "--memory-mib", "8", "--passphrase-file", str(word))
    assert done.returncode == 0, done.stderr
    document = json.loads(key_of(home).read_text())
    assert document["sealed_key"]["format"] == "cometkms-sealed-2"
    assert load_public_key(key_of(home)) == public_key
    assert shown(home)["sealed"] is True
    done = cmkms("keys", "decrypt", "--home", str(home), "--passphrase-file", str(word))
    assert done.returncode == 0, done.stderr
    assert key_of(home).read_bytes() == plain


def test_filepvs_home_comes_in_and_goes_out(tmp_path: Path, name: str) -> None:
    """With the signature at its place, which is known because it verifies."""
    case = vector(name)
    signed = next(one for one in case["signed"] if one["kind"] == "vote")
    parsed = choose.load().parse_sign_bytes(bytes.fromhex(signed["sign_bytes"]))
    old = tmp_path / "old"
    old.mkdir()
    (old / "config").mkdir()
    (old / "data").mkdir()
    (old / "config" / "priv_validator_key.json").write_text(json.dumps(case["key_file"]))
    (old / "config" / "priv_validator_key.json").chmod(0o600)
    state = {
        "height": str(parsed.hrs.height),
        "round": parsed.hrs.round,
        "step": parsed.hrs.step,
        "signature": base64.b64encode(bytes.fromhex(signed["signature"])).decode(),
        "signbytes": signed["sign_bytes"].upper(),
    }
    (old / "data" / "priv_validator_state.json").write_text(json.dumps(state))
    home = tmp_path / "home"
    done = cmkms("init", "--home", str(home), "--chain-id", signed["chain_id"], "--validator-addr", "tcp://127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    done = cmkms("import", "--home", str(home), "--from", "filepv", str(old), "--yes")
    assert done.returncode == 0, done.stderr
    assert case["address"].upper() in done.stdout
    assert json.loads((home / "priv" / "priv_validator_state.json").read_text()) == state
    out = tmp_path / "out"
    done = cmkms("export", "--home", str(home), "--to", "filepv", str(out), "--yes")
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "priv_validator_key.json").read_text()) == case["key_file"]
    assert json.loads((out / "priv_validator_state.json").read_text()) == state


def test_tmkms_never_gets_a_key_that_it_takes_for_an_ed25519_one(tmp_path: Path, name: str) -> None:
    """Its own form is 32 bytes without a type: read as ed25519 they are another validator's key."""
    home = init(tmp_path / "home", "--new-key", "--type", name)
    before = tree(home)
    refused = cmkms("export", "--home", str(home), "--to", "tmkms", str(tmp_path / "out"), "--yes")
    assert (refused.returncode, (tmp_path / "out").exists(), tree(home)) == (4, False, before)
    assert name in refused.stderr
    toml = tmp_path / "tmkms"
    toml.mkdir()
    (toml / "tmkms.toml").write_text(
        f'[[chain]]\nid = "{CHAIN}"\nstate_file = "{toml}/s.json"\n'
        f'[[providers.softsign]]\nchain_ids = ["{CHAIN}"]\nkey_format = "json"\npath = "{toml}/k.json"\n'
    )
    done = cmkms("export", "--home", str(home), "--to", "tmkms", str(toml), "--yes")
    if name != "secp256k1":
        assert done.returncode == 4
        assert f"tmkms has no keys of type {name}" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    assert (toml / "k.json").read_bytes() == key_of(home).read_bytes()
    with tmkms.read_key(toml / "k.json", choose.load()) as back:
        assert back.public_key == load_public_key(key_of(home))


def test_without_the_library_the_package_and_the_extra_are_named(tmp_path: Path, name: str) -> None:
    """A package of that name without the extension file stands before the real one."""
    home, key_type = init(tmp_path / "home", "--new-key", "--type", name), by_name(name)
    package, extra = key_type.package, f"cometkms[{key_type.extra}]"
    (tmp_path / "first" / package).mkdir(parents=True)
    (tmp_path / "first" / package / "__init__.py").touch()
    bare = environment(PYTHONPATH=str(tmp_path / "first"))
    words = f"keys of type {name} need the package {package}, which is not installed; cure: pip install '{extra}'"
    for command in (
        ("start", "--home", str(home)),
        ("init", "--home", str(tmp_path / "no"), "--new-key", "--type", name),
    ):
        refused = separately(*command, env=bare)
        assert refused.returncode == 1
        assert words in refused.stderr + refused.stdout
    assert not (tmp_path / "no").exists()
    assert f"{name} (with {extra})" in separately("version", env=bare).stdout
    assert f" {name}" in separately("version").stdout.replace(",", "\n")
    doctor = separately("doctor", "--home", str(home), "--json", env=bare)
    findings = [one for one in json.loads(doctor.stdout)["findings"] if one["area"] == "key"]
    assert [(one["level"], one["cure"]) for one in findings if package in one["words"]] == [
        ("fail", f"pip install '{extra}'")
    ]
    # for that no library is needed
    assert separately("keys", "show", "--home", str(home), env=bare).returncode == 0
