"""Each file that the settings name is one thing, and none that the node keeps itself."""

import contextlib
import errno
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cometkms.config.files import check_files, check_kinds
from cometkms.config.load import load_settings
from cometkms.config.table import Flags
from cometkms.errors import ConfigError
from tests.unit.cli import inside

CHAIN = '[[chain]]\nid = "{}"\nvalidator_addr = "{}:1"\n'
KEY, STATE = "priv/k.json", "priv/s.json"


def config(top: str = "", key: str = KEY, state: str = STATE) -> str:
    return f'id = "n"\n{top}{CHAIN.format("c", "h")}key_file = "{key}"\nstate_file = "{state}"\n'


def second(key: str, state: str) -> str:
    return f'{CHAIN.format("d", "i")}key_file = "{key}"\nstate_file = "{state}"\n'


def loaded(home: Path, text: str) -> None:
    (home / "config.toml").write_text(text)
    load_settings(home, Flags(), {})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "priv").mkdir()
    (tmp_path / "data" / "n").mkdir(parents=True)
    (tmp_path / KEY).write_text("{}")
    (tmp_path / STATE).write_text("{}")
    return tmp_path


SECRETS = ("key_passphrase_file", "alert_webhook_file", "noise_identity_file")


@pytest.mark.parametrize("setting", SECRETS)
@pytest.mark.parametrize("way", ["priv/x", "priv/../priv/x", "link/x"])
def test_a_state_file_is_no_other_setting_s_file(home: Path, setting: str, way: str) -> None:
    (home / "link").symlink_to("priv")
    with pytest.raises(ConfigError, match=f"is configured as state_file and as {setting}: the state would be written"):
        loaded(home, config(f'{setting} = "priv/x"\n', state=way))
    loaded(home, config(f'{setting} = "priv/x"\n'))


@pytest.mark.parametrize("setting", SECRETS)
def test_a_key_file_is_no_other_setting_s_file(home: Path, setting: str) -> None:
    with pytest.raises(ConfigError, match=f"as key_file and as {setting}: it is one of the two; cure: a file of its"):
        loaded(home, config(f'{setting} = "{KEY}"\n'))


@pytest.mark.parametrize(
    ("setting", "why"), [("state", "the state would be written over it"), ("key", "it is one of the two")]
)
def test_no_file_is_a_validator_s_socket(home: Path, setting: str, why: str) -> None:
    (home / "link").symlink_to("priv")
    for way in ("priv/v.sock", "link/v.sock"):
        text = config(**{setting: way}).replace('"h:1"', f'"unix://{home}/priv/v.sock"')
        with pytest.raises(ConfigError, match=f"is configured as {setting}_file and as validator_addr: {why}; cure: a"):
            loaded(home, text)
    loaded(home, config().replace('"h:1"', f'"unix://{home}/priv/v.sock"'))
    with pytest.raises(ConfigError, match=r"validator_addr = .*: that is .*/control\.sock, which a node keeps itself"):
        loaded(home, config().replace('"h:1"', f'"unix://{home}/data/n/control.sock"'))


def test_a_credential_is_no_state_file(home: Path) -> None:
    (home / "config.toml").write_text(config('key_passphrase_credential = "pass"\n', state="given/pass"))
    with pytest.raises(ConfigError, match="as state_file and as key_passphrase_credential"):
        load_settings(home, Flags(), {"CREDENTIALS_DIRECTORY": str(home / "given")})


def test_two_chains_share_a_key_and_no_state_file(home: Path) -> None:
    loaded(home, config() + second(KEY, "priv/t.json"))
    (home / "priv" / "t.json").symlink_to("s.json")
    with pytest.raises(ConfigError, match="are one: two chains would write it"):
        loaded(home, config() + second(KEY, "priv/t.json"))


@pytest.mark.parametrize(
    "target",
    [KEY, "priv/pass", "config.toml", "cmkms.lock", "priv/cluster.key", "priv/identity_key.json", "data/n/promises"],
)
def test_a_state_file_is_no_second_name_of_what_is_in_use(home: Path, target: str) -> None:
    """A hard link, which no path tells."""
    top = 'key_passphrase_file = "priv/pass"\n'
    text = config(top, state="priv/linked")
    (home / "config.toml").write_text(text)
    if not (home / target).exists():
        (home / target).write_text("x")
    os.link(home / target, home / "priv" / "linked")
    with pytest.raises(
        ConfigError, match=r"one file under two names; cure|that is .*, which a node keeps itself; cure"
    ):
        load_settings(home, Flags(), {})
    (home / "priv" / "linked").unlink()
    loaded(home, text)


def test_config_toml_behind_a_link_is_no_state_file(home: Path) -> None:
    elsewhere = home / "elsewhere.toml"
    elsewhere.write_text(config(state="elsewhere.toml"))
    (home / "config.toml").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match=r"that is .*/config\.toml, which a node keeps itself"):
        load_settings(home, Flags(), {})


@pytest.mark.parametrize("what", ["key", "state"])
@pytest.mark.parametrize(
    "name",
    [
        "promises.old-1",
        "promises.new",
        "promises.made",
        "promises.begun",
        "promises.epoch-3",
        "raft.old-2",
        "raft.new",
        "raft.broken",
        "audit/000000000001.jsonl",
        "adopted.json",
        "control.sock",
        ".born.json.tmp",
        "../../seals",
        "../../.config.toml.tmp",
    ],
)
def test_what_a_node_keeps_itself_is_nobody_s_key_or_state(home: Path, what: str, name: str) -> None:
    with pytest.raises(ConfigError, match="a node keeps a file of that name itself; cure: another name"):
        loaded(home, config(**{what: f"data/n/{name}"}))


@pytest.mark.parametrize("name", ["promises-a.json", "raft.json", "state.old-1", "1234.jsonl", "a@1", ".hidden"])
def test_another_name_is_free(home: Path, name: str) -> None:
    loaded(home, config(state=f"priv/{name}"))


@pytest.mark.parametrize("name", ["raft", "audit", "seals", "promises", "config.toml", "cluster.key"])
def test_a_key_has_any_name_where_the_directory_is_none_of_the_node_s(home: Path, name: str) -> None:
    """A state file, over which is written, has none that another home's file may have."""
    far = home.with_name(f"{home.name}-far")
    loaded(home, config(key=f"{far}/{name}"))
    (home / "outside").symlink_to("data")
    with pytest.raises(ConfigError, match="a node keeps a file of that name itself"):
        loaded(home, config(state=f"{far}/{name}"))
    for inside_it in (f"data/n/{name}", f"{far}/../{home.name}/data/n/{name}", f"outside/n/{name}"):
        with pytest.raises(ConfigError, match="a node keeps a file of that name itself"):
            loaded(home, config(key=inside_it))


def test_beside_a_state_file_the_notes_names_are_the_node_s_wherever_that_is(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"that is /far/born\.json, which a node keeps itself"):
        loaded(home, config(key="/far/born.json", state="/far/state.json"))


@pytest.mark.parametrize("name", ["s.json.old-1", "s.json.hub@1", ".s.json.tmp", ".k.json.tmp", ".k.json.123.new"])
def test_what_a_state_file_was_before_or_is_to_be_has_its_name(home: Path, name: str) -> None:
    for text in (config(f'alert_webhook_file = "priv/{name}"\n'), config() + second("priv/l.json", f"priv/{name}")):
        with pytest.raises(ConfigError, match="under such a name; cure: another name"):
            loaded(home, text)
    loaded(home, config() + second("priv/l.json", f"elsewhere/{name}"))


@pytest.mark.parametrize("setting", SECRETS)
@pytest.mark.parametrize("name", ["config.toml", "priv/cluster.key", "priv/born.json", "data/n/promises"])
def test_no_secret_is_a_file_that_the_node_keeps(home: Path, setting: str, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{setting} = .*, which a node keeps itself; cure: a file of its own"):
        loaded(home, config(f'{setting} = "{name}"\n'))


def test_one_node_s_own_identity_may_be_who_it_is_to_validators(home: Path) -> None:
    """docs/MOVING.md"""
    loaded(home, config('noise_identity_file = "priv/identity_key.json"\n'))


@pytest.mark.parametrize("place", [".", "priv", "data", "data/n", "/"])
def test_a_directory_that_others_are_in_is_no_state_file(home: Path, place: str) -> None:
    """`recover` would say to move it away."""
    with pytest.raises(ConfigError, match=r"it is the directory that .* is in; cure: the path of a file"):
        loaded(home, config(state=place))


def test_a_device_is_no_state_file(home: Path) -> None:
    with pytest.raises(ConfigError, match="state_file = '/dev/null': it is a device; cure: the path of a file"):
        loaded(home, config(state="/dev/null"))


def a_socket(path: Path) -> None:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)


@pytest.mark.parametrize("put", [Path.mkdir, os.mkfifo, a_socket])
@pytest.mark.parametrize("name", [KEY, STATE, "priv/noise"])
def test_config_check_names_what_is_no_file(home: Path, name: str, put: Callable[[Path], None]) -> None:
    """And does not wait for who would write into it; a command that looks at a running node goes
    on.
    """
    (home / name).unlink(missing_ok=True)
    put(home / name)
    loaded(home, config('noise_identity_file = "priv/noise"\n'))
    for form in ((), ("--json",)):
        done = inside.cmkms("config", "check", "--home", str(home), *form)
        assert done.returncode == ConfigError.exit_code
        told = done.stdout + done.stderr
        assert (
            f"{home / name}': it is {'a directory' if put is Path.mkdir else 'no regular file'}; cure: put the" in told
        )


def test_what_this_user_may_not_look_at_is_passed_over(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "config.toml").write_text(config())
    os.link(home / KEY, home / "priv" / "linked")
    settings = load_settings(home, Flags(), {})
    chains = (replace(settings.chains[0], state_file=home / "priv" / "linked"),)
    linked = replace(settings, chains=chains)
    assert len(check_files(linked)) == 1

    def denied(path: Path) -> os.stat_result:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "stat", denied)
    assert (check_files(linked), check_kinds(linked)) == ([], [])


def test_files_of_their_own_are_taken(home: Path) -> None:
    (home / "config.toml").write_text(config("".join(f'{one} = "priv/{one}"\n' for one in SECRETS)))
    settings = load_settings(home, Flags(), {})
    assert (check_files(settings), check_kinds(settings)) == ([], [])
