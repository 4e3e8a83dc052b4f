"""Options that several commands share."""

import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from cometkms.errors import CometKMSError, ConfigError, OperatorError, StateError
from cometkms.keytypes import FOREIGN_NAMES, KEY_TYPES, KeyType, by_name
from cometkms.limits import HEIGHT_MAX
from cometkms.rules.burnt import Heights

# what reads a node's settings is imported where it is used: an agent is to start in no time
if TYPE_CHECKING:
    from cometkms.config.schema import Chain, Settings

EXIT_CODES: Final = """\b
Exit codes:
  0   done; for start: stopped by a signal
  1   failed; for status: not healthy or not reachable
  2   wrong usage
  3   a setting is wrong             5   promise store or state file
  4   a key file is wrong            6   home or address in use
  7   a write or sync failed         9   a protection does not hold
  70  internal error"""

#: Stands for a chain id that neither the settings nor the command line give.
UNSET_CHAIN: Final = "unset"
_HOME_KEY: Final = "cometkms.home"
F = TypeVar("F", bound=Callable[..., Any])


class CommandGroup(click.Group):
    """Names the command that was meant, as click does of options."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names. Raises: click.UsageError where there is none."""
        known = self.list_commands(ctx)
        if args[0] not in known and not ctx.resilient_parsing:
            from cometkms.config.values import nearest  # here: who types what there is does not pay for it

            if close := nearest(args[0], known):
                ctx.fail(f"No such command {args[0]!r}. Did you mean {close!r}?")
        return super().resolve_command(ctx, args)


def _keep_home(context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        context.meta[_HOME_KEY] = value
    return value


def home_option(function: F) -> F:
    """--home, before or behind the command's name."""
    option = click.option(
        "--home",
        metavar="DIR",
        default=None,
        callback=_keep_home,
        is_eager=True,
        help="The node's home directory.  [default: ~/.cmkms]",
    )
    return option(function)


def chosen_home() -> Path:
    """The home of this invocation, absolute."""
    value = click.get_current_context().meta.get(_HOME_KEY)
    if value:
        from cometkms.config.values import expanded

        return expanded(Path(value)).absolute()
    from cometkms.config.load import default_home

    return default_home().absolute()


def existing_home() -> Path:
    """The home of this invocation. Raises: ConfigError when it is not there."""
    home = chosen_home()
    if home.exists() and not home.is_dir():
        raise ConfigError(f"{home} is no directory", cure="--home DIR, a node's home")
    if not home.is_dir():
        raise ConfigError(f"{home} does not exist", cure=f"cmkms init --home {home}, or another --home")
    return home


def chain_option(function: F) -> F:
    """--chain-id where a home may hold several."""
    option = click.option("--chain-id", metavar="ID", default=None, help="Which chain, where the home has several.")
    return option(function)


def json_option(what: str) -> Callable[[F], F]:
    """--json: one JSON document on stdout, what is said to people on stderr.

    `what`: what the document is, in the help.
    """
    return click.option("--json", "as_json", is_flag=True, help=f"{what} as JSON; the words go to standard error.")


def type_option(what: str, **options: Any) -> Callable[[F], F]:
    """--type: a key's type by CometBFT's name.

    `what`: behind "Type" in the help; `options`: click's.
    """
    names = [one.name for one in KEY_TYPES]
    return click.option(
        "--type",
        "key_type",
        metavar="TYPE",
        shell_complete=one_of(names),
        help=f"Type {what}: {', '.join(names)}.",
        **options,
    )


def named_type(name: str) -> KeyType:
    """Raises: click.BadParameter for a type that is not known here."""
    key_type = by_name(name)
    if key_type is None:
        names = ", ".join(one.name for one in KEY_TYPES)
        why = FOREIGN_NAMES.get(name)
        refused = f"is not supported: {why}" if why else "is not known"
        raise click.BadParameter(f"the key type {name!r} {refused}; there are {names}")
    return key_type


def burn_options(function: F) -> F:
    """--min-height and --yes-height, where a height may be burnt on the operator's word."""
    option = partial(click.option, multiple=True, metavar="[CHAIN=]H", callback=_parse_heights)
    typed = option("--yes-height", help="The same once more, instead of typing it.")
    height = option(
        "--min-height",
        help="Nothing is signed at H or below, ever again: on every chain, or with CHAIN=H on that one (then once for each chain).",
    )
    return height(typed(function))


def _parse_heights(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> Heights | None:
    """One height for all chains, or one for each; None: none is given.

    Whatever leaves two readings is refused.
    """
    if not values:
        return None
    read = [_parse_height(one) for one in values]
    named = [chain_id for chain_id, _ in read if chain_id is not None]
    if not named:
        if len(read) > 1:
            raise click.BadParameter(
                f"{' and '.join(values)}: one height counts for all chains, and several were given"
            )
        return Heights(every=read[0][1])
    if len(named) < len(read):
        raise click.BadParameter("either one height for all chains, or CHAIN=H for each of them, not both")
    if twice := sorted({chain_id for chain_id in named if named.count(chain_id) > 1}):
        raise click.BadParameter(f"{', '.join(twice)}: two heights for one chain")
    return Heights(each={chain_id: height for chain_id, height in read if chain_id is not None})


def _parse_height(text: str) -> tuple[str | None, int]:
    """The chain's id, if there is one, and the height. A chain's id may have an equals sign itself."""
    chain_id, named, number = text.rpartition("=")
    if named and not chain_id:
        raise click.BadParameter(f"{text!r} names no chain")
    plain = number.isascii() and number.isdigit() and len(number) <= len(str(HEIGHT_MAX))
    height = int(number) if plain else 0
    if not 0 < height <= HEIGHT_MAX:
        raise click.BadParameter(f"{number[:40]!r} is no height: a whole number from 1 to {HEIGHT_MAX}")
    return (chain_id if named else None), height


def demand_heights(heights: Heights, typed: Heights | None) -> None:
    """Raises: StateError unless the operator says every height once more; Abort."""
    if typed is not None:
        if typed != heights:
            raise StateError(f"{typed} was typed, {heights} was asked for: nothing was changed")
        return
    if not sys.stdin.isatty():
        again = " ".join(
            f"--yes-height {one}" for one in ([heights] if heights.every is not None else str(heights).split())
        )
        raise StateError(
            "the height must be typed, and nobody is there to type it", cure=f"{again}. Nothing was changed"
        )
    if heights.every is not None:
        demand_height(heights.every, None)
    for chain_id, height in sorted(heights.each.items()):
        demand_height(height, None, of=f" of {chain_id}")


def demand_height(min_height: int, typed: int | None, *, instead: str = "", of: str = "") -> None:
    """Raises: StateError unless the operator says the height once more; Abort. `instead`: the
    option that says it, if not --yes-height.
    """
    if typed is None:
        if not sys.stdin.isatty():
            option = instead or f"--yes-height {min_height}"
            raise StateError(
                "the height must be typed, and nobody is there to type it", cure=f"{option}. Nothing was changed"
            )
        typed = click.prompt(f"Type the height{of} to go on", type=int, err=True)
    if typed != min_height:
        raise StateError(f"{typed} was typed, {min_height} was asked for{of}: nothing was changed")


def must_confirm(question: str) -> None:
    """Raises: OperatorError unless somebody says yes."""
    try:
        said = click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)  # what follows is a line of its own
        said = False
    if not said:
        raise OperatorError("this was not confirmed (in scripts: --yes); nothing was changed")


def load_home(
    chain_id: str | None = None, node_id: str | None = None, peer: tuple[str, ...] = (), raft_addr: str | None = None
) -> "Settings":
    """The home's settings, for commands that need no validator address.

    `peer`, `raft_addr`: instead of the ones that are set.
    """
    from cometkms.config.load import load_settings, read_config
    from cometkms.config.table import Flags, Given

    home = existing_home()
    # A command on a stopped node needs the files only: what is missing for a start is filled in.
    # With [[chain]] tables --chain-id chooses one of them (one_chain) and sets nothing.
    has_tables = bool(read_config(home).get("chain"))
    given: dict[str, Given] = {"id": node_id, "peer": peer, "raft_addr": raft_addr}
    try:
        return load_settings(home, Flags(**given, chain_id=None if has_tables else chain_id))
    except ConfigError:
        if has_tables:
            raise
        named = chain_id or read_config(home).get("chain_id") or UNSET_CHAIN
        return load_settings(home, Flags(**given, chain_id=named, validator_addr=("tcp://127.0.0.1:1",)))


def one_of(known: Sequence[str]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Complete these words in the shell."""
    return lambda _context, _parameter, incomplete: [word for word in known if word.startswith(incomplete)]


def other_ids(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete in the shell the ids of the home's other nodes; none where the home's
    settings are wrong.
    """
    from cometkms.config.load import default_home, load_settings
    from cometkms.config.table import Flags
    from cometkms.config.values import expanded

    home = context.meta.get(_HOME_KEY)
    try:
        settings = load_settings(expanded(Path(home)) if home else default_home(), Flags())
    except CometKMSError:
        return []
    return [peer.id for peer in settings.peers if peer.id != settings.id and peer.id.startswith(incomplete)]


class Seconds(click.FloatRange):
    """A finite number of seconds: neither "nan" nor "inf" is how long anything lasts."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value!r} is no number of seconds.", param, ctx)
        return found


def one_chain(settings: "Settings", chain_id: str | None) -> "Chain":
    """The chain that is meant. Raises: ConfigError when that is not clear."""
    found = [chain for chain in settings.chains if chain_id in (None, chain.id)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(chain.id for chain in settings.chains)
    what = "which chain?" if chain_id is None else f"{chain_id!r} is no chain of this home;"
    raise ConfigError(f"{what} this home has {known}", cure="--chain-id ID")
