"""One table of settings: the flags, variables, keys, defaults, help, reload, init's file and
CONFIGURATION.md follow from it.
"""

import re
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path

import click
import pytest

from cometkms.cli.start import command
from cometkms.config.load import in_force, load_settings, read_config, unknown_variables
from cometkms.config.reload import overridden, plan_reload
from cometkms.config.scaffold import init_home
from cometkms.config.schema import AlertBounds, Settings
from cometkms.config.table import BY_KEY, CHAIN_KEYS, EXAMPLES, KEYS, SETTINGS, Flags, Given, Setting
from cometkms.errors import InvariantError

DOCS = Path(__file__).resolve().parents[3] / "docs"
ONE_CHAIN = 'chain_id = "c-1"\nvalidator_addr = "tcp://127.0.0.1:26658"\n'
each_setting = pytest.mark.parametrize("one", SETTINGS, ids=list(BY_KEY))


def home_with(tmp_path: Path, text: str) -> Path:
    (tmp_path / "config.toml").write_text(text)
    return tmp_path


def given_as(one: Setting) -> Given:
    """A value as the flag gives it."""
    value = tomllib.loads(f"x = {one.toml}")["x"]
    return tuple(value) if isinstance(value, list) else value if isinstance(value, bool) else str(value)


@each_setting
def test_a_setting_has_a_flag_with_its_help_and_its_default(one: Setting) -> None:
    option = next(param for param in command.params if param.name == one.key)
    assert isinstance(option, click.Option)
    assert option.opts == [one.flag]
    assert option.secondary_opts == ([f"--no-{one.flag[2:]}"] if one.kind is bool else [])
    assert option.multiple == (one.kind is list)
    assert option.help == one.words
    if one.default and not one.otherwise:
        assert one.words.endswith(f"  [default: {one.default}]")


def test_there_is_no_other_flag_and_no_other_key() -> None:
    assert [param.name for param in command.params] == ["home", *BY_KEY]
    assert list(KEYS) == [*BY_KEY, "chain"]
    assert set(CHAIN_KEYS) == {"id", "key_file", "state_file"} | {one.key for one in SETTINGS if one.chain}
    with pytest.raises(InvariantError, match="no settings: raft_adr"):
        Flags(raft_adr=":1")


@each_setting
def test_a_value_is_found_in_file_variable_and_flag_in_this_order(one: Setting, tmp_path: Path) -> None:
    home = home_with(tmp_path, f"{one.key} = {one.toml}\n")
    written = next(found for found in in_force(home, {}) if found.key == one.key)
    assert written.where == f"{home / 'config.toml'}: {one.key}"
    found = next(
        found for found in in_force(home, {one.variable: "x" if one.kind is not bool else "on"}) if found.key == one.key
    )
    assert found.where == (one.variable if one.has_variable else written.where)
    assert (one.variable in str(unknown_variables({one.variable: "x"}))) is not one.has_variable


@each_setting
def test_the_default_holds_where_nobody_sets_it(one: Setting, tmp_path: Path) -> None:
    found = next(found for found in in_force(home_with(tmp_path, ""), {}) if found.key == one.key)
    assert found.where == "default"
    if one.key != "id":
        assert found.value == {str: one.default, int: one.default, bool: False, list: []}[one.kind]


def test_what_the_settings_are_made_with_elsewhere_is_the_tables_default(tmp_path: Path) -> None:
    """Tests and commands make Settings without a file; both have the same default."""
    loaded = load_settings(home_with(tmp_path, ONE_CHAIN), Flags(), {})
    assert loaded.alerts == AlertBounds()
    for field in [field for field in fields(Settings) if field.default is not MISSING]:
        assert getattr(loaded, field.name) == field.default, field.name


def value_of_another(one: Setting) -> str:
    other = {
        "validator_addr": '["tcp://127.0.0.1:2"]', "agents": f'["a:{"b2" * 32}"]', "raw_bytes_unique_ids": '["other"]',
        "sign_bytes": "true", "log_level": '"debug"', "leader_priority": "70",
    }  # fmt: skip
    return other.get(one.key, '"7s"')


@pytest.mark.parametrize("one", [one for one in SETTINGS if one.reload], ids=lambda one: one.key)
def test_what_the_table_marks_is_reloaded_and_what_overrides_it_is_told(one: Setting, tmp_path: Path) -> None:
    first = ONE_CHAIN if one.key != "agents" else f'agent_addr = ":1"\nchain_id = "c-1"\nagents = ["a:{"a1" * 32}"]\n'
    before = load_settings(home_with(tmp_path, first), Flags(), {})
    kept = "".join(line for line in first.splitlines(True) if not line.startswith(f"{one.key} ="))
    after = load_settings(home_with(tmp_path, f"{one.key} = {value_of_another(one)}\n{kept}"), Flags(), {})
    plan = plan_reload(before, after)
    assert plan.changed
    assert not plan.needs_restart
    document = read_config(tmp_path)
    flags = Flags(**{one.key: () if one.kind is list else None})
    assert overridden(flags, {}, document) == ()
    (words,) = overridden(Flags(**{one.key: False if one.kind is bool else given_as(one)}), {}, document)
    assert words.startswith(f"{one.key} of config.toml has no effect: {one.flag} is given and wins")
    (words,) = overridden(Flags(), {one.variable: "off" if one.kind is bool else "x"}, document)
    assert one.variable in words


@pytest.mark.parametrize("one", [one for one in SETTINGS if not one.reload], ids=lambda one: one.key)
def test_nothing_else_is_told_to_be_overridden_by_a_reload(one: Setting) -> None:
    assert overridden(Flags(**{one.key: given_as(one)}), {}, {one.key: "another"}) == ()


#: What `cmkms init` leaves out of its file: a supervisor gives the first on the command line, the
#: others are read in CONFIGURATION.md.
NOT_WRITTEN = {"key_passphrase_fd", "default_ttl", "audit_max_mib"}


def test_init_writes_every_setting_with_its_default_or_an_example(tmp_path: Path) -> None:
    init_home(tmp_path, chain_id="c-1", validator_addrs=("tcp://h:1",))
    text = (tmp_path / "config.toml").read_text().partition("# Several chains")[0]
    written = dict(re.findall(r"^(?:# )?([a-z_]+) = (.*)$", text, re.M))
    assert set(written) == set(BY_KEY) - NOT_WRITTEN
    # of this node, or shown as nobody has it
    own = {"id", "chain_id", "validator_addr", "peer", "agents"}
    assert {key: value for key, value in written.items() if key not in own} == {
        one.key: one.toml for one in SETTINGS if one.key in written and one.key not in own
    }
    without = re.sub(r"^# ([a-z_]+ = )", r"\1", text, flags=re.M)
    assert set(tomllib.loads(without)) == set(written)


@each_setting
def test_the_configuration_document_has_a_row_as_the_table_says(one: Setting) -> None:
    text = (DOCS / "CONFIGURATION.md").read_text()
    row = re.search(rf"^\| `{one.key}` \| ([^|]*) \| ([^|]*?) ?\| ([^|]*?) ?\|", text, re.M)
    assert row, f"{one.key} is missing"
    assert row[1] == f"`{one.flag}`" + (" (repeatable)" if one.kind is list else "")
    assert row[2] == (f"`{one.variable}`" if one.has_variable else "")
    if one.default or one.kind is bool:
        assert row[3] == f"`{one.default or 'false'}`"


def test_the_configuration_document_has_no_other_row_and_every_key_of_a_chain() -> None:
    text = (DOCS / "CONFIGURATION.md").read_text()
    assert set(re.findall(r"^\| `([a-z_]+)` \| `--", text, re.M)) == set(BY_KEY)
    for key in CHAIN_KEYS:
        assert re.search(rf"^{key} = ", text, re.M), f"[[chain]] {key} is missing"


def test_the_running_document_says_of_each_what_a_reload_takes_over() -> None:
    text = (DOCS / "RUNNING.md").read_text()
    table = text[text.index("| what changed | |") :].partition("\n\n")[0]
    named = set(re.findall(r"`([a-z_]+)`", "".join(line.split("|")[1] for line in table.splitlines())))
    assert named == {one.key for one in SETTINGS if one.reload}


def test_an_example_is_there_for_every_key() -> None:
    assert set(EXAMPLES) | {"chain"} == set(KEYS) | (set(CHAIN_KEYS) - {"id"})
