"""A validator's failures in a row: one signature ends them, and a late one only those before it."""

from cometkms.limits import FAILING_GONE_S, SIGNED_LATELY_S
from cometkms.model import Reason
from cometkms.signer.answers import Answers


def test_failures_count_in_a_row_and_a_signature_ends_it() -> None:
    answers = Answers()
    assert answers.document("v", 0) == {"signed_at": None, "failing": None}
    for at in (10.0, 11.0, 13.0):
        answers.on_failed("v", at, Reason.WRONG_CHAIN, "wrong chain")
    answers.on_failed("w", 20.0, Reason.NO_PERMIT, "")
    row = {"count": 3, "since": 10.0, "at": 13.0, "reason": "wrong_chain", "why": "wrong chain"}
    assert answers.document("v", 0) == {"signed_at": None, "failing": row}
    answers.on_signed("v", 14.0)
    assert answers.document("v", 0) == {"signed_at": 14.0, "failing": None}
    assert answers.document("w", 0)["failing"]["count"] == 1
    answers.on_failed("v", 15.0, Reason.JUMP, "")
    assert answers.document("v", 0)["failing"]["since"] == 15.0


def test_a_signature_that_was_learned_of_late_does_not_end_what_failed_after_it() -> None:
    answers = Answers()
    answers.on_failed("v", 10.0, Reason.CONFLICT, "")
    answers.on_signed("v", 9.5)
    assert answers.document("v", 0)["failing"]["count"] == 1
    assert answers.document("v", 0)["signed_at"] == 9.5


def test_after_the_clock_was_set_back_a_signature_ends_the_row_and_a_failure_begins_it_anew() -> None:
    answers = Answers()
    answers.on_signed("v", 7000.0)
    for at in (7200.0, 7201.0):
        answers.on_failed("v", at, Reason.WRONG_CHAIN, "")
    answers.on_failed("v", 20.0, Reason.WRONG_CHAIN, "")
    assert answers.document("v", 0)["failing"]["since"] == 20.0
    for at in (7200.0, 7201.0):
        answers.on_failed("v", at, Reason.WRONG_CHAIN, "")
    answers.on_signed("v", 30.0)
    assert answers.document("v", 0) == {"signed_at": 30.0, "failing": None}


def test_what_failed_is_past_while_the_validator_is_away_and_goes_on_when_it_is_soon_back() -> None:
    answers = Answers()
    for at in (10.0, 11.0):
        answers.on_failed("v", at, Reason.JUMP, "")
    assert answers.document("v", FAILING_GONE_S - 0.1)["failing"]["count"] == 2
    assert answers.document("v", FAILING_GONE_S)["failing"] is None
    answers.on_connected("v", SIGNED_LATELY_S - 1)
    assert answers.document("v", 0)["failing"]["since"] == 10.0
    answers.on_connected("v", SIGNED_LATELY_S)
    answers.on_failed("v", 900.0, Reason.JUMP, "")
    row = answers.document("v", 0)["failing"]
    assert (row["count"], row["since"]) == (1, 900.0)


def test_a_new_lead_begins_every_row_anew_that_is_long_past() -> None:
    """Another node may have signed what failed here: the first failure is the first of this
    lead.
    """
    answers = Answers()
    for name in "vw":
        answers.on_failed(name, 10.0, Reason.NO_PERMIT, "")
    answers.on_lead(10.0 + SIGNED_LATELY_S)
    assert [answers.document(name, 0)["failing"] for name in "vw"] == [None, None]
    answers.on_failed("v", 300.0, Reason.JUMP, "")
    assert answers.document("v", 0)["failing"]["since"] == 300.0


def test_where_the_lead_goes_round_because_nobody_can_serve_it_is_one_row() -> None:
    answers = Answers()
    for at in (10.0, 12.0, 14.0):
        answers.on_lead(at)
        answers.on_failed("v", at + 0.8, Reason.NO_PERMIT, "")
    row = answers.document("v", 0)["failing"]
    assert (row["since"], row["count"]) == (10.8, 3)
