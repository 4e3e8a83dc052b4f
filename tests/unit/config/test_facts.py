"""What the hello says of the settings: alike where they are alike, whatever the order,
and never too long.
"""

from pathlib import Path

from cometkms.config.facts import sealed_for_fact, settings_facts
from cometkms.config.load import load_settings
from cometkms.config.table import Flags
from cometkms.limits import FACT_TEXT_MAX_BYTES
from cometkms.wire.peer_messages import make_facts


def facts(home: Path, *validators: str, **flags: object) -> dict[str, str]:
    settings = load_settings(home, Flags(id="n", chain_id="chain", validator_addr=validators, **flags), {})  # type: ignore[arg-type]
    return settings_facts(settings)


def test_the_order_of_the_addresses_is_no_difference(tmp_path: Path) -> None:
    one, other = facts(tmp_path, "tcp://a:1", "tcp://b:1"), facts(tmp_path, "tcp://b:1", "tcp://a:1")
    assert one == other
    assert one["validators"] == "chain: tcp://a:1 tcp://b:1"
    assert (one["default_ttl_ms"], one["strict_start"]) == ("400", "off")


def test_many_addresses_become_a_digest_that_still_tells_them_apart(tmp_path: Path) -> None:
    many = [f"tcp://validator-{n}.example.org:26658" for n in range(20)]
    one = facts(tmp_path, *many)["validators"]
    assert one.startswith("20 addresses, digest ")
    assert one != facts(tmp_path, *many[:-1], "tcp://other:1")["validators"]
    assert len(one) <= FACT_TEXT_MAX_BYTES


def test_a_peer_takes_every_one_of_them(tmp_path: Path) -> None:
    told = facts(tmp_path, "unix:///run/p\u00e4th.sock", default_ttl="1s", strict_start=True)
    assert dict(make_facts(told)) == told


def test_what_is_signed_besides_votes_is_told_whatever_its_order(tmp_path: Path) -> None:
    assert facts(tmp_path, "tcp://a:1")["signed_bytes"] == "nothing"
    one = facts(tmp_path, "tcp://a:1", sign_bytes=True, raw_bytes_unique_ids=("y", "x"))["signed_bytes"]
    assert one == "chain: SignBytes x y"
    long = tuple(f"{n}" * 100 for n in range(8))
    many = facts(tmp_path, "tcp://a:1", raw_bytes_unique_ids=long)["signed_bytes"]
    assert many.startswith("of 1 chains, digest ")
    assert many == facts(tmp_path, "tcp://a:1", raw_bytes_unique_ids=long[::-1])["signed_bytes"]
    assert many != facts(tmp_path, "tcp://a:1", raw_bytes_unique_ids=long[1:])["signed_bytes"]


def test_agents_are_told_in_the_validators_place_so_that_nodes_notice_another_list(tmp_path: Path) -> None:
    first, second = "a" * 64, "b" * 64
    one = facts(tmp_path, agents=(f"y:{second}", f"x:{first}"), agent_addr=":9440")["validators"]
    assert one == facts(tmp_path, agents=(f"x:{first}", f"y:{second}"), agent_addr=":9441")["validators"]
    assert one != facts(tmp_path, agents=(f"x:{first}",), agent_addr=":9440")["validators"]
    assert facts(tmp_path, agents=(f"x:{first}",), agent_addr=":9440")["validators"] == f"chain: agent:x:{first}"


def test_whom_a_node_is_sealed_for_is_told_in_words_and_alike_where_the_lists_are() -> None:
    assert sealed_for_fact(("b", "a")) == sealed_for_fact(("a", "b")) == "a, b"
    assert sealed_for_fact(()) == ""
    long = [f"{n}" * 60 for n in range(5)]
    assert sealed_for_fact(long).startswith("5 members, digest ")
    assert sealed_for_fact(long) == sealed_for_fact(long[::-1]) != sealed_for_fact(["x" * 60, *long[1:]])
    assert dict(make_facts({"sealed_for": sealed_for_fact(long)}))["sealed_for"] == sealed_for_fact(long)
