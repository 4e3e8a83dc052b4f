"""A validator that asks for what it cannot have, as often as it can: it is answered, told once and
then as a number, and never sent away.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from cometkms.core import choose
from cometkms.limits import LOG_BURST
from cometkms.model import Dialect, Kind, Message
from cometkms.operator.standin.link import listen
from tests.e2e.node import PREVOTE, Node, cmkms, free_tcp, until

FLOOD = 40


def test_a_flood_of_refusals_washes_nothing_out(
    make_node: Callable[..., Node], make_validator: Callable[..., Any]
) -> None:
    validator = make_validator(free_tcp())
    node = make_node(validator.address).start(wait=False)
    validator.connect()
    validator.must_sign(PREVOTE, 5)
    for number in range(FLOOD):
        validator.must_refuse(PREVOTE, 5, block=f"{number:02x}")
    validator.must_sign(PREVOTE, 6)
    for _ in range(3):
        validator.must_refuse(PREVOTE, 6, block="ee")

    def counted() -> dict[str, Any] | None:
        (chain,) = node.status()["chains"]
        return chain if chain["counters"].get("refused") == {"conflict": FLOOD + 3} else None

    chain = until("every one is counted", counted)
    (link,) = chain["validators"]
    assert link["state"] == "connected"
    assert node.closed_by_itself() == []
    assert node.stop() == 0
    told = [line for line in node.log().splitlines() if re.match(r"E\[[^]]*\] refused ", line)]
    assert sum(int(line.split("more=")[1].split()[0]) if "more=" in line else 1 for line in told) == FLOOD + 3
    assert len(told) <= FLOOD // 2
    lines = [
        json.loads(line)
        for file in (node.home / "data" / "node0" / "audit").iterdir()
        for line in file.read_text().splitlines()
    ]
    kinds = Counter(line["what"] for line in lines)
    assert kinds["signed"] == 2
    assert kinds["refused"] == 1
    assert sum(line["count"] for line in lines if line["what"] == "folded") == FLOOD + 2
    assert kinds["dropped"] == 0


def test_a_signature_that_is_asked_for_again_and_again_washes_nothing_out(
    make_node: Callable[..., Node], make_validator: Callable[..., Any]
) -> None:
    validator = make_validator(free_tcp())
    node = make_node(validator.address).start(wait=False)
    validator.connect()
    first = validator.must_sign(PREVOTE, 5)["signature"]
    assert {validator.must_sign(PREVOTE, 5)["signature"] for _ in range(FLOOD)} == {first}
    validator.must_sign(PREVOTE, 6)
    until("they are counted", lambda: node.status()["chains"][0]["counters"]["repeated"] == FLOOD)
    assert node.stop() == 0
    told = [line for line in node.log().splitlines() if re.match(r"I\[[^]]*\] repeated ", line)]
    assert sum(int(line.split("more=")[1].split()[0]) if "more=" in line else 1 for line in told) == FLOOD
    assert len(told) <= FLOOD // 2
    files = (node.home / "data" / "node0" / "audit").iterdir()
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    kinds = Counter(line["what"] for line in lines)
    assert (kinds["signed"], kinds["repeated"], kinds["dropped"]) == (2, 1, 0)
    assert sum(line["count"] for line in lines if line["what"] == "folded") == FLOOD - 1
    done = cmkms("audit", "verify", "--home", str(node.home))
    assert done.returncode == 0, done.stdout


def test_a_validator_that_comes_and_goes_fills_no_log(make_node: Callable[..., Node]) -> None:
    """It is dialled again at once, as one that restarted must be, and asks for one thing each time."""
    address, core, times = free_tcp(), choose.load(), 3 * LOG_BURST
    node = make_node(address)

    async def come_and_go() -> None:
        listener = listen(core, address)
        node.start(wait=False)
        for _ in range(times):
            link = await listener.accept()
            link.send(core.encode_message(Dialect.PROTO, Message(Kind.PING_REQUEST)))
            await link.receive()
            link.close()
        listener.close()

    asyncio.run(come_and_go())
    assert node.stop() == 0
    connected = [line for line in node.log().splitlines() if "] validator connected" in line]
    assert sum(int(line.split("alike=")[1].split()[0]) if "alike=" in line else 1 for line in connected) == times
    assert len(connected) <= 2 * LOG_BURST


def test_a_flood_of_bytes_that_are_no_vote_holds_no_vote_up_and_washes_nothing_out(
    make_node: Callable[..., Node], make_validator: Callable[..., Any]
) -> None:
    """Signed where the chain allows it, as often as it is asked for: told once and then as a
    number, and each in the audit log's share.
    """
    validator = make_validator(free_tcp(), "v1")
    node = make_node(validator.address).start("--sign-bytes", wait=False)
    validator.connect()
    validator.must_sign(PREVOTE, 5)
    signatures = {validator.ask(cmd="sign_bytes", value="5a" * 32)["signature"] for _ in range(FLOOD)}
    assert len(signatures) == 1
    validator.must_sign(PREVOTE, 6)
    until("they are counted", lambda: node.status()["chains"][0]["counters"].get("signed_values") == FLOOD)
    assert node.stop() == 0
    told = [line for line in node.log().splitlines() if re.match(r"I\[[^]]*\] signed bytes ", line)]
    assert sum(int(line.split("more=")[1].split()[0]) if "more=" in line else 1 for line in told) == FLOOD
    assert len(told) <= FLOOD // 2
    files = (node.home / "data" / "node0" / "audit").iterdir()
    kinds = Counter(json.loads(line)["what"] for file in files for line in file.read_text().splitlines())
    assert (kinds["signed"], kinds["signed_bytes"], kinds["dropped"]) == (2, FLOOD, 0)
