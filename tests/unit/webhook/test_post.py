"""One request, against a real receiver on this machine: what is a delivery, what is none and why,
and that each ends in time.
"""

import asyncio
import errno
import json
import socket
import ssl
from pathlib import Path

import pytest

from cometkms.address import Address
from cometkms.config.webhook import parse_url
from cometkms.errors import ConfigError
from cometkms.limits import WEBHOOK_WORDS_MAX_BYTES
from cometkms.net.dial import connect
from cometkms.webhook import post as posting
from cometkms.webhook.post import Answer, DeliveryError, load_authorities, post
from tests.e2e.receiver import CERTIFICATE, Receiver, receiver


def send(where: Receiver, host: str = "localhost", authorities: ssl.SSLContext | None = None) -> Answer:
    url = parse_url(where.url(host=host))

    async def dial() -> socket.socket:
        return await connect(Address("127.0.0.1", url.port))

    return asyncio.run(post(url, b'{"a":1}', dial, authorities))


def test_what_the_receiver_takes_is_delivered_with_its_words() -> None:
    with receiver() as where:
        answer = send(where)
        assert (answer.status, answer.words) == (200, "ok")
        assert where.got == [{"a": 1}]
    assert len(answer.words) <= WEBHOOK_WORDS_MAX_BYTES


@pytest.mark.parametrize(
    ("how", "words", "patience_s"),
    [
        ("500", "answered HTTP 500 'no_service'", 0),
        ("escapes", "answered HTTP 500 'a\\x1b[2Jb'", 0),
        ("404", "the receiver does not know the address: it was revoked, or mistyped", 0),
        ("busy", "answered HTTP 429: the receiver takes no more for now", 2),
        ("hang", "did not answer within 0.5 s", 0),
        ("drip", "did not answer within 0.5 s", 0),
        ("drop", "closed the connection without an answer", 0),
        ("redirect", "sends elsewhere (HTTP 307), and that is not followed", 0),
        ("garbage", "does not answer as a web server does", 0),
        ("endless", "bytes of head", 0),
    ],
)
def test_what_is_no_delivery_says_why_and_ends_in_time(
    how: str, words: str, patience_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how in ("hang", "drip"):
        monkeypatch.setattr(posting, "WEBHOOK_TIMEOUT_S", 0.5)
    with receiver() as where:
        where.behave = how
        with pytest.raises(DeliveryError) as error:
            send(where)
        assert words in str(error.value)
        assert str(error.value).startswith(where.url(""))
        assert "SECRET" not in str(error.value)
        assert error.value.retry_after_s == patience_s
        assert error.value.cure, "whatever is in the way, there is something to do"
        assert where.asked == ["/services/T0/SECRET"], "once, and nowhere else"


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://hooks.example.org/services/SECRET", ", at https://hooks.example.org"),
        ("https://hooks.example.org:8443/SECRET", ", at https://hooks.example.org:8443"),
        ("/login/SECRET", ""),
        ("http://elsewhere.example/SECRET", ""),
        ("https://\x1b[2J/SECRET", ""),
        ("", ""),
    ],
)
def test_of_a_redirect_the_host_is_told_and_nothing_of_its_path(location: str, told: str) -> None:
    assert posting._elsewhere({"location": location}) == told


def test_who_is_not_there_is_named() -> None:
    with receiver() as where:
        pass
    with pytest.raises(DeliveryError, match="connection refused; cure: start the receiver, or correct the port"):
        send(where)


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (ConnectionResetError(errno.ECONNRESET, "x"), "it ended the connection"),
        (OSError(errno.ENETUNREACH, "x"), "a route to it from this machine"),
        (OSError(errno.EHOSTUNREACH, "x"), "its firewall open"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "correct the name"),
        (TimeoutError(errno.ETIMEDOUT, "x"), "do the firewalls between let this machine through"),
        (OSError(errno.EADDRNOTAVAIL, "x"), "is the receiver up"),
    ],
)
def test_a_connection_that_cannot_be_made_is_told_with_what_helps(error: OSError, cure: str) -> None:
    async def dial() -> socket.socket:
        raise error

    with pytest.raises(DeliveryError) as failed:
        asyncio.run(post(parse_url("http://127.0.0.1:1/x"), b"{}", dial, None))
    assert cure in failed.value.cure


def test_tls_is_verified_by_authority_and_by_name() -> None:
    own = load_authorities({"SSL_CERT_FILE": str(CERTIFICATE)})
    with receiver(tls=True) as where:
        assert send(where, authorities=own).words == "ok"
        with pytest.raises(DeliveryError, match=r"certificate is not trusted.*SSL_CERT_FILE"):
            send(where, "127.0.0.1", own)
        empty = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with pytest.raises(DeliveryError, match=r"certificate is not trusted.*SSL_CERT_FILE"):
            send(where, authorities=empty)
        assert where.got == [{"a": 1}]
    with receiver() as plain, pytest.raises(DeliveryError, match=r"TLS: .*http:// or https:// as it speaks"):
        url = parse_url(plain.url().replace("http:", "https:"))

        async def dial() -> socket.socket:
            return await connect(Address("127.0.0.1", url.port))

        asyncio.run(post(url, json.dumps({}).encode(), dial, own))


def test_authorities_that_are_not_there_or_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no certificates of authorities at .*none"):
        load_authorities({"SSL_CERT_FILE": str(tmp_path / "none")})
    (tmp_path / "odd").write_text("no certificate")
    with pytest.raises(ConfigError, match="holds no certificates that can be used"):
        load_authorities({"SSL_CERT_FILE": str(tmp_path / "odd")})
