"""Who is let in, and what a member says of itself."""

import msgpack
import pytest

from cometkms import __version__
from cometkms.errors import ProtocolError
from cometkms.model import Row
from cometkms.state import roster as roster_module
from cometkms.wire.peer_messages import (
    FactsNews,
    PeerMessage,
    encode,
    make_facts,
)
from cometkms.wire.peer_messages import Raft as RaftMessage
from tests.unit.state.three import ROW, Three, leading


def test_hellos_that_differ_say_both_sides(three: Three) -> None:
    three.add("a")
    three.add("b", epoch=2)
    reason = three.meet("a", "b")
    assert reason is not None
    assert "a has epoch 1" in reason
    assert "b has epoch 2" in reason
    three.add("c", digest=b"x" * 32)
    assert "digests differ" in str(three.meet("a", "c"))


def test_a_second_process_of_an_id_is_refused_while_the_first_answers(three: Three) -> None:
    three.add("a")
    three.add("b")
    assert three.meet("a", "b") is None
    twin = three.add("b")
    assert "two processes with the id 'b'" in str(three.meet("a", "b"))
    three.nodes["a"].node.on_disconnected("b", closed=True)
    assert three.meet("a", "b") is None
    assert twin is three.nodes["b"]


def test_a_hello_of_another_protocol_is_refused_with_both_versions_and_the_cure(three: Three) -> None:
    """Its fields may be anything: only the first three values are looked at.

    Both sides see the same, from their own end.
    """
    node = three.add("a").node
    reason = node.on_hello("b", msgpack.packb([0, 3, "9.9.9", {"future": [1.5, None]}]), "address")
    assert reason is not None
    for words in ("a runs CometKMS", __version__, "protocol 2", "b runs 9.9.9 with protocol 3", "cure: "):
        assert words in reason
    assert node.roster.members["b"].refused == reason
    assert (node.roster.members["b"].nonce, node.roster.members["b"].facts) == (0, ())


def test_members_keep_what_each_said_and_name_what_differs(three: Three) -> None:
    alike = {"default_ttl_ms": "400", "strict_start": "off", "validators": "chain: tcp://v:1", "python": "3.11"}
    three.add("a", facts=alike)
    three.add("b", facts={**alike, "default_ttl_ms": "900", "python": "3.13"})
    three.add("c", facts=alike, rows=(ROW, Row(b"o" * 32, "other")))
    three.meet_all()
    a = three.nodes["a"]
    assert dict(a.node.roster.members["b"].facts)["python"] == "3.13"
    assert a.node.roster.members["b"].version == __version__
    assert [one.document() for one in a.node.roster.differences] == [
        {"member": "b", "what": "default_ttl_ms", "here": "400", "there": "900"},
        {"member": "c", "what": "chains", "here": "nothing more", "there": f"other with the key {b'oooooooo'.hex()}"},
    ]
    assert [(one.member, one.there) for one in three.nodes["b"].node.roster.differences] == [
        ("a", "400"),
        ("c", "400"),
        ("c", f"other with the key {b'oooooooo'.hex()}"),
    ]


def test_a_difference_is_said_once_and_goes_when_the_member_says_otherwise(three: Three) -> None:
    three.add("a", facts={"default_ttl_ms": "400"})
    three.add("b", facts={"default_ttl_ms": "900"})
    three.add("c", facts={"default_ttl_ms": "400"})
    three.meet_all()
    three.meet("a", "b")
    a, b = three.nodes["a"], three.nodes["b"]
    assert sum("nodes differ" in line for line in a.log.lines) == 1
    b.node.roster.tell_facts(make_facts({"default_ttl_ms": "400"}))
    three.pump()
    assert (a.node.roster.differences, b.node.roster.differences) == ((), ())
    a.node.roster.tell_facts(make_facts({"default_ttl_ms": "500"}))
    three.pump()
    assert [(one.member, one.here, one.there) for one in a.node.roster.differences] == [
        ("b", "500", "400"), ("c", "500", "400"),
    ]  # fmt: skip
    assert [(one.here, one.there) for one in b.node.roster.differences] == [("400", "500")]


def test_the_same_frame_of_the_replicated_log_is_decoded_once(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    """The heartbeats of an idle cluster are the same bytes for hours; whatever else comes in
    between is decoded each time.
    """
    a = leading(three)
    heard: list[bytes] = []
    decoded: list[bytes] = []
    a.raft.on_message = lambda _peer, payload: heard.append(payload) or ""
    stock = roster_module.decode

    def count(untrusted: bytes) -> PeerMessage:
        decoded.append(untrusted)
        return stock(untrusted)

    monkeypatch.setattr(roster_module, "decode", count)
    one, other, large = (encode(RaftMessage(payload)) for payload in (b"one", b"other", b"l" * 1000))
    facts = encode(FactsNews(()))
    for frame in (one, one, facts, one, other, other, one, large, large, one):
        a.node.on_frame("b", frame)
    assert heard == [b"one"] * 3 + [b"other"] * 2 + [b"one"] + [b"l" * 1000] * 2 + [b"one"]
    assert decoded == [one, facts, other, one, large, large]
    with pytest.raises(ProtocolError):
        a.node.on_frame("b", one + b"?")
