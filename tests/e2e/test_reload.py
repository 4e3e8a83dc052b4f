"""SIGHUP to a real node: validators come, go and move, the level changes, a wrong file changes
nothing, flags win.
"""

import itertools
import os
import signal
from collections.abc import Iterator

import pytest

from tests.e2e.node import CHAIN, PRECOMMIT, Node, Validator, free_tcp, until


class Reloaded(Node):
    """A node whose config.toml changes while it runs."""

    def reload(self, before: str, after: str, says: str) -> None:
        """Change the file, send SIGHUP, wait until the log says so."""
        path = self.home / "config.toml"
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))
        seen = len(self.log())
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)
        until(f"it says {says!r}", lambda: says in self.log()[seen:])

    def validators(self) -> list[str]:
        return [one["addr"] for one in self.status()["chains"][0]["validators"]]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reloaded]:
    made = Reloaded(tmp_path_factory.mktemp("reload") / "node0", free_tcp())
    made.start("--hardening", "off")  # then it may dial whom it likes
    yield made
    made.stop()


@pytest.fixture(scope="module")
def validators(node: Reloaded) -> Iterator[list[Validator]]:
    made = [Validator(address) for address in (*node.addresses, free_tcp(), free_tcp())]
    yield made
    for one in made:
        one.close()


def test_validators_are_added_and_moved_while_the_others_are_served_on(
    node: Reloaded, validators: list[Validator]
) -> None:
    first, second, third = validators
    first.connect()
    first.must_sign(PRECOMMIT, 1)
    node.reload(f'"{first.address}"', f'"{first.address}", "{second.address}"', f"{second.address} of {CHAIN} added")
    second.connect()
    second.must_sign(PRECOMMIT, 2)
    node.reload(second.address, third.address, f"{second.address} of {CHAIN} removed")  # it moved
    third.connect()
    third.must_sign(PRECOMMIT, 3)
    first.must_sign(PRECOMMIT, 4)
    until("the board shows it", lambda: node.validators() == [first.address, third.address])
    assert node.closed_by_itself(first.address) == []


def test_the_log_level_changes_in_every_process(node: Reloaded, validators: list[Validator]) -> None:
    first = validators[0]
    node.reload('log_level = "info"', 'log_level = "error"', "log_level: info -> error")
    rounds, signed = itertools.count(), node.status()["chains"][0]["counters"]["signed"]

    def untold() -> bool:
        """The supervisor says it first, and each process takes it over a moment later."""
        place = f"height=5 round={(round_ := next(rounds))} "
        first.must_sign(PRECOMMIT, 5, round_)
        until("it is counted", lambda: node.status()["chains"][0]["counters"]["signed"] > signed + round_)
        return place not in node.log()

    until("a signature is not logged", untold)
    node.reload('log_level = "error"', 'log_level = "info"', "log_level: error -> info")

    def told() -> bool:
        first.must_sign(PRECOMMIT, 6, next(rounds))
        return "height=6 " in node.log()

    until("a signature is logged", told)


def test_whom_the_lead_returns_to_is_told_anew(node: Reloaded) -> None:
    node.reload("leader_priority = 50", 'leader_priority = "nearest"', "leader_priority: 50 -> nearest")
    node.reload('leader_priority = "nearest"', "leader_priority = 50", "leader_priority: nearest -> 50")


def test_what_needs_a_restart_is_named_and_a_wrong_file_changes_nothing(
    node: Reloaded, validators: list[Validator]
) -> None:
    node.reload("strict_start = false", "strict_start = true", 'what="strict_start: False -> True"')
    node.reload("strict_start = true", "strict_start = maybe", 'what="nothing was changed; the node runs on')
    validators[2].must_sign(PRECOMMIT, 7)
    node.reload("strict_start = maybe", "strict_start = false", "changed=nothing")


def test_a_signer_that_starts_again_has_what_was_reloaded(node: Reloaded, validators: list[Validator]) -> None:
    before = node.child("signer")["pid"]
    os.kill(before, signal.SIGKILL)
    until("another signer", lambda: node.child("signer")["pid"] not in (0, before))
    validators[2].connect()
    validators[2].must_sign(PRECOMMIT, 8)
    until("its validators", lambda: node.validators() == [validators[0].address, validators[2].address])


def test_an_address_given_by_a_flag_stays_and_that_is_said(node: Reloaded, validators: list[Validator]) -> None:
    first, second, third = validators
    assert node.stop() == 0
    node.start("--validator-addr", first.address)
    node.reload(third.address, second.address, "validator_addr of config.toml has no effect: --validator-addr is given")
    until("the board shows it", lambda: node.validators() == [first.address])
    first.connect()
    first.must_sign(PRECOMMIT, 9)


def test_a_signer_that_was_shut_off_from_the_new_address_is_replaced_by_one_that_is_not(
    node: Reloaded, validators: list[Validator]
) -> None:
    """Where the kernel shuts nothing off, the same process takes it over."""
    first, second, third = validators
    assert node.stop() == 0
    node.start()
    before = node.child("signer")["pid"]
    shut_off = {
        one["measure"] for one in node.status()["hardening"] if one["process"] == "signer" and one["state"] == "on"
    }
    node.reload(second.address, third.address, f"{third.address} of {CHAIN} added")
    third.connect()
    third.must_sign(PRECOMMIT, 10)
    first.connect()
    first.must_sign(PRECOMMIT, 11)
    replaced = "tcp_ports" in shut_off
    until(
        "the process that took it over is shown", lambda: (node.child("signer")["pid"] not in (0, before)) == replaced
    )
    assert node.child("signer")["restarts"] == 0
