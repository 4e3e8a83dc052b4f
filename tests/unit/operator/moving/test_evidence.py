"""What is held against an old signer's own states, and what an operator's word decides."""

import base64
from dataclasses import replace
from typing import Any

import pytest

from cometkms.core.pure import core as pure
from cometkms.errors import ConfigError, OperatorError
from cometkms.limits import ROUND_MAX
from cometkms.model import HRS, Row, Watermark
from cometkms.net.comet_rpc import parse_rpc
from cometkms.operator.moving.evidence import ask_chain, judge
from cometkms.operator.moving.old_signer import OldSigner, OldState
from tests.unit.net.fake_rpc import RECORDED, FakeRpc, recorded

CORE = pure.CORE
PUBLIC = base64.b64decode(RECORDED["key"]["pub_key"]["value"])
ROW = Row(PUBLIC, RECORDED["status"]["result"]["node_info"]["network"])


def at(height: int, path: str = "/state", what: str = "") -> OldState:
    return OldState(path, Watermark(HRS(height, 0, 3 if height else 0)), what)


def old(*states: OldState, **more: Any) -> OldSigner:
    return OldSigner(None, None, PUBLIC, states, **more)


def test_states_that_nothing_contradicts_are_believed() -> None:
    assert judge(old(at(5)), never_signed=False) == ()
    assert judge(old(at(0), at(5)), never_signed=False) == ()
    assert judge(old(at(5), seen=(at(4), at(5, "/other"))), never_signed=False) == ()


def test_whatever_says_more_is_told_with_both_numbers() -> None:
    [doubt] = judge(old(at(5), seen=(at(9, "/wal", "the node's own log"),)), never_signed=False)
    assert "/wal (the node's own log) says height 9, and the state in use height 5" in doubt.what
    assert "--min-height" in doubt.cure


@pytest.mark.parametrize("states", [(), (at(0),), (at(0), at(0, "/other"))])
def test_nothing_signed_takes_a_word(states: tuple[OldState, ...]) -> None:
    [doubt] = judge(old(*states), never_signed=False)
    assert "--never-signed" in doubt.cure
    assert "--min-height" in doubt.cure
    assert judge(old(*states), never_signed=True) == ()


def test_a_key_that_was_in_use_and_signed_nothing_takes_a_height() -> None:
    for never_signed in (False, True):
        [doubt] = judge(old(at(0), in_use=("/blockstore.db is there",)), never_signed)
        assert "it was in use: /blockstore.db is there" in doubt.what
        assert "--never-signed" not in doubt.cure
        assert "--min-height" in doubt.cure


def test_a_word_that_the_files_contradict_is_refused() -> None:
    [doubt] = judge(old(at(5)), never_signed=True)
    assert "the files say height 5" in doubt.what
    assert judge(old(at(0), seen=(at(3, "/backup"),)), never_signed=True)


def test_a_signature_on_the_chain_above_the_state_is_seen() -> None:
    with FakeRpc() as rpc:
        found = ask_chain(old(at(9)), parse_rpc(rpc.url), ROW, CORE)
        assert [one.mark.hrs for one in found.seen] == [HRS(11, ROUND_MAX, 3)]
        assert not ask_chain(old(at(11)), parse_rpc(rpc.url), ROW, CORE).seen
        assert "the chain's head is at height 12" in found.notes[-1]
        doubts = judge(ask_chain(old(at(0)), parse_rpc(rpc.url), ROW, CORE), never_signed=True)
        assert any("it was in use" in doubt.what and "as a validator" in doubt.what for doubt in doubts)


def test_a_key_that_the_chain_does_not_know_is_not_in_use() -> None:
    with FakeRpc() as rpc:
        found = ask_chain(old(at(0)), parse_rpc(rpc.url), replace(ROW, public_key=bytes(32)), CORE)
        assert found.in_use == ()
        assert found.seen == ()


def test_a_node_that_keeps_few_blocks_is_asked_for_those() -> None:
    def few(method: str, arguments: dict[str, str]) -> Any:
        return RECORDED["error"] if arguments.get("height") == "9" else recorded(method, arguments)

    with FakeRpc(few) as rpc:
        found = ask_chain(old(at(0)), parse_rpc(rpc.url), replace(ROW, public_key=bytes(32)), CORE)
        assert found.seen == ()
        assert ("commit", {"height": "8"}) not in rpc.asked
    with (
        FakeRpc(lambda method, _: RECORDED["error"] if method == "commit" else RECORDED[method]) as rpc,
        pytest.raises(OperatorError),
    ):
        ask_chain(old(at(0)), parse_rpc(rpc.url), ROW, CORE)


def test_a_node_of_another_chain_is_refused() -> None:
    with FakeRpc() as rpc, pytest.raises(ConfigError, match="'other' is asked for"):
        ask_chain(old(at(5)), parse_rpc(rpc.url), replace(ROW, chain_id="other"), CORE)
