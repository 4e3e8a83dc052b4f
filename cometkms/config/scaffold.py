"""`cmkms init`: make what is missing in a home, keep what is there."""

from dataclasses import dataclass, field
from pathlib import Path

from cometkms.config.cluster import DEFAULT_RAFT_ADDR
from cometkms.config.files import CONFIG_NAME
from cometkms.config.table import DEFAULT_HTTP_ADDR, SETTINGS
from cometkms.config.toml import as_toml
from cometkms.durable import create_exclusively, make_directory
from cometkms.errors import ConfigError, KeyFileError, os_words

_TEMPLATE = """\
# CometKMS configuration
# Values can be overridden by flags or COMETKMS_* environment variables.

# Unique identifier of this node. Default: the host's name. It names data/<id>; do not change it later.
id = {id}

# Where this node listens for the cluster's other nodes: host:port, or ":9430" for all interfaces. The port is that of this
# node's own entry in `peer`. One node alone only notices here a cluster that holds the same key, and then signs no more.
raft_addr = {raft_addr}

# Where the other nodes dial this one, if that is not raft_addr: behind address translation, or a container's published port. The
# same as this node's own entry in `peer`.
# raft_published = {raft_published}

# HTTP listen address for the status page, /healthz and /status: this machine only. ":8080" means all interfaces.
http_addr = {http_addr}

# The cluster's nodes in id=host:port form, this one included; the same list on every node. Leave empty for one node alone.
# A list that has signed is changed with `cmkms member`, never by editing it on one node.
peer = {peer}

# The validators' priv_validator_laddr entries to dial: tcp://host:port, unix:///path, or noise://ID@host:port with the
# id that `cometbft show-node-id --libp2p` prints there. A string or an array.
validator_addr = {validator_addr}

# Chain ID of the validators.
chain_id = {chain_id}

# Agents instead of validator_addr: each stands beside a validator and asks every node (docs/AGENT.md). Where this node listens for
# them, and who they are, as `cmkms agent init` prints it; the same list on every node. Nowhere and nobody by default.
{agents}

# What is signed besides votes and proposals: nothing by default. SignBytes, which Berachain's nodes ask for with each block (CometBFT v1.x),
# and Celestia's raw bytes with one of these unique ids, compared whole. The same on every node.
# sign_bytes = {sign_bytes}
# raw_bytes_unique_ids = {raw_bytes_unique_ids}

# Log level: debug, info, error
log_level = {log_level}

# Log format: json or plain
log_format = {log_format}

# When an alert is raised in the log, on the status page and in /status; "0s" switches one off.
# No new height for so long, while a validator is configured:
alert_stall = {alert_stall}
# 99 of 100 signatures of the last minute took no longer than:
alert_latency = {alert_latency}
# 99 of 100 syncs of the promise store (fdatasync) took no longer than; "auto": ten times what the disk has shown before:
alert_disk = {alert_disk}

# Where alerts are sent to, as JSON or for Slack and what reads its form ("json", "slack"). Whoever knows the address can write there:
# a file of its own (mode 0600; relative to this directory) or a credential of systemd's LoadCredential= keeps it best. Try it with
# `cmkms alert test`.
# alert_webhook_file = {alert_webhook_file}
# alert_webhook_credential = {alert_webhook_credential}
# alert_webhook = {alert_webhook}
# alert_webhook_form = {alert_webhook_form}

# Kept for the Go CometKMS's config files; there are no unsafe APIs.
allow_unsafe = {allow_unsafe}

# After a start, promise nothing before every other node has answered. Then even an old copy of this home, put back
# unnoticed, does no harm; but a node that starts while another is down for good waits.
strict_start = {strict_start}

# Bytes of data in one TCP packet to members and validators at most, where the way between loses large packets; 0: what the
# interface takes.
# tcp_max_segment = {tcp_max_segment}

# Which node shall lead: after a minute of calm the lead goes back to the highest number, 0 to 100. Alike on every node: it stays
# where it is. "nearest", on every node: to the one that is nearest to a majority of the others.
leader_priority = {leader_priority}

# The signer is shut off from everything it does not need. "required": do not start where this kernel lacks a part of that; "off".
# signer_user: whom it runs as when root starts the node; default: the account cmkms-signer, else a number that no account has.
# hardening = {hardening}
# signer_user = {signer_user}

# Ask for a real-time class for the signer and the state process, where the unit or container grants it; needs a restart.
# realtime = {realtime}

# Who this node is to validators of noise://: a file in node_key.json's form (mode 0600), the same on every node. Without it an identity is
# derived from the cluster's secret, alike on every node; `cmkms peer-id` shows it.
# noise_identity_file = {noise_identity_file}

# The passphrase of key files that `cmkms keys encrypt` sealed: a file (mode 0600; relative to this directory), or the name of a
# credential of systemd's LoadCredential=.
# key_passphrase_file = {key_passphrase_file}
# key_passphrase_credential = {key_passphrase_credential}

# Several chains, instead of validator_addr and chain_id above. Paths are relative to this directory; the defaults are
# priv/<id>/priv_validator_key.json and priv/<id>/priv_validator_state.json.
# [[chain]]
# id = "chain-a"
# validator_addr = ["tcp://10.0.0.1:26658", "tcp://10.0.0.2:26658"]
# key_file = "priv/chain-a/priv_validator_key.json"
# state_file = "priv/chain-a/priv_validator_state.json"
"""

_NO_AGENTS = """\
# agent_addr = ":9440"
# agents = ["sentry-a:64 hex digits"]"""


@dataclass(frozen=True, slots=True)
class Scaffolded:
    """What init() made and what was there."""

    made: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)


def init_home(
    home: Path,
    *,
    node_id: str = "node0",
    chain_id: str = "",
    validator_addrs: tuple[str, ...] = (),
    http_addr: str = DEFAULT_HTTP_ADDR,
    raft_addr: str = DEFAULT_RAFT_ADDR,
    peers: tuple[str, ...] = (),
    agent_addr: str = "",
    agents: tuple[str, ...] = (),
    option: str = "--home",
) -> Scaffolded:
    """config.toml, data/ and priv/. `option`: which one says where, in the words of a failure.

    Raises: ConfigError if they cannot be made.
    """
    result = Scaffolded()
    try:
        for directory, mode in ((home, 0o755), (home / "data", 0o700), (home / "priv", 0o700)):
            if directory.is_dir():
                result.kept.append(directory)
                continue
            make_directory(directory, mode)
            result.made.append(directory)
        path = home / CONFIG_NAME
        given = {
            "id": as_toml(node_id),
            "chain_id": as_toml(chain_id),
            "validator_addr": _toml_list(validator_addrs),
            "http_addr": as_toml(http_addr),
            "raft_addr": as_toml(raft_addr),
            "peer": _toml_list(peers),
            "agents": f"agent_addr = {_toml(agent_addr)}\nagents = {_toml_list(agents)}" if agents else _NO_AGENTS,
        }
        content = _TEMPLATE.format(**{one.key: one.toml for one in SETTINGS} | given)
        try:
            create_exclusively(path, content.encode())
            result.made.append(path)
        except FileExistsError:
            result.kept.append(path)
    except OSError as error:
        name = str(error.filename or "")
        path = home if name == home.name else home / name
        what = f"nothing can be made in {home}" if path == home and home.is_dir() else f"{path} cannot be made"
        raise ConfigError(
            f"{what}: {os_words(error)}",
            cure=f"choose a directory you can write with {option}",
        ) from error
    return result


def refuse_existing(paths: tuple[Path, ...]) -> None:
    """Raises: KeyFileError if any of the files is there: a key or a state is never overwritten."""
    for path in paths:
        if path.exists():
            raise KeyFileError(
                f"{path} is there already and is never overwritten; nothing was changed", cure="move it away first"
            )


def _toml(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _toml_list(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(_toml(value) for value in values) + "]"
