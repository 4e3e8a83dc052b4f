"""An agent hears of keys of every type, and takes no answer whose signature it could not verify."""

from types import SimpleNamespace

import pytest

from cometkms.agent.process import Agent, _load_public_keys
from cometkms.errors import OperatorError, ProtocolError
from cometkms.keytypes import KEY_TYPES, typed
from cometkms.wire.agent_messages import AgentMessage, Hello, ServedChain, Unpacker, decode, encode

KEYS = [typed(one, b"\x02" * one.public_bytes) for one in KEY_TYPES]


def told(hello: Hello) -> AgentMessage:
    """What the other end reads of it."""
    (message,) = Unpacker().feed(encode(hello))
    return decode(message)


def test_a_hello_shows_keys_of_every_type_and_nothing_else_of_that_place() -> None:
    hello = Hello("node0", "node1", tuple(ServedChain(f"c-{number}", key) for number, key in enumerate(KEYS)))
    assert told(hello) == hello
    for wrong in (b"", b"k" * 31, b"k" * 33, b"\x09" + b"k" * 33, b"\x02" + b"k" * 96, b"k" * 98):
        with pytest.raises(ProtocolError):
            told(Hello("node0", "node1", (ServedChain("c", wrong),)))


def test_keys_of_every_type_are_known_again_after_a_start(tmp_path) -> None:
    path = tmp_path / "public_keys.json"
    path.write_text("{" + ", ".join(f'"c-{number}": "{key.hex()}"' for number, key in enumerate(KEYS)) + "}")
    assert list(_load_public_keys(path).values()) == KEYS
    path.write_text('{"c": "' + "00" * 33 + '"}')
    assert _load_public_keys(path) == {}


def test_a_chain_whose_signatures_cannot_be_verified_here_is_not_served() -> None:
    """The node's link ends with the package that is missing in its words."""

    def missing(key_type: object) -> None:
        raise OperatorError("need the package coincurve")

    agent = SimpleNamespace(core=SimpleNamespace(require=missing))
    with pytest.raises(ProtocolError, match=r"node0 signs for c .* need the package coincurve"):
        Agent._must_verify(agent, "node0", ServedChain("c", KEYS[1]))
