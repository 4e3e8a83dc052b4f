"""`cmkms peer-id`"""

import click

from cometkms.address import NoiseAddress
from cometkms.cli.options import home_option, load_home
from cometkms.cli.output import say, show_json
from cometkms.cli.passphrase import to_open
from cometkms.core import choose
from cometkms.keys.cluster import noise_public_key
from cometkms.keys.source import key_source
from cometkms.wire.peer_id import peer_id

_ANYWHERE = 26658  # CometBFT's own documents have it


@click.command("peer-id")
@home_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(home: str | None, as_json: bool) -> None:  # noqa: ARG001
    """The id that noise:// validators know this signer by, alike on all nodes of a cluster, and the
    line for their config.toml.

    \b
    Examples:
      cmkms peer-id
      cometbft show-node-id --libp2p    (on the validator: the ID of validator_addr =
                                        "noise://ID@host:port")
    """
    settings = load_home()
    needed = [] if settings.noise_identity_file is not None else [chain.key_file for chain in settings.chains]
    passphrase = to_open(needed, settings)
    sources = [key_source(chain.key_file, passphrase) for chain in settings.chains]
    own = peer_id(noise_public_key(settings.home, sources, choose.load(), settings.noise_identity_file))
    targets = [address.target for chain in settings.chains for address in chain.validator_addrs]
    ports = sorted({one.port for one in targets if isinstance(one, NoiseAddress)}) or [_ANYWHERE]
    laddrs = [f"noise://{own}@0.0.0.0:{port}" for port in ports]
    if as_json:
        show_json({"peer_id": own, "priv_validator_laddr": laddrs})
        return
    click.echo(own)
    for laddr in laddrs:
        say(f'priv_validator_laddr = "{laddr}"')
