"""A host and a port are read and written in one way, and what is no address is refused with what to
write instead.
"""

import pytest

from cometkms.address import Address, NoiseAddress, bracketed
from cometkms.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1:26658", Address("10.0.0.1", 26658)),
        ("validator.example:1", Address("validator.example", 1)),
        (":8080", Address("", 8080)),
        ("[::1]:65535", Address("::1", 65535)),
    ],
)
def test_what_is_read_is_written_alike(text: str, address: Address) -> None:
    """An address that is shown can be put into a setting again, IPv6 included."""
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("host", "no address"),
        ("host:", "no address"),
        ("host:0", "no address"),
        ("host:65536", "no address"),
        ("host:²", "no address"),
        ("host:000080", "no address"),
        ("::1:26658", "in brackets"),
        ("http://127.0.0.1:8080", "host:port alone"),
        ("tcp:/127.0.0.1:26658", "host:port alone"),
        ("a..b:1", "no valid host"),
        ("a b:1", "no valid host"),
        ("[x:y]:1", "no valid host"),
    ],
)
def test_what_is_no_address_is_refused(text: str, words: str) -> None:
    """The error says what is wrong and how an address is written."""
    with pytest.raises(ConfigError, match=words):
        Address.parse(text)


def test_a_port_that_the_system_chooses_is_read_only_where_it_is_asked_for() -> None:
    """Nobody can dial port 0, so a setting may not have it."""
    assert Address.parse("127.0.0.1:0", port_min=0) == Address("127.0.0.1", 0)
    with pytest.raises(ConfigError):
        Address.parse("127.0.0.1:0")


def test_the_key_that_a_listener_must_prove_is_part_of_where_it_listens() -> None:
    """Two addresses that differ in the key only are different, and the key is never
    shown with the address.
    """
    noise = NoiseAddress("::1", 1, bytes(32))
    assert noise != Address("::1", 1)
    assert noise != NoiseAddress("::1", 1, b"x" * 32)
    assert str(noise) == "[::1]:1"


def test_an_ipv6_host_stands_in_brackets() -> None:
    """Brackets that are there already are not doubled."""
    assert [bracketed(host) for host in ("::1", "[::1]", "10.0.0.1", "name")] == ["[::1]", "[::1]", "10.0.0.1", "name"]
