"""`cmkms standin`"""

import click

from cometkms.address import NoiseAddress
from cometkms.cli.options import Seconds
from cometkms.config.values import check_chain_id, parse_validator
from cometkms.errors import ConfigError
from cometkms.net.target import UnixTarget


@click.command("standin")
@click.option("--listen", "address", default="tcp://127.0.0.1:26658", metavar="ADDR", show_default=True,
              help="What a validator has as priv_validator_laddr.")  # fmt: skip
@click.option("--chain-id", default="testnet-1", metavar="ID", show_default=True, help="Chain id of the requests.")
@click.option("--every", type=Seconds(0), default=1.0, metavar="S", show_default=True,
              help="Seconds between two heights.")  # fmt: skip
@click.option(
    "--seconds",
    type=Seconds(0, min_open=True),
    metavar="N",
    help="Stop after N seconds.  [default: Ctrl-C]",
)
def command(address: str, chain_id: str, every: float, seconds: float | None) -> int:
    """Stand in for a validator: ask whoever dials for one height after the other, and verify every
    signature. For trials with throw-away keys.

    Never with a key that is in use: what is signed here raises its watermark. Exit code 1 if a
    signature does not verify, or there was none.

    \b
    Examples:
      cmkms standin
      cmkms standin --listen tcp://0.0.0.0:26658 --chain-id my-trial-1 --every 0.2
    """
    from cometkms.operator.demo import alone

    target = parse_validator(address).target
    if isinstance(target, NoiseAddress):
        raise ConfigError(
            f"{address}: the stand-in listens at tcp:// and unix:// only", cure="--listen tcp://HOST:PORT"
        )
    where = f"unix://{target.path}" if isinstance(target, UnixTarget) else f"tcp://{target}"
    return alone.run(where, check_chain_id(chain_id), every, seconds)
