"""Walks of requests through session, sign rule, acceptor, store and key slot: the same answers as
CometBFT's FilePV, step by step.
"""

import base64
import json
from itertools import count
from pathlib import Path

import pytest

from cometkms.core.interface import Core, KeySlot, Session
from cometkms.limits import HEIGHT_MAX
from cometkms.model import Dialect, Message, Permit, Reason, Refusal, Request, Row, Watermark
from cometkms.rules.sign import Repeat, decide
from cometkms.state.acceptor import Acceptor
from cometkms.state.proposer import Proposer
from cometkms.store import state_file
from cometkms.store.promise_store import Header, NodeState, PromiseStore
from tests.vectors.vectors import load

FILES = {"file_pv.json": Dialect.PROTO, "v1/file_pv_v1.json": Dialect.PROTO, "amino/file_pv_amino.json": Dialect.AMINO}
WORDS = {
    Reason.CONFLICT: "conflicting data",
    Reason.HEIGHT_REGRESSION: "height regression",
    Reason.ROUND_REGRESSION: "round regression",
    Reason.STEP_REGRESSION: "step regression",
    Reason.UNEXPECTED_EXTENSION: "unexpected vote extension",
}


class Walker:
    """One node without processes: the order of a real signature."""

    def __init__(self, core: Core, dialect: Dialect, key: dict, chain_id: str, path: Path) -> None:
        self.core, self.dialect, self.chain_id = core, dialect, chain_id
        self.slot: KeySlot = core.key_slot(bytearray(key["priv_key"]["value"].encode()), chain_id)
        row = Row(self.slot.public_key, chain_id)
        header = Header("n", 1, ("n",), NodeState.COMPLETE, bytes(8))
        self.store = PromiseStore.create(path, header, [(row, Watermark())])
        self.proposer = Proposer(
            row=0,
            public_key=row.public_key,
            me="n",
            others=(),
            # The walks jump over all heights, each as if it came long after the one before: rule 13
            # is tested elsewhere.
            acceptor=Acceptor(
                self.store,
                (0,),
                parse_sign_bytes=core.parse_sign_bytes,
                wall_clock=map(float, count(0, HEIGHT_MAX)).__next__,
            ),
            ask=lambda *_: None,
            same_but_timestamp=core.same_but_timestamp,
        )
        self.signed = Watermark()

    def ask(self, wire: bytes) -> tuple[Message, Reason]:
        session = self.core.session(self.dialect, self.chain_id, None, b"")
        session.inbox[: len(wire)] = wire
        session.received(len(wire))
        request = session.next_request()
        assert request is not None
        answer, reason = self._answer(session, request)
        return self.core.decode_message(self.dialect, answer), reason

    def _answer(self, session: Session, request: Request) -> tuple[bytes, Reason]:
        outcome = decide(self.signed, request, same_but_timestamp=self.core.same_but_timestamp)
        if isinstance(outcome, Refusal):
            return session.answer_error(int(outcome.reason), outcome.text), outcome.reason
        if isinstance(outcome, Repeat):
            return session.answer_repeat(self.slot, outcome.sign_bytes, outcome.signature), Reason.NONE
        permit = self.proposer.propose(request.hrs, request.sign_bytes)
        assert isinstance(permit, Permit), permit
        signature, answer = session.answer_sign(self.slot, Permit(permit.sign_bytes))
        self.signed = Watermark(request.hrs, permit.sign_bytes, signature)
        return answer, Reason.NONE


@pytest.mark.parametrize("name", FILES)
def test_walks_end_as_filepvs(core: Core, name: str, tmp_path: Path) -> None:
    dialect = FILES[name]
    for number, case in enumerate(load(name)):
        walker = Walker(core, dialect, case["key_file"], case["chain_id"], tmp_path / str(number))
        for step in case["steps"]:
            answer, reason = walker.ask(bytes.fromhex(step["request"]))
            if "refused" in step:
                assert answer.error is not None
                # FilePV meets a regression before it looks at the extension; both refuse
                assert step["refused"].endswith(WORDS[reason]) or reason is Reason.UNEXPECTED_EXTENSION
                continue
            assert answer.error is None, (step, answer)
            ballot = answer.vote or answer.proposal
            assert ballot is not None
            assert ballot.signature.hex() == step["signature"]
            assert {"seconds": ballot.timestamp.seconds, "nanos": ballot.timestamp.nanos} == step["timestamp"]
            if answer.vote is not None and dialect is Dialect.PROTO:
                assert answer.vote.extension_signature.hex() == step["extension_signature"]
                assert answer.vote.extension == b""
        assert json.loads(state_file.encode(walker.signed)) == _as_number(case["final_state_file"])
        assert walker.store.mark(0).hrs == walker.signed.hrs
        walker.store.close()


def _as_number(document: dict) -> dict:
    """v0.33 wrote the round as a string."""
    return {**document, "round": int(document["round"])}


def test_the_state_file_reads_what_filepv_wrote(core: Core) -> None:
    for name in FILES:
        for case in load(name):
            data = json.dumps(case["final_state_file"]).encode()
            mark = state_file.decode(data, case["chain_id"], core.parse_sign_bytes)
            public = base64.b64decode(case["key_file"]["pub_key"]["value"])
            assert core.verify(public, mark.sign_bytes, mark.signature)
