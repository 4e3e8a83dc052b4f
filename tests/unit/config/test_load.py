"""Settings: precedence, every bad value, [[chain]] tables, scaffold."""

import errno
import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cometkms.address import Address
from cometkms.config.load import default_home, load_settings, read_config
from cometkms.config.scaffold import init_home
from cometkms.config.schema import AlertBounds
from cometkms.config.table import BY_KEY, CHAIN_KEYS, EXAMPLES, KEYS, Flags
from cometkms.config.values import parse_duration, parse_lease, parse_peer, parse_validator
from cometkms.errors import ConfigError
from cometkms.keys.passphrase import PassphraseCredential, PassphraseDescriptor, PassphraseFile
from cometkms.limits import AUDIT_DEFAULT_MIB, LEASE_MAX_S, LEASE_MIN_S, SIGNER_LEASE_RENEW_S
from cometkms.model import AllowedBytes
from cometkms.net.target import UnixTarget
from cometkms.state.raft.log import HEARTBEAT_S

MINIMAL = 'chain_id = "c-1"\nvalidator_addr = "tcp://127.0.0.1:26658"\n'
#: key → (flag, variable, file) and what each gives
SOURCES = {
    "id": (("f", "v", '"t"'), ("f", "v", "t")),
    "raft_addr": (("1.1.1.1:1", "2.2.2.2:2", '"3.3.3.3:3"'), ("1.1.1.1:1", "2.2.2.2:2", "3.3.3.3:3")),
    "http_addr": ((":1", ":2", '":3"'), (":1", ":2", ":3")),
    "log_level": (("debug", "error", '"info"'), ("debug", "error", "info")),
    "log_format": (("json", "plain", '"json"'), ("json", "plain", "json")),
    "allow_unsafe": ((False, "true", "false"), (False, True, False)),
    "strict_start": ((True, "no", "true"), (True, False, True)),
    "realtime": ((True, "off", "true"), (True, False, True)),
    "tcp_max_segment": (("1200", "536", "8960"), (1200, 536, 8960)),
    "raft_published": (("f:1", "v:2", '"t:3"'), ("f:1", "v:2", "t:3")),
    "leader_priority": (("0", "nearest", "70"), ("0", "nearest", "70")),
    "noise_identity_file": (("/f", "/v", '"/t"'), (Path("/f"), Path("/v"), Path("/t"))),
}


def home_with(tmp_path: Path, text: str) -> Path:
    (tmp_path / "config.toml").write_text(text)
    return tmp_path


@pytest.mark.parametrize("key", SOURCES)
@pytest.mark.parametrize("given", list(itertools.product([False, True], repeat=3)))
def test_flag_over_variable_over_file_over_default(key: str, given: tuple[bool, bool, bool], tmp_path: Path) -> None:
    (flag, variable, in_file), expected = SOURCES[key]
    home = home_with(tmp_path, MINIMAL + (f"{key} = {in_file}\n" if given[2] else ""))
    environment = {BY_KEY[key].variable: str(variable)} if given[1] else {}
    settings = load_settings(home, Flags(**({key: flag} if given[0] else {})), environment)
    found = getattr(settings, key)
    found = str(found) if isinstance(found, Address) else found
    if True in given:
        assert found == expected[given.index(True)]
    else:
        defaults = load_settings(home_with(tmp_path, MINIMAL), Flags(), {})
        value = getattr(defaults, key)
        assert found == (str(value) if isinstance(value, Address) else value)


ONE_CHAIN = '[[chain]]\nid = "d"\nvalidator_addr = "tcp://b:1"\n'


def test_nothing_is_signed_besides_votes_unless_the_chain_says_so(tmp_path: Path) -> None:
    """By flag, variable or file in the one-chain form, and by each chain's own table."""
    asked = 'sign_bytes = true\nraw_bytes_unique_ids = ["fiber-commitment", "fibre/pp:v0"]\n'
    both = AllowedBytes(values=True, unique_ids=("fiber-commitment", "fibre/pp:v0"))
    variables = {"COMETKMS_SIGN_BYTES": "yes", "COMETKMS_RAW_BYTES_UNIQUE_IDS": "fiber-commitment, fibre/pp:v0"}

    def allowed(text: str, flags: Flags = Flags(), environment: dict[str, str] | None = None) -> AllowedBytes:  # noqa: B008 - frozen
        return load_settings(home_with(tmp_path, text), flags, environment or {}).chains[0].allowed_bytes

    assert allowed(MINIMAL) == AllowedBytes()
    assert allowed(MINIMAL + asked) == allowed(MINIMAL, environment=variables) == both
    flagged = Flags(sign_bytes=False, raw_bytes_unique_ids=("x",))
    assert allowed(MINIMAL + asked, flagged, variables) == AllowedBytes(unique_ids=("x",))
    assert allowed(ONE_CHAIN + asked) == both
    assert allowed(ONE_CHAIN + 'raw_bytes_unique_ids = "x"\n') == AllowedBytes(unique_ids=("x",))
    other = '[[chain]]\nid = "e"\nvalidator_addr = "tcp://b:2"\n'
    settings = load_settings(home_with(tmp_path, ONE_CHAIN + asked + other), Flags(), {})
    assert [one.allowed_bytes for one in settings.chains] == [both, AllowedBytes()]


def test_lists_come_from_repeated_flags_commas_or_arrays(tmp_path: Path) -> None:
    home = home_with(tmp_path, 'chain_id = "c-1"\nvalidator_addr = ["tcp://a:1", "b:2"]\npeer = ["x=h:1"]\n')
    addresses = load_settings(home, Flags(id="x", raft_addr=":1"), {}).chains[0].validator_addrs
    assert [one.target for one in addresses] == [Address("a", 1), Address("b", 2)]
    variables = {
        "COMETKMS_VALIDATOR_ADDR": "unix:///s, tcp://[::1]:3",
        "COMETKMS_PEER": "x=h:1,y=h:2",
        "COMETKMS_ID": "y",
    }
    variables["COMETKMS_RAFT_ADDR"] = ":2"
    settings = load_settings(home, Flags(), variables)
    assert [one.target for one in settings.chains[0].validator_addrs] == [UnixTarget("/s"), Address("::1", 3)]
    assert [peer.id for peer in settings.peers] == ["x", "y"]
    flagged = load_settings(home, Flags(validator_addr=("tcp://f:9",)), variables)
    assert [str(one) for one in flagged.chains[0].validator_addrs] == ["tcp://f:9"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("chain_idd = 'x'\n" + MINIMAL, "did you mean 'chain_id'"),
        ("frobnicate = 1\n" + MINIMAL, "unknown key 'frobnicate'"),
        ("id = 5\n" + MINIMAL, "id = 5 must be a string"),
        ("allow_unsafe = 'yes'\n" + MINIMAL, "must be true or false"),
        ("peer = [1]\n" + MINIMAL, "must be a list of strings"),
        ("not toml", "is no TOML"),
        ("log_level = 'loud'\n" + MINIMAL, "'loud' is unknown; use one of debug, info, error"),
        ("log_format = 'xml'\n" + MINIMAL, "'xml' is unknown"),
        ("http_addr = '8080'\n" + MINIMAL, "write it as host:port"),
        ("raft_addr = 'h:99999'\n" + MINIMAL, "port from 1 to 65535"),
        ("default_ttl = '4 parsecs'\n" + MINIMAL, "no duration"),
        ("alert_stall = '5'\n" + MINIMAL, "'5' is no duration"),
        ("alert_disk = 5\n" + MINIMAL, "alert_disk = 5 must be a string"),
        ("peer = ['a']\n" + MINIMAL, "write it as id=host:port"),
        ("peer = ['a=h:1', 'a=h:2']\n" + MINIMAL, "'a' is named more than once"),
        ("id = '../x'\n" + MINIMAL, "no node id"),
        ('chain_id = "c"\n', "there is no validator address"),
        ('validator_addr = "tcp://a:1"\n', "there is no chain id"),
        ('chain_id = "c"\nvalidator_addr = "noise://x@1.2.3.4:5"\n', "no peer id of an ed25519 key"),
        ('chain_id = "c"\nvalidator_addr = "noise://1.2.3.4:5"\n', "no noise address"),
        ('chain_id = "c"\nvalidator_addr = "http://a:1"\n', "unknown scheme 'http'"),
        ('chain_id = "c"\nvalidator_addr = "tcp://a b:1"\n', "no valid host"),
        ('chain_id = "c"\nvalidator_addr = ["tcp://a:1", "tcp://a:1"]\n', "configured more than once"),
        (
            f'chain_id = "{"c" * 51}"\nvalidator_addr = "tcp://a:1"\n',
            "more than 50 bytes: no genesis of CometBFT's has",
        ),
        (
            'chain_id = "c"\nvalidator_addr = "unix://rel/a.sock"\n',
            "is not absolute: where it leads depends on who starts the node; cure: unix:///",
        ),
        (
            '[[chain]]\nid = ".."\nvalidator_addr = "b:1"\n[[chain]]\nid = "../../y"\nvalidator_addr = "b:2"\n',
            "configured more than once: a chain id like '..' names no folder of its own; cure: key_file and state_file in the [[chain]]",
        ),
        (
            '[[chain]]\nid = "born.json"\nvalidator_addr = "b:1"\n[[chain]]\nid = "cluster.key"\nvalidator_addr = "b:2"\n',
            "configured more than once: a chain id like 'born.json' names no folder of its own; cure: key_file and state_file in the [[chain]]",
        ),
        (
            '[[chain]]\nid = "d"\nvalidator_addr = "b:1"\nkey_file = "priv/k"\nstate_file = "priv/../priv/k"\n',
            "the state would be written over the key; cure: a file of its own for each",
        ),
        (
            '[[chain]]\nid = "d"\nvalidator_addr = "b:1"\nkey_file = "k"\nstate_file = "s"\n'
            '[[chain]]\nid = "e"\nvalidator_addr = "b:2"\nkey_file = "l"\nstate_file = "k"\n',
            "the state would be written over the key",
        ),
        *(
            (
                f'[[chain]]\nid = "d"\nvalidator_addr = "b:1"\n{what} = "{path}"\n',
                "a node keeps a file of that name itself; cure: another name",
            )
            for what in ("key_file", "state_file")
            for path in ("config.toml", "priv/born.json", "data/x/promises", "/elsewhere/exported.json")
            if (what, path) != ("key_file", "/elsewhere/exported.json")
        ),
        (MINIMAL + '[[chain]]\nid = "d"\nvalidator_addr = "tcp://b:1"\n', "exclude each other"),
        (
            '[[chain]]\nid = "d"\nvalidator_addr = "tcp://b:1"\nkey = "x"\n',
            "known keys: id, validator_addr, agents, sign_bytes, raw_bytes_unique_ids, key_file, state_file",
        ),
        ('[[chain]]\nid = "d"\nvalidator_addr = "b:1"\n[[chain]]\nid = "d"\nvalidator_addr = "b:2"\n', "chain id d"),
        ("chain = 5\n", "chain = 5 must be [[chain]] tables; cure: for one chain chain_id ="),
        (MINIMAL + "chain = [1]\n", "chain = [1] must be [[chain]] tables; cure: for one chain chain_id ="),
        (MINIMAL + '[chain]\nid = "d"\n', "[chain] in single brackets is one table; cure: [[chain]]"),
        (
            "hardening = true\n" + MINIMAL,
            'hardening = true must be a string; cure: write it as hardening = "best-effort"',
        ),
        ("alert_stall = 60\n" + MINIMAL, 'alert_stall = 60 must be a string; cure: write it as alert_stall = "60s"'),
        (
            "leader_priority = 1.5\n" + MINIMAL,
            'leader_priority = 1.5 must be a number or "nearest"; cure: write it as leader_priority = 50',
        ),
        ('key_passphrase_file = "a\\u0000"\n' + MINIMAL, "key_passphrase_file: 'a\\x00' is no file's path"),
        ('alert_webhook_file = " "\n' + MINIMAL, "alert_webhook_file: ' ' is no file's path"),
        (
            'noise_identity_file = "~no-such-user/x"\n' + MINIMAL,
            "noise_identity_file: '~no-such-user/x' begins at the home of a user that is not",
        ),
        (
            '[[chain]]\nid = "d"\nvalidator_addr = "b:1"\nkey_file = "\\u0000"\n',
            "chain 1: key_file: '\\x00' is no file's path",
        ),
        (
            '[[chain]]\nid = "d"\nvalidator_addr = "b:1"\nstate_file = "\\n"\n',
            "chain 1: state_file: '\\n' is no file's path",
        ),
        (
            'chain_id = "c"\nvalidator_addr = "tcp://a:1,tcp://b:2"\n',
            "'tcp://a:1,tcp://b:2' is several addresses in one; cure: a list in the file",
        ),
        (
            'chain_id = " c"\nvalidator_addr = "tcp://a:1"\n',
            "' c' is no chain id: printable characters without outer spaces",
        ),
        ("agents = 1\n" + MINIMAL, 'write it as agents = ["NAME:KEY"], as `cmkms agent init` prints it'),
        ('[[chain]]\nid = "d"\nvalidator_addr = "b:1"\nkey_file = 5\n', 'write it as key_file = "priv/'),
        ("sign_bytes = 'yes'\n" + MINIMAL, "must be true or false"),
        ("raw_bytes_unique_ids = [1]\n" + MINIMAL, "must be a list of strings"),
        ("raw_bytes_unique_ids = ['']\n" + MINIMAL, "raw_bytes_unique_ids: '' is no unique id of raw bytes"),
        ("raw_bytes_unique_ids = ['a\\u001b']\n".replace("'", '"') + MINIMAL, "is no unique id of raw bytes"),
        (f"raw_bytes_unique_ids = ['{'i' * 129}']\n" + MINIMAL, "of at most 128 bytes"),
        (
            f"raw_bytes_unique_ids = {[str(n) for n in range(9)]}\n" + MINIMAL,
            "c-1 has 9 raw_bytes_unique_ids; at most 8",
        ),
        ("raw_bytes_unique_ids = ['x', 'x']\n" + MINIMAL, "the unique id x of c-1 is given more than once"),
        ("sign_bytes = true\n" + ONE_CHAIN, "exclude each other"),
        ("raw_bytes_unique_ids = ['x']\n" + ONE_CHAIN, "exclude each other"),
    ],
)
def test_bad_settings_name_the_place_and_the_cure(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_settings(home_with(tmp_path, text), Flags(), {})
    assert words in str(error.value)


@pytest.mark.parametrize("key", [key for key in (KEYS | CHAIN_KEYS) if key != "chain"])
def test_what_a_wrong_type_is_told_to_be_written_as_is_of_the_right_one(key: str, tmp_path: Path) -> None:
    """The line as the cure has it is taken for this key: nothing of it is told to be of
    a wrong type.
    """
    example = EXAMPLES[key].removesuffix(BY_KEY[key].hint) if key in BY_KEY else EXAMPLES[key]
    table = "" if key in KEYS else "[[chain]]\n"
    document = read_config(home_with(tmp_path, f"{table}{key} = {example}\n"))
    assert key in (document["chain"][0] if table else document)


@pytest.mark.parametrize(
    ("text", "used"),
    [
        (MINIMAL + ONE_CHAIN, "chain_id, validator_addr"),
        ('chain_id = "c"\n' + ONE_CHAIN, "chain_id"),
        ("agents = []\nsign_bytes = true\n" + ONE_CHAIN, "sign_bytes"),
        ('chain_id = "c"\nraw_bytes_unique_ids = ["x"]\n' + ONE_CHAIN, "chain_id, raw_bytes_unique_ids"),
    ],
)
def test_the_one_chain_settings_beside_tables_are_named_as_they_stand_there(
    text: str, used: str, tmp_path: Path
) -> None:
    """Those that are given and no others; one that comes from elsewhere with where it comes from."""
    with pytest.raises(ConfigError, match=rf"one-chain form \({used}\) exclude each other; cure: take those out"):
        load_settings(home_with(tmp_path, text), Flags(), {})
    with pytest.raises(ConfigError, match=r"one-chain form \(COMETKMS_CHAIN_ID, --sign-bytes\) exclude"):
        load_settings(home_with(tmp_path, ONE_CHAIN), Flags(sign_bytes=True), {"COMETKMS_CHAIN_ID": "c"})


def test_settings_that_exclude_each_other_are_named_once_each_with_what_to_do(tmp_path: Path) -> None:
    text = MINIMAL + 'key_passphrase_file = "a"\nkey_passphrase_credential = "b"\nkey_passphrase_fd = 3\n'
    with pytest.raises(ConfigError) as error:
        load_settings(home_with(tmp_path, text), Flags(), {})
    assert str(error.value) == (
        f"{tmp_path}/config.toml: key_passphrase_file, key_passphrase_credential and key_passphrase_fd exclude each other: the passphrase comes "
        "from one place; cure: keep one and take the others out"
    )
    with pytest.raises(
        ConfigError, match=r"^--key-passphrase-file and .*config\.toml: key_passphrase_fd exclude .*take the other out"
    ):
        load_settings(home_with(tmp_path, MINIMAL + "key_passphrase_fd = 3\n"), Flags(key_passphrase_file="a"), {})


def test_an_account_that_is_not_there_is_told_with_the_other_faults_where_the_node_would_run(tmp_path: Path) -> None:
    """A command that only reads a home, on any machine, does not ask for it; nor does who switched
    the protections off.
    """
    home = home_with(tmp_path, MINIMAL + 'signer_user = "nobody-has-this"\nlog_level = "warn"\n')
    with pytest.raises(ConfigError) as error:
        load_settings(home, Flags(), {}, here=True)
    assert [str(one).split(";")[0].rpartition("/")[2] for one in error.value.parts] == [
        "config.toml: log_level: 'warn' is unknown",
        "config.toml: signer_user: there is no account 'nobody-has-this'",
    ]
    assert error.value.parts[1].cure.startswith("useradd --system")
    home = home_with(tmp_path, MINIMAL + 'signer_user = "nobody-has-this"\n')
    assert load_settings(home, Flags(), {}).signer_user == "nobody-has-this"
    assert load_settings(home, Flags(hardening="off"), {}, here=True).signer_user == "nobody-has-this"


def test_a_home_that_nobody_made_is_told_as_such_and_one_without_a_chain_by_its_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere does not exist: .*cure: cmkms init --home"):
        load_settings(tmp_path / "nowhere", Flags(), {})
    with pytest.raises(ConfigError, match=r"config\.toml: at least one validator address"):
        load_settings(home_with(tmp_path, ""), Flags(), {})


ALERTS = ("alert_stall", "alert_latency", "alert_disk")


@pytest.mark.parametrize("key", ALERTS)
def test_alert_bounds_come_from_flag_variable_file_or_default(key: str, tmp_path: Path) -> None:
    number = ALERTS.index(key)

    def bound(flags: Flags, variables: dict[str, str]) -> float | None:
        found = load_settings(home, flags, variables).alerts
        return (found.stall_s, found.latency_s, found.disk_s)[number]

    home = home_with(tmp_path, MINIMAL)
    assert bound(Flags(), {}) == (60.0, 0.25, None)[number]
    home = home_with(tmp_path, MINIMAL + f'{key} = "3s"\n')
    assert bound(Flags(), {}) == 3
    assert bound(Flags(), {BY_KEY[key].variable: "2s"}) == 2
    assert bound(Flags(**{key: "0s"}), {BY_KEY[key].variable: "2s"}) == 0


def test_the_defaults_of_the_bounds_are_the_same_in_both_places(tmp_path: Path) -> None:
    assert load_settings(home_with(tmp_path, MINIMAL), Flags(), {}).alerts == AlertBounds()


def test_http_is_this_machines_alone_unless_told_otherwise(tmp_path: Path) -> None:
    assert load_settings(home_with(tmp_path, MINIMAL), Flags(), {}).http_addr == Address("127.0.0.1", 8080)
    assert load_settings(tmp_path, Flags(http_addr=":8080"), {}).http_addr == Address("", 8080)
    init_home(tmp_path / "new", chain_id="c", validator_addrs=("tcp://a:1",))
    made = load_settings(tmp_path / "new", Flags(), {})
    assert (made.http_addr, made.alerts) == (Address("127.0.0.1", 8080), AlertBounds())


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_settings(home_with(tmp_path, "log_level = 'x'\nlog_format = 'y'\nhttp_addr = 'z'\n"), Flags(), {})
    assert len(str(error.value).splitlines()) == 4


def test_several_chains_have_their_own_files(tmp_path: Path) -> None:
    text = '[[chain]]\nid = "a"\nvalidator_addr = "h:1"\n[[chain]]\nid = "b"\nvalidator_addr = ["h:2"]\nkey_file = "k.json"\n'
    first, second = load_settings(home_with(tmp_path, text), Flags(), {}).chains
    assert first.key_file == tmp_path / "priv" / "a" / "priv_validator_key.json"
    assert second.key_file == tmp_path / "k.json"
    assert second.state_file == tmp_path / "priv" / "b" / "priv_validator_state.json"


@pytest.mark.parametrize(
    ("text", "seconds"), [("400ms", 0.4), ("1.5s", 1.5), ("1m30s", 90), ("2h", 7200), ("5us", 5e-6)]
)
def test_go_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "ms", "1 s", "-1s", "1s2", "٣s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_duration(text)


def test_addresses_of_the_go_original() -> None:
    assert Address.parse(":8080") == Address("", 8080)
    assert str(Address.parse("[::1]:80")) == "[::1]:80"
    assert parse_validator("10.0.0.1:26658").target == Address("10.0.0.1", 26658)
    assert parse_validator("unix:///tmp/x.sock").target == UnixTarget("/tmp/x.sock")
    assert parse_peer("node-0=10.0.0.10:9430").address == Address("10.0.0.10", 9430)


def test_init_makes_what_is_missing_and_keeps_the_rest(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = init_home(home, node_id="n", chain_id='c"1', validator_addrs=("tcp://a:1",)).made
    assert {path.name for path in made} == {"home", "data", "priv", "config.toml"}
    settings = load_settings(home, Flags(), {})
    assert (settings.id, settings.chains[0].id) == ("n", 'c"1')
    before = (home / "config.toml").read_bytes()
    again = init_home(home, node_id="other")
    assert (again.made, (home / "config.toml").read_bytes()) == ([], before)


# --- the passphrase of sealed keys ---


def passphrase_of(home: Path, *, flags: dict[str, str] | None = None, **variables: str) -> object:
    (home / "config.toml").touch()
    filled = Flags(chain_id="c", validator_addr=("tcp://127.0.0.1:1",), id="n", **flags or {})
    return load_settings(home, filled, variables).key_passphrase


def test_the_passphrase_comes_from_a_file_a_credential_or_a_descriptor(tmp_path: Path) -> None:
    assert passphrase_of(tmp_path) is None
    (tmp_path / "config.toml").write_text('key_passphrase_file = "priv/word"')
    assert passphrase_of(tmp_path) == PassphraseFile(tmp_path / "priv" / "word")
    assert passphrase_of(tmp_path, COMETKMS_KEY_PASSPHRASE_FILE="/a/b") == PassphraseFile(Path("/a/b"))
    assert passphrase_of(tmp_path, flags={"key_passphrase_file": "/c"}) == PassphraseFile(Path("/c"))
    (tmp_path / "config.toml").write_text('key_passphrase_credential = "cmkms"')
    found = passphrase_of(tmp_path, CREDENTIALS_DIRECTORY="/run/x")
    assert isinstance(found, PassphraseCredential)
    assert (found.name, found.environment["CREDENTIALS_DIRECTORY"]) == ("cmkms", "/run/x")
    for written in ("key_passphrase_fd = 0", "key_passphrase_fd = 7"):
        (tmp_path / "config.toml").write_text(written)
        assert passphrase_of(tmp_path) == PassphraseDescriptor(int(written[-1]))
    (tmp_path / "config.toml").write_text("")
    assert passphrase_of(tmp_path, flags={"key_passphrase_fd": "0"}) == PassphraseDescriptor(0)


def test_every_secret_that_has_a_file_of_its_own_is_named(tmp_path: Path) -> None:
    given = {"chain_id": "c", "validator_addr": ("tcp://127.0.0.1:1",), "id": "n"}
    (tmp_path / "config.toml").write_text('alert_webhook_file = "/c/url"\n')
    settings = load_settings(
        tmp_path, Flags(**given, key_passphrase_file="/a/word", noise_identity_file="/b/noise"), {}
    )
    key = settings.chains[0].key_file
    assert set(settings.secret_files) == {key, Path("/a/word"), Path("/b/noise"), Path("/c/url")}
    (tmp_path / "config.toml").write_text("key_passphrase_fd = 7\n")
    assert load_settings(tmp_path, Flags(**given), {}).secret_files == (key,)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ('key_passphrase_file = "a"\nkey_passphrase_fd = 3', "exclude each other"),
        ('key_passphrase_file = "a"\nkey_passphrase_credential = "b"', "exclude each other"),
        ('key_passphrase_credential = "../etc"', "is no credential's name"),
        ('key_passphrase_fd = "3"', "must be a number"),
        ("key_passphrase_fd = true", "must be a number"),
        ("key_passphrase_fd = -1", "is no file descriptor"),
        ("key_passphrase_fd = 99999999", "is no file descriptor"),
        ("key_passphrase_file = 5", "must be a string"),
    ],
)
def test_a_passphrase_setting_that_cannot_be_is_an_error(tmp_path: Path, written: str, words: str) -> None:
    (tmp_path / "config.toml").write_text(written)
    with pytest.raises(ConfigError, match=words):
        passphrase_of(tmp_path)


def test_a_user_without_a_home_directory_is_told_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container: no $HOME, and no line in /etc/passwd."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(ConfigError, match="cure: --home DIR"):
        default_home()


@pytest.mark.parametrize(
    ("written", "variables", "flag", "mib"),
    [
        ("", {}, None, AUDIT_DEFAULT_MIB),
        ("audit_max_mib = 0", {}, None, 0),
        ("audit_max_mib = 16", {}, None, 16),
        ("audit_max_mib = 16", {"COMETKMS_AUDIT_MAX_MIB": "32"}, None, 32),
        ("audit_max_mib = 16", {"COMETKMS_AUDIT_MAX_MIB": "32"}, "0", 0),
    ],
)
def test_the_audit_logs_size(
    tmp_path: Path, written: str, variables: dict[str, str], flag: str | None, mib: int
) -> None:
    (tmp_path / "config.toml").write_text(written)
    flags = Flags(chain_id="c", validator_addr=("tcp://a:1",), audit_max_mib=flag)
    assert load_settings(tmp_path, flags, variables).audit_max_mib == mib


@pytest.mark.parametrize("written", ["535", "8961", "1", "-1", f"1{'0' * 4000}"])
def test_a_segment_that_no_path_has_is_refused_with_the_bounds(written: str, tmp_path: Path) -> None:
    flags = Flags(tcp_max_segment=written)
    with pytest.raises(ConfigError, match="is no tcp_max_segment; write a number of bytes from 536 to 8960"):
        load_settings(home_with(tmp_path, MINIMAL), flags, {})


@pytest.mark.parametrize("written", [":9430", "host", "host:0", "host:port"])
def test_what_nobody_can_dial_is_not_published(written: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--raft-published"):
        load_settings(home_with(tmp_path, MINIMAL), Flags(raft_published=written), {})


@pytest.mark.parametrize("written", ["70", '"70"', '"070"'])
def test_a_priority_is_a_number_or_a_string(written: str, tmp_path: Path) -> None:
    home = home_with(tmp_path, f"leader_priority = {written}\n" + MINIMAL)
    assert load_settings(home, Flags(), {}).leader_priority == "70"


@pytest.mark.parametrize("written", ["101", "-1", '"near"', '"1e1"', "true", "5.0", f'"{"9" * 5000}"', '"٧٠"'])
def test_what_is_no_priority_is_refused_with_the_words_that_are(written: str, tmp_path: Path) -> None:
    home = home_with(tmp_path, f"leader_priority = {written}\n" + MINIMAL)
    with pytest.raises(
        ConfigError,
        match=r"write a number from 0 to 100, or 'nearest'|leader_priority = .* must be a number or \"nearest\"",
    ):
        load_settings(home, Flags(), {})


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ('audit_max_mib = "64"', "must be a number"),
        ("audit_max_mib = 15", "is no size of the audit log; write a number of MiB from 16"),
        ("audit_max_mib = -1", "is no size of the audit log"),
        ("audit_max_mib = 99999999", "is no size of the audit log"),
    ],
)
def test_a_size_of_the_audit_log_that_cannot_be_is_an_error(tmp_path: Path, written: str, words: str) -> None:
    (tmp_path / "config.toml").write_text(written)
    with pytest.raises(ConfigError, match=words):
        load_settings(tmp_path, Flags(chain_id="c", validator_addr=("tcp://a:1",)), {})


@pytest.mark.parametrize("text", ["150ms", "400ms", "60s"])
def test_leases_within_their_bounds(text: str) -> None:
    assert parse_lease(text) == parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "1ms", "149ms", "61s", "9" * 5000 + "h"])
def test_a_lease_out_of_bounds_is_told_with_them_and_their_reason(text: str) -> None:
    with pytest.raises(ConfigError, match=r"out of bounds; write 150ms to 60s: followers are heard") as error:
        parse_lease(text)
    assert len(str(error.value)) < 400


def test_the_lease_is_longer_than_what_the_log_needs() -> None:
    """The library asserts that a leader's fallback is longer than a heartbeat; and the signer's
    lease is renewed within it.
    """
    assert pytest.approx(3 * HEARTBEAT_S) == LEASE_MIN_S
    assert LEASE_MIN_S > SIGNER_LEASE_RENEW_S
    assert LEASE_MIN_S <= parse_lease(BY_KEY["default_ttl"].default) <= LEASE_MAX_S


@pytest.mark.parametrize("key", ["default_ttl", *ALERTS])
def test_no_duration_is_without_bounds(key: str, tmp_path: Path) -> None:
    for text in ("999999h", "9" * 400 + "s"):
        with pytest.raises(ConfigError, match=f"{key}.*out of bounds"):
            load_settings(home_with(tmp_path, MINIMAL + f'{key} = "{text}"\n'), Flags(), {})


@pytest.mark.parametrize("text", ["host:" + "9" * 5000, "host:0", "host:65536", "host:000080"])
def test_a_port_of_any_length_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="port from 1 to 65535"):
        Address.parse(text)


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 5000, "1e999999", "2001-99-99", "nan"])
def test_whatever_value_stands_in_the_file_is_told(value: str, tmp_path: Path) -> None:
    for key in KEYS:
        with pytest.raises(ConfigError):
            load_settings(home_with(tmp_path, f"{key} = {value}\n" + MINIMAL), Flags(), {})


KEY_A, KEY_B = "a1" * 32, "b2" * 32


def test_agents_stand_in_a_validators_place(tmp_path: Path) -> None:
    text = f'agent_addr = ":9440"\nchain_id = "c"\nagents = ["sentry-a:{KEY_A}", "sentry-b:{KEY_B}"]\n'
    settings = load_settings(home_with(tmp_path, text), Flags(), {})
    assert settings.agent_addr == Address("", 9440)
    assert [one.text for one in settings.chains[0].agents] == [f"sentry-a:{KEY_A}", f"sentry-b:{KEY_B}"]
    assert settings.chains[0].validator_addrs == ()
    variables = {"COMETKMS_AGENTS": f"x:{KEY_B}", "COMETKMS_AGENT_ADDR": "h:1"}
    settings = load_settings(tmp_path, Flags(), variables)
    assert (settings.agent_addr, settings.chains[0].agents[0].name) == (Address("h", 1), "x")
    settings = load_settings(tmp_path, Flags(agents=(f"y:{KEY_B}",), agent_addr=":2"), variables)
    assert (settings.agent_addr, settings.chains[0].agents[0].name) == (Address("", 2), "y")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f'agents = ["a:{KEY_A}"]', "no agent_addr"),
        ('agent_addr = ":9440"\nvalidator_addr = "h:1"', "no chain has agents"),
        (f'agent_addr = ":9440"\nvalidator_addr = "h:1"\nagents = ["a:{KEY_A}"]', "push each other out"),
        (f'agent_addr = ":9440"\nagents = ["a:{KEY_A}", "a:{KEY_B}"]', "name a of c is given more than once"),
        (f'agent_addr = ":9440"\nagents = ["a:{KEY_A}", "b:{KEY_A}"]', "is given more than once"),
        ('agent_addr = ":9440"\nagents = ["a:short"]', "is no agent"),
        ('validator_addr = ["tcp://127.0.0.1:1"]\nagents = ["a:short"]', "agents: 'a:short' is no agent"),
        (f'agent_addr = ":9440"\nagents = ["a b:{KEY_A}"]', "is no agent"),
        (f'agent_addr = "9440"\nagents = ["a:{KEY_A}"]', "is no address"),
        ('agent_addr = ":9440"\nagents = [' + ", ".join(f'"a{n}:{n:064x}"' for n in range(17)) + "]", "at most 16"),
    ],
)
def test_agents_that_cannot_be_are_told_with_the_cure(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        load_settings(home_with(tmp_path, f'chain_id = "c"\n{text}\n'), Flags(), {})


def test_an_agent_has_one_name_and_one_key_over_all_chains(tmp_path: Path) -> None:
    table = '[[chain]]\nid = "{}"\nagents = ["{}:{}"]\n'
    for first, second, words in (
        (("a", KEY_A), ("a", KEY_B), "several keys"),
        (("a", KEY_A), ("b", KEY_A), "several names"),
    ):
        text = 'agent_addr = ":9440"\n' + table.format("c", *first) + table.format("d", *second)
        with pytest.raises(ConfigError, match=words):
            load_settings(home_with(tmp_path, text), Flags(), {})


def test_a_file_of_another_user_s_is_not_to_be_mended_but_read_by_that_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: object) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("cometkms.config.load.read_file", closed)
    with pytest.raises(
        ConfigError, match=r"permission denied; cure: run this as the node's user, or make the file readable"
    ):
        load_settings(tmp_path, Flags(), {})


@pytest.mark.parametrize(
    ("put", "cure"),
    [
        (lambda home: home.write_text(""), "make the names above it directories: one of them is a file"),
        (lambda home: (home / "config.toml").mkdir(parents=True), "put the file itself there, in place of what is"),
    ],
    ids=["the home is a file", "the file is a directory"],
)
def test_what_is_no_file_has_the_cure_that_every_file_has(
    put: Callable[[Path], object], cure: str, tmp_path: Path
) -> None:
    put(tmp_path / "home")
    with pytest.raises(ConfigError) as error:
        load_settings(tmp_path / "home", Flags(), {})
    assert error.value.cure.startswith(cure)


def test_a_home_that_is_there_and_takes_nothing_is_not_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, mode: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("cometkms.config.scaffold.make_directory", refused)
    with pytest.raises(
        ConfigError, match=rf"^nothing can be made in {re.escape(str(tmp_path))}: read-only file system; "
    ):
        init_home(tmp_path)
    with pytest.raises(
        ConfigError, match=rf"^{re.escape(str(tmp_path / 'h'))} cannot be made: read-only file system; "
    ):
        init_home(tmp_path / "h")
