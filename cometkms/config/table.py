"""The table of settings: what each is called and what may stand there.

From it follow config.toml's keys and their types, the flags of `cmkms start` with their help, the
COMETKMS_* variables, the defaults, what a reload takes over, and what `cmkms init` writes; tests
hold docs/CONFIGURATION.md to it (tests/unit/config/test_table.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cometkms.config.cluster import DEFAULT_RAFT_ADDR
from cometkms.config.toml import as_toml
from cometkms.config.webhook import FORMS
from cometkms.errors import InvariantError
from cometkms.limits import AUDIT_DEFAULT_MIB, LEADER_NEAREST, LEADER_PRIORITY_DEFAULT

LOG_LEVELS: Final = ("debug", "info", "error")
LOG_FORMATS: Final = ("plain", "json")
HARDENING_MODES: Final = ("off", "best-effort", "required")
DISK_AUTO: Final = "auto"
DEFAULT_HTTP_ADDR: Final = "127.0.0.1:8080"
#: What a flag gives; None or () where it gives nothing.
Given = str | bool | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    `default`: as it would be written; `otherwise`: what happens where nobody sets it, in words.

    `example`: a value as it may stand in the file, and `hint` what is said behind it; `choices`:
    words that are possible; `chain`: of one chain, so that a [[chain]] table has it, too; `reload`:
    taken over by a running node; `secret`: its value is shown nowhere.
    """

    key: str
    kind: type[str] | type[list[str]] | type[bool] | type[int]
    help: str
    metavar: str = ""
    default: str = ""
    otherwise: str = ""
    example: str = ""
    hint: str = ""
    choices: tuple[str, ...] = ()
    chain: bool = False
    reload: bool = False
    secret: bool = False
    has_variable: bool = True

    @property
    def flag(self) -> str:
        """Return --raft-addr of raft_addr."""
        return f"--{self.key.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """Return COMETKMS_RAFT_ADDR of raft_addr."""
        return f"COMETKMS_{self.key.upper()}"

    @property
    def words(self) -> str:
        """Return the flag's help, with what holds where nobody sets it."""
        otherwise = self.otherwise or self.default
        return f"{self.help}  [default: {otherwise}]" if otherwise else self.help

    @property
    def toml(self) -> str:
        """Return a value as it may stand in the file: the default, or the example where
        there is none.
        """
        if self.example or not self.default:
            return self.example or "false"
        return self.default if self.kind is int else as_toml(self.default)


SETTINGS: Final = (
    Setting("id", str, "Unique node identifier.", "ID", otherwise="the host's name", example='"node0"'),
    Setting("raft_addr", str, "Address for the cluster's own traffic.", "ADDR", DEFAULT_RAFT_ADDR),
    Setting("http_addr", str, "HTTP listen address.", "ADDR", DEFAULT_HTTP_ADDR),
    # a flag and a key in the file only, as in the Go original
    Setting("default_ttl", str, "Lease of the leader, as 400ms or 1s.", "DURATION", "400ms", has_variable=False),
    Setting(
        "peer",
        list,
        "A node of the cluster (repeatable).",
        "ID=HOST:PORT",
        example='["node0=10.0.0.10:9430", "node1=10.0.0.11:9430", "node2=10.0.0.12:9430"]',
    ),
    Setting(
        "validator_addr",
        list,
        "priv_validator_laddr to dial (repeatable).",
        "ADDR",
        example='["tcp://10.0.0.1:26658"]',
        chain=True,
        reload=True,
    ),
    Setting("agent_addr", str, "Listen here for agents, as :9440.", "ADDR", otherwise="nowhere", example='":9440"'),
    Setting(
        "agents",
        list,
        "An agent that may ask, in a validator address's place (repeatable).",
        "NAME:KEY",
        example='["NAME:KEY"]',
        hint=", as `cmkms agent init` prints it",
        chain=True,
        reload=True,
    ),
    Setting("chain_id", str, "Chain id of the validators.", "ID", example='"my-chain-1"'),
    Setting(
        "sign_bytes",
        bool,
        "Sign SignBytes of CometBFT v1.x, as Berachain's nodes ask for with each block.",
        otherwise="no",
        example="true",
        chain=True,
        reload=True,
    ),
    Setting(
        "raw_bytes_unique_ids",
        list,
        "Sign Celestia's raw bytes with this unique id (repeatable).",
        "ID",
        otherwise="none",
        example='["fiber-commitment"]',
        chain=True,
        reload=True,
    ),
    Setting("log_level", str, "debug, info or error.", "LEVEL", "info", choices=LOG_LEVELS, reload=True),
    Setting("log_format", str, "plain or json.", "FORMAT", "plain", choices=LOG_FORMATS),
    Setting("allow_unsafe", bool, "Accepted for the Go CometKMS; has no effect."),
    Setting(
        "strict_start",
        bool,
        "After a start, promise nothing before every other node has answered: even an old copy of this home put back does no harm.",
    ),
    Setting(
        "hardening",
        str,
        "off, best-effort or required: what if this kernel lacks a protection.",
        "MODE",
        "best-effort",
        example='"best-effort"',
        hint=' (or "required", or "off")',
        choices=HARDENING_MODES,
    ),
    Setting(
        "signer_user",
        str,
        "Whom the signer runs as when root starts the node: a name, a number, or root.",
        "USER",
        example='"cmkms-signer"',
    ),
    Setting(
        "realtime",
        bool,
        "Ask for a real-time class for the signer and the state process, where the unit grants it.",
        example="true",
    ),
    Setting(
        "noise_identity_file",
        str,
        "Who this node is to noise:// validators, as node_key.json; mode 0600.",
        "FILE",
        otherwise="derived from the key",
        example='"priv/noise_key.json"',
    ),
    Setting(
        "key_passphrase_file",
        str,
        "Opens sealed key files; mode 0600.",
        "FILE",
        example='"/etc/cmkms/passphrase"',
    ),
    Setting(
        "key_passphrase_credential",
        str,
        "Likewise: systemd's LoadCredential=NAME:….",
        "NAME",
        example='"cmkms-passphrase"',
    ),
    Setting("key_passphrase_fd", int, "Likewise: an open descriptor, read once.", "N", example="3"),
    Setting(
        "alert_stall",
        str,
        "Alert when no new height was signed for so long; 0s: never.",
        "DURATION",
        "60s",
        reload=True,
    ),
    Setting(
        "alert_latency",
        str,
        "Alert when a minute's p99 of a signature is above it; 0s: never.",
        "DURATION",
        "250ms",
        reload=True,
    ),
    Setting(
        "alert_disk",
        str,
        "Alert when a minute's p99 of fdatasync is above it; auto: above what the disk has shown; 0s: never.",
        "DURATION",
        DISK_AUTO,
        reload=True,
    ),
    Setting(
        "alert_webhook",
        str,
        "Send alerts to this address. It is a secret, and `ps` shows it: rather one of the next two.",
        "URL",
        example='"https://hooks.example.com/services/…"',
        secret=True,
    ),
    Setting(
        "alert_webhook_file",
        str,
        "Likewise, to the address in that file; mode 0600.",
        "FILE",
        example='"priv/webhook"',
    ),
    Setting(
        "alert_webhook_credential",
        str,
        "Likewise: systemd's LoadCredential=NAME:….",
        "NAME",
        example='"cmkms-webhook"',
    ),
    Setting("alert_webhook_form", str, "json or slack.", "FORM", FORMS[0], choices=FORMS),
    Setting(
        "audit_max_mib",
        int,
        "All files of the audit log together; 0: no audit log.",
        "N",
        str(AUDIT_DEFAULT_MIB),
    ),
    Setting(
        "raft_published",
        str,
        "Where the other nodes dial this one, if that is not --raft-addr: behind address translation or a published port.",
        "HOST:PORT",
        example='"203.0.113.7:19430"',
    ),
    Setting(
        "tcp_max_segment",
        int,
        "Keep packets to members and validators this small, where the way loses large ones.",
        "BYTES",
        "0",
        otherwise="what the interface takes",
        example="1200",
    ),
    Setting(
        "leader_priority",
        str,
        "0 to 100: the lead returns to the highest; or nearest.",
        "N",
        str(LEADER_PRIORITY_DEFAULT),
        example=str(LEADER_PRIORITY_DEFAULT),
        choices=(LEADER_NEAREST,),
        reload=True,
    ),
)
BY_KEY: Final[Mapping[str, Setting]] = {one.key: one for one in SETTINGS}
_CHAIN_FILES: Final = {
    "key_file": '"priv/chain-a/priv_validator_key.json"',
    "state_file": '"priv/chain-a/priv_validator_state.json"',
}
#: config.toml's keys and their types; `chain` is the [[chain]] tables.
KEYS: Final[Mapping[str, type]] = {**{one.key: one.kind for one in SETTINGS}, "chain": list}
#: Likewise of a [[chain]] table, whose `id` is the one chain's chain_id.
CHAIN_KEYS: Final[Mapping[str, type]] = {
    "id": str,
    **{one.key: one.kind for one in SETTINGS if one.chain},
    **dict.fromkeys(_CHAIN_FILES, str),
}
#: A value of each key as it may stand in the file, for who wrote a wrong one.
EXAMPLES: Final[Mapping[str, str]] = {one.key: one.toml + one.hint for one in SETTINGS} | _CHAIN_FILES


class Flags:
    """What the command line gave of the settings."""

    def __init__(self, **given: Given) -> None:
        if strange := given.keys() - BY_KEY.keys():
            raise InvariantError(f"no settings: {', '.join(sorted(strange))}")
        self._given = given

    def get(self, key: str) -> Given:
        """Return what was given; None, False or () where nothing was, and False where a
        switch was turned off.
        """
        return self._given.get(key)
