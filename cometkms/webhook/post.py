"""Send one request over a connection that somebody else made: TLS, bounds, one deadline, and what
the receiver said. Redirects are not followed: an address that sends elsewhere is told, since
nothing but the configured host may be reached."""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms.config.webhook import WebhookUrl, parse_url
from cometkms.errors import ConfigError, OperatorError, os_words
from cometkms.limits import WEBHOOK_ANSWER_MAX_BYTES, WEBHOOK_TIMEOUT_S, WEBHOOK_WORDS_MAX_BYTES
from cometkms.printable import printable
from cometkms.webhook.message import request_of

#: Where distributions keep the certificates of authorities, for a Python that was built elsewhere.
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_NEW_ADDRESS: Final = (
    "make a new address at the receiver, and write it where alert_webhook, its file or its credential has the old one"
)
#: What an answer that is no delivery means, and what helps.
_MEANINGS: Final = {
    401: ("the receiver wants another secret in the address", _NEW_ADDRESS),
    403: ("the receiver refuses the address: it was revoked, or mistyped", _NEW_ADDRESS),
    404: ("the receiver does not know the address: it was revoked, or mistyped", _NEW_ADDRESS),
    410: ("the receiver has closed the address", _NEW_ADDRESS),
    413: ("the receiver takes no request of this size", "raise its limit: a notice has a few kilobytes"),
    429: ("the receiver takes no more for now", "nothing: a node waits as long as it is asked to, and sends again"),
}
_UNKNOWN_ANSWER: Final = (
    "what the receiver's own log says of it; alert_webhook_form must be what it expects (json or slack)"
)
_NO_WEB_SERVER: Final = "the receiver's own address, with http:// or https:// as it speaks"
#: What helps where the system says why there is no connection.
_UNREACHED: Final = {
    errno.ECONNREFUSED: "start the receiver, or correct the port of the address: nothing listens there",
    errno.ENETUNREACH: "a route to it from this machine (`ip route`), or another address",
    errno.EHOSTUNREACH: "a route to it from this machine, the receiver's machine up, its firewall open; or another address",
    errno.ECONNRESET: "what the receiver, or a proxy before it, logs: it ended the connection",
}
_SILENT: Final = "is the receiver up, and do the firewalls between let this machine through to its port?"
_BY_NAME: Final = "correct the name in the address, or this machine's resolver (`getent hosts NAME`)"
_CERTIFICATE: Final = (
    "the name that its certificate has, in the address; for an authority of your own: SSL_CERT_FILE, a bundle with it"
)


class DeliveryError(OperatorError):
    """The receiver does not have it, or did not say so. `retry_after_s`: how long it asks to be
    left alone; 0: it did not ask."""

    def __init__(self, what: str, retry_after_s: float = 0.0, *, cure: str = "") -> None:
        super().__init__(what, cure=cure)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back of a request that was taken. words: of its body, one line; took_s: all of
    it."""

    status: int
    words: str
    took_s: float


def load_authorities(environment: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """All that verifying needs, in memory: a process that is shut off opens no file. SSL_CERT_FILE
    names a bundle of one's own.

    Raises: ConfigError when there is none.
    """
    # the host's name and the certificate are checked
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    own = environment.get("SSL_CERT_FILE")
    paths = [own] if own else [ssl.get_default_verify_paths().cafile or "", *_BUNDLES]
    for path in paths:
        if path and Path(path).is_file():
            try:
                context.load_verify_locations(cafile=path)
            except OSError as error:
                raise ConfigError(f"{path} holds no certificates that can be used: {os_words(error)}") from error
            return context
    raise ConfigError(
        f"there are no certificates of authorities at {' or '.join(path for path in paths if path)}, so no https:// receiver can be verified",
        cure="the package ca-certificates, or SSL_CERT_FILE",
    )


async def post(
    url: WebhookUrl, body: bytes, connect: Callable[[], Awaitable[socket.socket]], authorities: ssl.SSLContext | None
) -> Answer:
    """One request, within WEBHOOK_TIMEOUT_S. authorities: for https://. Raises: DeliveryError."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(WEBHOOK_TIMEOUT_S):
            head, words = await _exchange(url, body, connect, authorities)
    except TimeoutError:
        raise DeliveryError(f"{url} did not answer within {WEBHOOK_TIMEOUT_S:g} s", cure=_SILENT) from None
    except asyncio.IncompleteReadError:
        raise DeliveryError(f"{url} closed the connection without an answer", cure=_NO_WEB_SERVER) from None
    except asyncio.LimitOverrunError:
        raise DeliveryError(
            f"{url} answered with more than {WEBHOOK_ANSWER_MAX_BYTES} bytes of head", cure=_NO_WEB_SERVER
        ) from None
    except OSError as error:
        raise DeliveryError(f"{url}: {os_words(error)}", cure=_cure_of(error)) from error
    status, headers = _parse(url, head)
    if 200 <= status < 300:
        return Answer(status, words, time.monotonic() - began)
    if status in _REDIRECTS:
        raise DeliveryError(
            f"{url} sends elsewhere (HTTP {status}), and that is not followed",
            cure=f"configure the address that it names{_elsewhere(headers)}",
        )
    meaning, cure = _MEANINGS.get(status, ("", _UNKNOWN_ANSWER))
    said = f" '{words}'" if words else ""  # escaped already
    what = f"{url} answered HTTP {status}{said}{f': {meaning}' if meaning else ''}"
    raise DeliveryError(what, _retry_after(headers), cure=cure)


def _cure_of(error: OSError) -> str:
    """What helps where there was no connection, or none that is trusted."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE
    if isinstance(error, ssl.SSLError):
        return _NO_WEB_SERVER
    if isinstance(error, socket.gaierror):
        return _BY_NAME
    return _UNREACHED.get(error.errno or 0, _SILENT)


async def _exchange(
    url: WebhookUrl, body: bytes, connect: Callable[[], Awaitable[socket.socket]], authorities: ssl.SSLContext | None
) -> tuple[bytes, str]:
    """The answer's head, and the first words of its body."""
    connection = await connect()
    try:
        name = url.host if authorities is not None else None
        reader, writer = await asyncio.open_connection(
            sock=connection, ssl=authorities, server_hostname=name, limit=WEBHOOK_ANSWER_MAX_BYTES
        )
    except BaseException:
        connection.close()
        raise
    try:
        writer.write(request_of(url, body))
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        words = b""
        # the head is the answer; how the rest ends does not matter
        with contextlib.suppress(OSError):
            while len(words) < WEBHOOK_WORDS_MAX_BYTES and (
                more := await reader.read(WEBHOOK_WORDS_MAX_BYTES - len(words))
            ):
                words += more
    finally:
        writer.transport.abort()
    if b"transfer-encoding: chunked" in head.lower():
        words = words.partition(b"\r\n")[2].partition(b"\r\n")[0]
    return head, printable(" ".join(words.decode("utf-8", "replace").split()))


def _parse(url: WebhookUrl, head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers. Raises: DeliveryError for what is no HTTP."""
    first, *rest = head.decode("latin-1").split("\r\n")
    parts = first.split(" ", 2)
    if (
        len(parts) < 2
        or not parts[0].startswith("HTTP/1.")
        or not (parts[1].isascii() and parts[1].isdigit() and len(parts[1]) == 3)
    ):
        raise DeliveryError(f"{url} does not answer as a web server does", cure=_NO_WEB_SERVER)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    return int(parts[1]), headers


def _elsewhere(headers: Mapping[str, str]) -> str:
    """The host that a redirect names, where that is an address to configure; its path is a secret."""
    try:
        return f", at {parse_url(headers.get('location', ''))}"
    except ConfigError:
        return ""


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds; a date, which it may be too, is not read."""
    text = headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0.0
