"""`cmkms start`"""

import sys

import click

from cometkms.cli.loading import loading
from cometkms.cli.options import chosen_home, home_option, one_of
from cometkms.config.cluster import DEFAULT_RAFT_ADDR
from cometkms.config.load import (
    DEFAULT_ALERT_DISK,
    DEFAULT_ALERT_LATENCY,
    DEFAULT_ALERT_STALL,
    DEFAULT_HTTP_ADDR,
    DEFAULT_TTL,
    HARDENING_MODES,
    LOG_FORMATS,
    LOG_LEVELS,
    Flags,
    load_settings,
)
from cometkms.config.webhook import FORMS
from cometkms.limits import AUDIT_DEFAULT_MIB, LEADER_NEAREST, LEADER_PRIORITY_DEFAULT


@click.command("start")
@home_option
@click.option("--id", metavar="ID", help="Unique node identifier.  [default: the host's name]")
@click.option(
    "--raft-addr", metavar="ADDR", help=f"Address for the cluster's own traffic.  [default: {DEFAULT_RAFT_ADDR}]"
)
@click.option("--http-addr", metavar="ADDR", help=f"HTTP listen address.  [default: {DEFAULT_HTTP_ADDR}]")
@click.option(
    "--default-ttl", metavar="DURATION", help=f"Lease of the leader, as 400ms or 1s.  [default: {DEFAULT_TTL}]"
)
@click.option("--peer", multiple=True, metavar="ID=HOST:PORT", help="A node of the cluster (repeatable).")
@click.option("--validator-addr", multiple=True, metavar="ADDR", help="priv_validator_laddr to dial (repeatable).")
@click.option("--agent-addr", metavar="ADDR", help="Listen here for agents, as :9440.  [default: nowhere]")
@click.option(
    "--agents",
    multiple=True,
    metavar="NAME:KEY",
    help="An agent that may ask, in a validator address's place (repeatable).",
)
@click.option("--chain-id", metavar="ID", help="Chain id of the validators.")
@click.option(
    "--sign-bytes/--no-sign-bytes",
    default=None,
    help="Sign SignBytes of CometBFT v1.x, as Berachain's nodes ask for with each block.  [default: no]",
)
@click.option(
    "--raw-bytes-unique-ids",
    multiple=True,
    metavar="ID",
    help="Sign Celestia's raw bytes with this unique id (repeatable).  [default: none]",
)
@click.option(
    "--log-level",
    metavar="LEVEL",
    shell_complete=one_of(LOG_LEVELS),
    help="debug, info or error.  [default: info]",
)
@click.option(
    "--log-format", metavar="FORMAT", shell_complete=one_of(LOG_FORMATS), help="plain or json.  [default: plain]"
)
@click.option("--allow-unsafe/--no-allow-unsafe", default=None, help="Accepted for the Go CometKMS; has no effect.")
@click.option(
    "--strict-start/--no-strict-start",
    default=None,
    help="After a start, promise nothing before every other node has answered: even an old copy of this home put back does no harm.",
)
@click.option(
    "--hardening",
    metavar="MODE",
    shell_complete=one_of(HARDENING_MODES),
    help="off, best-effort or required: what if this kernel lacks a protection.  [default: best-effort]",
)
@click.option(
    "--signer-user",
    metavar="USER",
    help="Whom the signer runs as when root starts the node: a name, a number, or root.",
)
@click.option(
    "--realtime/--no-realtime",
    default=None,
    help="Ask for a real-time class for the signer and the state process, where the unit grants it.",
)
@click.option(
    "--noise-identity-file",
    metavar="FILE",
    help="Who this node is to noise:// validators, as node_key.json; mode 0600.  [default: derived from the key]",
)
@click.option("--key-passphrase-file", metavar="FILE", help="Opens sealed key files; mode 0600.")
@click.option("--key-passphrase-credential", metavar="NAME", help="Likewise: systemd's LoadCredential=NAME:….")
@click.option("--key-passphrase-fd", metavar="N", help="Likewise: an open descriptor, read once.")
@click.option(
    "--alert-stall",
    metavar="DURATION",
    help=f"Alert when no new height was signed for so long; 0s: never.  [default: {DEFAULT_ALERT_STALL}]",
)
@click.option(
    "--alert-latency",
    metavar="DURATION",
    help=f"Alert when a minute's p99 of a signature is above it; 0s: never.  [default: {DEFAULT_ALERT_LATENCY}]",
)
@click.option(
    "--alert-disk",
    metavar="DURATION",
    help=f"Alert when a minute's p99 of fdatasync is above it; auto: above what the disk has shown; 0s: never.  [default: {DEFAULT_ALERT_DISK}]",
)
@click.option(
    "--alert-webhook",
    metavar="URL",
    help="Send alerts to this address. It is a secret, and `ps` shows it: rather one of the next two.",
)
@click.option("--alert-webhook-file", metavar="FILE", help="Likewise, to the address in that file; mode 0600.")
@click.option("--alert-webhook-credential", metavar="NAME", help="Likewise: systemd's LoadCredential=NAME:….")
@click.option(
    "--alert-webhook-form", metavar="FORM", shell_complete=one_of(FORMS), help="json or slack.  [default: json]"
)
@click.option(
    "--audit-max-mib",
    metavar="N",
    help=f"All files of the audit log together; 0: no audit log.  [default: {AUDIT_DEFAULT_MIB}]",
)
@click.option(
    "--raft-published",
    metavar="HOST:PORT",
    help="Where the other nodes dial this one, if that is not --raft-addr: behind address translation or a published port.",
)
@click.option(
    "--tcp-max-segment",
    metavar="BYTES",
    help="Keep packets to members and validators this small, where the way loses large ones.  [default: what the interface takes]",
)
@click.option(
    "--leader-priority",
    metavar="N",
    shell_complete=one_of((LEADER_NEAREST,)),
    help=f"0 to 100: the lead returns to the highest; or nearest.  [default: {LEADER_PRIORITY_DEFAULT}]",
)
def command(
    home: str | None,  # noqa: ARG001 - kept in the context by the option's callback
    id: str | None,  # noqa: A002 - the flag's name
    raft_addr: str | None,
    http_addr: str | None,
    default_ttl: str | None,
    peer: tuple[str, ...],
    validator_addr: tuple[str, ...],
    agent_addr: str | None,
    agents: tuple[str, ...],
    chain_id: str | None,
    sign_bytes: bool | None,
    raw_bytes_unique_ids: tuple[str, ...],
    log_level: str | None,
    log_format: str | None,
    allow_unsafe: bool | None,
    strict_start: bool | None,
    hardening: str | None,
    signer_user: str | None,
    realtime: bool | None,
    noise_identity_file: str | None,
    key_passphrase_file: str | None,
    key_passphrase_credential: str | None,
    key_passphrase_fd: str | None,
    alert_stall: str | None,
    alert_latency: str | None,
    alert_disk: str | None,
    alert_webhook: str | None,
    alert_webhook_file: str | None,
    alert_webhook_credential: str | None,
    alert_webhook_form: str | None,
    audit_max_mib: str | None,
    leader_priority: str | None,
    raft_published: str | None,
    tcp_max_segment: str | None,
) -> int:
    """Run the node until SIGTERM or Ctrl-C.

    Every flag has a COMETKMS_* variable and a key in config.toml; a flag wins over the variable, the variable over the file.

    \b
    Examples:
      cmkms start
      cmkms start --validator-addr tcp://10.0.0.1:26658 --validator-addr unix:///run/privval.sock --chain-id my-chain-1
      COMETKMS_LOG_FORMAT=json cmkms start --home /var/lib/cmkms
      cmkms start --id n0 --raft-addr 10.0.0.10:9430 --peer n0=10.0.0.10:9430 --peer n1=10.0.0.11:9430 --peer n2=10.0.0.12:9430
    """
    with loading():
        from cometkms.cli.passphrase import to_open
        from cometkms.log import Log
        from cometkms.supervisor import start as node

    flags = Flags(
        id,
        raft_addr,
        http_addr,
        default_ttl,
        peer,
        validator_addr,
        agent_addr,
        agents,
        chain_id,
        sign_bytes,
        raw_bytes_unique_ids,
        log_level,
        log_format,
        allow_unsafe,
        strict_start,
        hardening,
        signer_user,
        realtime,
        noise_identity_file,
        key_passphrase_file,
        key_passphrase_credential,
        key_passphrase_fd,
        alert_stall,
        alert_latency,
        alert_disk,
        alert_webhook,
        alert_webhook_file,
        alert_webhook_credential,
        alert_webhook_form,
        audit_max_mib,
        leader_priority,
        raft_published,
        tcp_max_segment,
    )
    settings = load_settings(chosen_home(), flags, here=True)
    typed = None
    if (
        settings.key_passphrase is None and sys.stdin.isatty()
    ):  # nobody is there otherwise, and the start says what to configure
        typed = to_open([chain.key_file for chain in settings.chains], settings)
    return node.run(settings, Log(settings.log_level, settings.log_format, node=settings.id), flags, typed)
