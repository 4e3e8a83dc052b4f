"""A node's answers, recorded from a real one: read, and believed only where the key's
signature verifies.
"""

import base64
import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cometkms.core import choose
from cometkms.errors import OperatorError
from cometkms.keys.public import address_of
from cometkms.model import HRS, Watermark
from cometkms.net.comet_rpc import parse_rpc
from cometkms.operator.doctor.blocks import (
    Flag,
    contradicts,
    is_above,
    is_our_signature,
    parse_commit,
    read_commit,
    read_head,
    read_validator_power,
)
from tests.unit.net.fake_rpc import RECORDED, FakeRpc

CORE = choose.load()
PUBLIC_KEY = base64.b64decode(RECORDED["key"]["pub_key"]["value"])
ADDRESS = address_of(PUBLIC_KEY)
CHAIN = RECORDED["status"]["result"]["node_info"]["network"]
COMMITS = {int(height): parse_commit(answer["result"], ADDRESS) for height, answer in RECORDED["commits"].items()}


def test_the_head_is_read() -> None:
    with FakeRpc() as rpc:
        head = read_head(parse_rpc(rpc.url))
    assert (head.chain_id, head.height, head.catching_up, head.version) == (CHAIN, 12, False, "0.38.26")
    assert head.time_s == pytest.approx(1795688214, abs=5)
    assert head.offset_s is not None
    assert abs(head.offset_s) < 2  # the server of this test runs here


@pytest.mark.parametrize("height", sorted(COMMITS))
def test_every_recorded_signature_is_the_keys_own(height: int) -> None:
    commit = COMMITS[height]
    assert commit.place == HRS(height, commit.round, 3)
    assert commit.signed
    assert is_our_signature(commit, CHAIN, PUBLIC_KEY, CORE)
    assert not is_our_signature(commit, CHAIN + "x", PUBLIC_KEY, CORE)
    assert not is_our_signature(replace(commit, height=height + 1), CHAIN, PUBLIC_KEY, CORE)
    assert not is_our_signature(commit, CHAIN, bytes(32), CORE)


def test_an_absent_line_and_a_missing_one_are_no_signature() -> None:
    commit = COMMITS[5]
    assert commit.entry is not None
    absent = replace(commit, entry=replace(commit.entry, flag=Flag.ABSENT))
    assert (absent.signed, replace(commit, entry=None).signed) == (False, False)
    assert not is_our_signature(absent, CHAIN, PUBLIC_KEY, CORE)


def test_what_lies_above_and_what_contradicts_is_told() -> None:
    commit = COMMITS[5]
    assert commit.entry is not None
    own = Watermark(commit.place, b"bytes", commit.entry.signature)
    assert (is_above(commit, own), contradicts(commit, own)) == (False, False)
    assert (is_above(commit, Watermark(HRS(5, 0, 2))), is_above(commit, None)) == (True, True)
    assert contradicts(commit, replace(own, signature=bytes(64)))
    assert not contradicts(commit, replace(own, hrs=HRS(6, 0, 3), signature=bytes(64)))
    assert not contradicts(commit, replace(own, signature=b""))


def test_the_validator_set_is_searched_page_after_page() -> None:
    def answer(method: str, arguments: dict[str, str]) -> Any:
        assert method == "validators"
        page, own = int(arguments["page"]), RECORDED["validators"]["result"]["validators"]
        others = [{**own[0], "address": f"{n:040X}"} for n in range(100)]
        return {"result": {"validators": own if page == 3 else others, "total": "201"}}

    with FakeRpc(answer) as rpc:
        assert read_validator_power(parse_rpc(rpc.url), 12, ADDRESS) == (10, 201)


def test_a_key_outside_the_set_has_no_power() -> None:
    with FakeRpc() as rpc:
        assert read_validator_power(parse_rpc(rpc.url), 12, ADDRESS) == (10, 1)
        assert read_validator_power(parse_rpc(rpc.url), 12, "AB" * 20) == (None, 1)


def test_a_node_that_counts_wrong_does_not_keep_us_for_ever() -> None:
    empty = {"result": {"validators": [], "total": "1000000"}}
    with FakeRpc(lambda *_: empty) as rpc:
        assert read_validator_power(parse_rpc(rpc.url), 12, ADDRESS) == (None, 1000000)
        assert len(rpc.asked) == 1


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, inner in items for found in leaves(inner, (*path, key)))]


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just([]), st.just({}),
    st.just("99999999999999999999"), st.just("2026-13-45T00:00:00Z"), st.just([{}]), st.just({"a": []}),
)  # fmt: skip


@pytest.mark.parametrize("method", ["status", "commit", "validators"])
@settings(deadline=None)
@given(data=st.data())
def test_an_answer_with_any_part_replaced_is_read_or_refused_in_words(method: str, data: st.DataObject) -> None:
    good = RECORDED["commits"]["7"] if method == "commit" else RECORDED[method]
    document = deepcopy(good)
    paths = [path for path in leaves(document["result"]) if path]
    path = data.draw(st.sampled_from(paths))
    at: Any = document["result"]
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = data.draw(ODD)
    read = {"status": read_head, "commit": lambda a: read_commit(a, 7, ADDRESS),
            "validators": lambda a: read_validator_power(a, 12, ADDRESS)}[method]  # fmt: skip
    body = json.dumps(document).encode()
    from cometkms.net.comet_rpc import RpcAnswer
    from cometkms.operator.doctor import blocks

    asked = RpcAnswer(json.loads(body)["result"], "Thu, 26 Nov 2026 10:16:54 GMT", 0.0, 0.0)
    original = blocks.ask_rpc
    blocks.ask_rpc = lambda *_a, **_k: asked  # type: ignore[assignment]
    try:
        read(parse_rpc("http://node:1"))
    except OperatorError as error:
        assert "not understood" in str(error)
    finally:
        blocks.ask_rpc = original
