"""The demo's course: what a narrow terminal shows of it, and how it ends before it began."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click.testing import CliRunner

from cometkms.cli.demo import command as demo
from cometkms.cli.standin import command as standin
from cometkms.operator.demo.nodes import DemoFailure
from cometkms.operator.demo.show import Show


class Validator:
    """One that has seen a day of the demo, or nothing."""

    def __init__(self, signatures: int) -> None:
        self.signatures, self.refusals, self.connects, self.public_key = signatures, signatures // 30, 1, b""
        self.latencies_us = [860.0] * signatures

    async def wait_for_signer(self) -> None:
        await asyncio.Event().wait()


class Cluster:
    """Three nodes that are starting, for ever."""

    nodes: tuple[Any, ...] = ()
    agent = None

    async def statuses(self) -> list[dict[str, Any]]:
        return []

    def ended(self) -> None:
        return None

    def log_tails(self) -> str:
        return "tails"


class Screen:
    is_terminal = False


def show(signatures: int, stop: asyncio.Event) -> Show:
    return Show(cast("Any", Validator(signatures)), cast("Any", Cluster()), cast("Any", Screen()), stop)


def test_who_leads_is_within_eighty_columns_of_a_long_demo() -> None:
    async def main() -> str:
        one = show(99_999, asyncio.Event())
        cast("Any", one._cluster).nodes = (SimpleNamespace(id="node2"),)
        one._statuses = [{"is_leader": True, "node": {"id": "node2"}, "leader_id": "node2"}]
        return one._line(33_333)

    line = asyncio.run(main())[:80]
    assert line.startswith("height 33333  ")
    assert "leads" in line
    assert "99999 signatures verified" in line


def test_a_demo_that_is_ended_before_the_first_signature_says_so_and_not_that_all_were_verified() -> None:
    async def main() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_soon(stop.set)
        await show(0, stop).run(None, None, asyncio.Queue())

    with pytest.raises(DemoFailure, match=r"^it was ended before anything was signed$"):
        asyncio.run(main())


@pytest.mark.parametrize("command", [demo, standin])
def test_no_seconds_are_not_for_ever(command: Any) -> None:
    ended = CliRunner().invoke(command, ["--seconds", "0"])
    assert ended.exit_code == 2
    assert "x>0" in ended.output
