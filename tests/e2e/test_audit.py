"""The audit log of a whole node: every decision with the hash of what the validator got, whatever
dies and whatever the disk does.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nacl.signing import VerifyKey

from cometkms.audit.files import directory_of, files_in, lines_of, verify
from cometkms.audit.lines import Line
from cometkms.core import native
from cometkms.model import BlockID, Dialect, Kind, Message, Proposal, Timestamp, Vote
from tests.e2e.faults import Faults
from tests.e2e.node import CHAIN, PRECOMMIT, PREVOTE, PROPOSAL, Node, Validator, ballot, cmkms, free_tcp, until

CORE = native.load()


def directory(node: Node) -> Path:
    return directory_of(node.home, "node0")


def lines(node: Node) -> list[Line]:
    return [line for path in files_in(directory(node)) for line in lines_of(path, lambda _: True)]


def what(node: Node) -> list[str]:
    return [line.what for line in lines(node)]


def told(node: Node) -> int:
    """Decisions that are in the log, and those that it says are missing."""
    return sum(line.fields.get("count", 1) for line in lines(node) if line.what in ("signed", "refused", "dropped"))


def sign_bytes_of(kind: int, height: int, *, second: int = 0) -> bytes:
    """Of what tests.e2e.node.ballot() asks for."""
    block = BlockID(b"\xaa" * 32, 1, b"\xbb" * 32)
    at = Timestamp(1_700_000_000 + second, 5)
    if kind == PROPOSAL:
        proposal = Proposal(PROPOSAL, height, 0, -1, block, at)
        message = Message(Kind.SIGN_PROPOSAL_REQUEST, CHAIN, proposal=proposal)
    else:
        message = Message(Kind.SIGN_VOTE_REQUEST, CHAIN, vote=Vote(kind, height, 0, block, at))
    return CORE.check_request(Dialect.PROTO, CHAIN, message).sign_bytes


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_every_kind_of_decision_is_there_with_the_hash_of_what_the_validator_got(
    make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    address = free_tcp()
    validator, node = make_validator(address), make_node(address).start()
    key = VerifyKey(bytes.fromhex(validator.connect()))
    expected = []
    for kind in (PROPOSAL, PREVOTE, PRECOMMIT):
        answer = validator.must_sign(kind, 5)
        key.verify(sign_bytes_of(kind, 5), bytes.fromhex(answer["signature"]))
        expected.append(("signed", "", 5, sha256(sign_bytes_of(kind, 5))))
    validator.must_sign(PRECOMMIT, 5, second=9)  # the first signature again
    expected.append(("repeated", "", 5, sha256(sign_bytes_of(PRECOMMIT, 5))))
    validator.must_refuse(PREVOTE, 5)
    expected.append(("refused", "step_regression", 5, sha256(sign_bytes_of(PREVOTE, 5))))
    validator.must_refuse(PRECOMMIT, 4)
    expected.append(("refused", "height_regression", 4, sha256(sign_bytes_of(PRECOMMIT, 4))))
    validator.must_refuse(PRECOMMIT, 6, hash="", parts="bb" * 32)
    expected.append(("refused", "bad_block_id", 0, ""))
    state = node.child("state")["pid"]
    os.kill(state, signal.SIGSTOP)
    try:
        assert not validator.ask(**ballot(PRECOMMIT, 6)).get("signature")
    finally:
        os.kill(state, signal.SIGCONT)
    expected.append(("unanswered", "no_permit", 6, sha256(sign_bytes_of(PRECOMMIT, 6))))
    validator.must_sign(PRECOMMIT, 6)
    expected.append(("signed", "", 6, sha256(sign_bytes_of(PRECOMMIT, 6))))
    identity = until("it is told", lambda: node.status()["chains"][0]["validators"][0]["remote_identity"])
    until(
        "the last one is written", lambda: what(node).count("signed") == 4
    )  # a busy machine may leave no time for it in a stop
    assert node.stop() == 0
    found = [line.fields for line in lines(node) if "bytes" in line.fields]
    seen = [(one["what"], one["reason"], one["height"], one["bytes"]) for one in found]
    # A slow disk may leave more requests unanswered, which the validator asks again: each is a
    # line, and none that was asked for lacks.
    assert [one for one in seen if one[0] != "unanswered"] == [one for one in expected if one[0] != "unanswered"]
    assert {one for one in expected if one[0] == "unanswered"} <= set(seen)
    assert {(one["chain"], one["validator"], one["identity"]) for one in found} == {(CHAIN, address, identity)}
    done = cmkms("audit", "verify", "--home", str(node.home), "--json")
    assert done.returncode == 0, done.stdout
    report = json.loads(done.stdout)
    unanswered = sum(one[0] == "unanswered" for one in seen)
    of_bytes = {"signed_bytes": 0, "refused_bytes": 0}
    assert report["decisions"] == {"signed": 4, "repeated": 1, "refused": 3, "unanswered": unanswered, **of_bytes}
    shown = cmkms("audit", "show", "--home", str(node.home), "--height", "5", "--outcome", "refused")
    assert "5/0/2  step_regression" in shown.stdout
    assert len(shown.stdout.splitlines()) == 1


def test_whatever_is_killed_the_log_stays_whole_and_says_what_it_lacks(
    make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    address = free_tcp()
    validator, node = make_validator(address), make_node(address).start()
    validator.connect()
    height = 0

    def sign(count: int) -> None:
        nonlocal height
        for _ in range(count):
            height += 1
            validator.must_sign(PRECOMMIT, height)

    def overflow() -> bool:
        """An audit process that takes nothing, and more decisions than its queue holds; the
        supervisor may end it meanwhile.
        """
        stopped = node.child("audit")["pid"]
        os.kill(stopped, signal.SIGSTOP)
        sign(300)
        written = told(node)
        with contextlib.suppress(ProcessLookupError):
            os.kill(stopped, signal.SIGCONT)
        until(
            "the queue is being emptied, or a successor did it already",
            lambda: told(node) > written or told(node) == height,
        )
        # there is room for it: a loss is told by the number of the next decision that is taken
        sign(1)
        until("each is there, or said to be missing", lambda: told(node) == height)
        return what(node).count("dropped") > before

    sign(20)
    # the audit process: its queue holds what is decided meanwhile; what it had taken and not
    # written is told by its successor
    audit = node.child("audit")
    os.kill(audit["pid"], signal.SIGKILL)
    sign(20)
    until("it is back", lambda: node.child("audit")["pid"] not in (0, None, audit["pid"]))
    until("it is well", node.healthy)
    sign(20)
    until("each is there, or said to be missing", lambda: told(node) == height)
    # the signer: what it had decided is written when it is dead
    os.kill(node.child("signer")["pid"], signal.SIGKILL)
    validator.connect()
    sign(20)
    until("each is there, or said to be missing", lambda: told(node) == height)
    # a full queue: the log says how many it could not hold
    before = what(node).count("dropped")
    until("a full queue", overflow)
    until("it is a warning", lambda: any("missing in the audit log" in text for text in node.status()["warnings"]))
    until("and no more than that", node.healthy)
    # the node
    node.kill()
    report = verify(directory(node))
    assert report.whole, report
    node.start()
    validator.connect()
    sign(20)
    # and a planned stop loses nothing
    assert node.stop() == 0
    report = verify(directory(node))
    assert report.whole, report
    assert told(node) == height
    # an audit process that stood still for long was ended, too
    assert report.walk.counts["began"] >= 3
    assert what(node)[-2:] == ["ended", "closed"]
    assert "node ended" not in node.log()


def test_a_full_disk_stops_no_signature_and_loses_no_line(
    make_node: Callable[..., Node], make_validator: Callable[..., Validator], faults: Faults
) -> None:
    address = free_tcp()
    validator, node = make_validator(address), make_node(address)
    node.start(**faults.of("pwrite", "/audit/", "ENOSPC"))
    validator.connect()
    validator.must_sign(PRECOMMIT, 1)
    faults.arm()
    validator.must_sign(PRECOMMIT, 2)
    until("the disk is full", lambda: faults.injected)
    words = (
        f"the audit log is not written: {directory(node)}/000000000001.jsonl: no space left on device; signing goes on"
    )
    until("the status says it", lambda: words in node.status()["warnings"])
    until("it is well all the same", node.healthy)
    for height in range(3, 20):
        validator.must_sign(PRECOMMIT, height)
    faults.must_have_happened()
    faults.disarm()
    until("it is written again", lambda: what(node).count("signed") == 19)
    until("and said to be", lambda: not node.status()["audit"]["error"])
    said = [line for line in node.log().splitlines() if "audit log is not written" in line and "module=audit" in line]
    assert len(said) == 1
    assert node.stop() == 0
    assert verify(directory(node)).whole


def audit_failing(node: Node) -> str:
    """What the alert says, while it is raised."""
    status: dict[str, Any] = node.status()
    return next((one["what"] for one in status["alerts"] if one["name"] == "audit_failing"), "")


def test_a_directory_that_cannot_be_used_keeps_no_node_from_signing_and_no_audit_log_is_a_setting(
    make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    address = free_tcp()
    validator, node = make_validator(address), make_node(address)
    directory(node).parent.mkdir(parents=True)
    directory(node).write_text("")
    node.start()
    validator.connect()
    validator.must_sign(PRECOMMIT, 1)
    until("the alert names it", lambda: str(directory(node)) in audit_failing(node))
    assert "signing goes on" in node.log()
    directory(node).unlink()
    until("it is written", lambda: not node.status()["audit"]["error"])
    until("what was decided meanwhile, too", lambda: what(node).count("signed") == 1)
    assert node.stop() == 0
    node.start("--audit-max-mib", "0")
    validator.connect()
    validator.must_sign(PRECOMMIT, 2)
    status: dict[str, Any] = node.status()
    assert "audit" not in status
    assert [child["name"] for child in status["children"]] == ["state", "signer", "api"]
    assert node.stop() == 0


def test_a_directory_that_is_gone_while_the_node_runs_is_told_and_what_was_not_written_comes_when_it_is_back(
    make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    address = free_tcp()
    validator, node = make_validator(address), make_node(address)
    node.start()
    validator.connect()
    validator.must_sign(PRECOMMIT, 1)
    until("it is written", lambda: what(node).count("signed") == 1)
    elsewhere = directory(node).with_name("elsewhere")
    directory(node).rename(elsewhere)
    until("nothing is asked, and it is told", lambda: f"its directory was moved to {elsewhere}" in audit_failing(node))
    validator.must_sign(PRECOMMIT, 2)
    elsewhere.rename(directory(node))
    until("it goes on where it was", lambda: what(node).count("signed") == 2)
    until("and says so", lambda: not audit_failing(node))
    shutil.rmtree(directory(node))
    until("its file is named", lambda: str(directory(node) / "000000000001.jsonl: ") in audit_failing(node))
    assert "was removed, or moved away" in audit_failing(node)
    validator.must_sign(PRECOMMIT, 3)
    assert node.stop() == 0
    node.start()
    until("a new log is begun", lambda: what(node) == ["opened", "began"])
    assert node.stop() == 0
