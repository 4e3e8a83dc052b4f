"""Where alerts are sent to: the address, which is a secret, and where it is got from.

    alert_webhook             the address itself, in config.toml (whose mode then matters)
    alert_webhook_file        a file with the address on one line; refused when others can read it
    alert_webhook_credential  a name below $CREDENTIALS_DIRECTORY, as systemd's LoadCredential=
                              brings it

Whoever knows the address of a chat's webhook can write there. So no error, no line of the log, no
page and no document of this program has more of it than scheme, host and port.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from cometkms.address import bracketed, is_loopback
from cometkms.durable import is_private, open_regular
from cometkms.errors import ConfigError, cure_of_secret, os_words
from cometkms.keys.passphrase import CREDENTIALS_VARIABLE
from cometkms.limits import WEBHOOK_URL_MAX_BYTES

FORMS: Final = ("json", "slack")
_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class WebhookUrl:
    """A checked address. `path` with its query is the secret part: neither str() nor repr() has it."""

    scheme: str
    host: str
    port: int
    path: str = field(repr=False)

    def __str__(self) -> str:
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{bracketed(self.host)}{port}"

    @property
    def encrypted(self) -> bool:
        """Whether TLS protects it."""
        return self.scheme == "https"


def parse_url(text: str) -> WebhookUrl:
    """https://host[:port]/path; http:// to this machine only.

    Raises: ConfigError, which never has the text in it.
    """
    how = "write https://HOST/PATH, as the receiver shows it"
    if len(text) > WEBHOOK_URL_MAX_BYTES:
        raise ConfigError(f"the webhook's address has more than {WEBHOOK_URL_MAX_BYTES} characters")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigError(f"the webhook's address has a space, or a character that no address has; {how}")
    try:
        parts = urlsplit(text)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError(f"the webhook's address is no address; {how}") from None
    if scheme not in _PORTS or not host or port == 0 or parts.fragment:
        raise ConfigError(f"the webhook's address is no address; {how}")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"the webhook's address has a user's name in it, which is not spoken; {how}")
    if scheme == "http" and not is_loopback(host):
        raise ConfigError(
            "the webhook's address is http:// to another machine, which shows the address and every alert to whoever is on the way",
            cure="https://, or a relay on this machine",
        )
    path = parts.path or "/"
    return WebhookUrl(scheme, host, port or _PORTS[scheme], f"{path}?{parts.query}" if parts.query else path)


def shown_url(text: str) -> str:
    """What may be shown of an address as it is written, right or wrong."""
    try:
        return f"{parse_url(text)}/…"
    except ConfigError:
        return "…"


class UrlSource(Protocol):
    """Where the address is got from, by the one process that sends."""

    def read(self) -> WebhookUrl:
        """Raises: ConfigError with the cure."""
        ...

    @property
    def secret_file(self) -> Path | None:
        """What the process must not be able to open afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class UrlGiven:
    """The address itself, checked when the settings were loaded."""

    url: WebhookUrl

    def read(self) -> WebhookUrl:
        """Read the address."""
        return self.url

    @property
    def secret_file(self) -> Path | None:
        """Return the file that the process must not be able to open afterwards."""
        return None


@dataclass(frozen=True, slots=True)
class UrlFile:
    """A file of its own."""

    path: Path

    def read(self) -> WebhookUrl:
        """Read the address."""
        return _read(self.path, private=True)

    @property
    def secret_file(self) -> Path | None:
        """Return the file that the process must not be able to open afterwards."""
        return self.path


@dataclass(frozen=True, slots=True)
class UrlCredential:
    """A credential of the unit. systemd guards the directory."""

    name: str
    directory: str | None

    @classmethod
    def of(cls, name: str, environment: Mapping[str, str]) -> "UrlCredential":
        """Return the credential as this process's environment names it now."""
        return cls(name, environment.get(CREDENTIALS_VARIABLE))

    def read(self) -> WebhookUrl:
        """Read the address."""
        if not self.directory:
            raise ConfigError(
                f"there is no ${CREDENTIALS_VARIABLE}, so no credential {self.name!r}",
                cure=f"LoadCredential={self.name}:PATH in the unit, or alert_webhook_file",
            )
        return _read(Path(self.directory) / self.name, private=False)

    @property
    def secret_file(self) -> Path | None:
        """Return the file that the process must not be able to open afterwards."""
        return Path(self.directory) / self.name if self.directory else None


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where alerts go, and in which form: one of FORMS."""

    source: UrlSource
    form: str


def _read(path: Path, *, private: bool) -> WebhookUrl:
    try:
        fd = open_regular(path)
        with os.fdopen(fd, "rb") as file:
            if private and not is_private(os.fstat(fd)):
                raise ConfigError(
                    f"{path} can be read by others, and has the webhook's address", cure=f"chmod 600 {path}"
                )
            data = file.read(WEBHOOK_URL_MAX_BYTES + 2)
    except OSError as error:
        raise ConfigError(
            f"{path}, which has the webhook's address, cannot be read: {os_words(error)}", cure=cure_of_secret(error)
        ) from error
    try:
        return parse_url(data.decode("ascii", "replace").removesuffix("\n").removesuffix("\r"))
    except ConfigError as error:
        raise error.at(str(path)) from None
