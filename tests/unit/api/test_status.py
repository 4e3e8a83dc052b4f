"""What /status and /healthz say, from the board's sections alone."""

import json

import pytest

from cometkms.api.status import Status, compose_status
from cometkms.board.situation import BEAT_LATE_S

from .boards import KEY, NOW, FakeBoard


def compose(board: FakeBoard) -> Status:
    return compose_status(board.sections(), board.beat_ages_s(), NOW)


def child(board: FakeBoard, name: str) -> dict:
    return next(c for c in board.sections_now["supervisor"]["children"] if c["name"] == name)


def test_the_go_fields_stand_at_the_top_as_the_go_cometkms_writes_them():
    status = compose(FakeBoard())
    assert status["is_leader"] is True
    assert status["leader_addr"] == "127.0.0.1:9430"
    assert status["leader_id"] == "node0"
    assert status["last_sign_state"] == {
        "height": 12,
        "round": 1,
        "step": 2,
        "signature": "c2lnbmF0dXJl",
        "signbytes": "0A0B",
    }


@pytest.mark.parametrize("none", [None, {}, {"height": 0, "round": 0, "step": 0, "signature": "", "signbytes": ""}])
def test_last_sign_state_is_absent_where_the_first_chain_has_none(none):
    board = FakeBoard()
    board.sections_now["state"]["rows"][0]["last_sign_state"] = none
    status = compose(board)
    assert "last_sign_state" not in status
    assert status["chains"][0]["last_sign_state"] is None


def test_empty_signature_signbytes_and_leader_are_left_out_as_by_omitempty():
    board = FakeBoard()
    board.sections_now["state"].update(leader_id="", leader_addr="", is_leader=False)
    board.sections_now["state"]["rows"][0]["last_sign_state"] = {
        "height": 5,
        "round": 0,
        "step": 1,
        "signature": "",
        "signbytes": "",
    }
    status = compose(board)
    assert status["last_sign_state"] == {"height": 5, "round": 0, "step": 1}
    assert status["is_leader"] is False
    assert "leader_id" not in status
    assert "leader_addr" not in status


def test_chains_come_in_the_state_process_order_and_join_both_reports():
    import base64

    first, second = compose(FakeBoard())["chains"]
    assert (first["chain_id"], second["chain_id"]) == ("chain-a", "chain-b")
    assert base64.b64decode(first["public_key"]) == KEY
    assert first["address"] == "AA" * 20
    assert first["watermark"] == {"height": 12, "round": 1, "step": 3, "burnt": False}
    assert first["validators"][0]["state"] == "connected"
    assert first["counters"]["refused"] == {"CONFLICT": 1}
    assert first["latency_us"]["p99"] == 400.0
    assert first["last_signed_at"] == NOW - 1
    assert second["counters"] == {"signed": 0, "repeated": 0, "unanswered": {}, "refused": {}}
    assert second["last_sign_state"] is None


def test_a_chain_known_to_only_one_process_is_still_shown():
    board = FakeBoard()
    board.sections_now["state"] = None
    assert [c["chain_id"] for c in compose(board)["chains"]] == ["chain-b", "chain-a"]
    assert compose(board)["chains"][0]["watermark"] is None
    board = FakeBoard()
    board.sections_now["signer"] = None
    assert [c["chain_id"] for c in compose(board)["chains"]] == ["chain-a", "chain-b"]
    assert compose(board)["chains"][0]["validators"] == []


def test_the_node_and_its_children_are_described():
    status = compose(FakeBoard())
    assert status["node"] == {
        "id": "node0",
        "home": "/home/validator/.cmkms",
        "version": "0.1.0",
        "core": "native",
        "started_at": NOW - 60,
        "uptime_s": 60.0,
        "pid": 100,
    }
    assert status["children"][1] == {
        "name": "signer",
        "pid": 102,
        "state": "running",
        "uptime_s": 59.0,
        "restarts": 0,
        "last_exit": None,
        "beat_age_s": 0.02,
    }
    assert status["warnings"] == ["strict_start is off"]


def test_what_a_reload_could_not_do_is_a_warning_and_no_trouble():
    board = FakeBoard()
    board.sections_now["supervisor"]["reload"] = {
        "at": NOW,
        "changed": ["x"],
        "needs_restart": ["id: a -> b"],
        "error": "",
    }
    assert compose(board)["warnings"][1:] == ["config.toml says, and only a restart takes over: id: a -> b"]
    board.sections_now["supervisor"]["reload"] = {"at": NOW, "changed": [], "needs_restart": [], "error": "no TOML"}
    assert compose(board)["warnings"][1:] == ["the last reload changed nothing: no TOML"]
    assert compose(board)["healthy"]


def test_an_uptime_is_never_negative_when_the_wall_clock_was_set_back():
    board = FakeBoard()
    status = compose_status(board.sections(), board.beat_ages_s(), NOW - 3600)
    assert status["node"]["uptime_s"] == 0.0
    assert status["children"][0]["uptime_s"] == 0.0


def test_an_empty_board_still_gives_a_whole_document():
    status = compose_status({"state": None, "signer": None, "supervisor": None}, {}, NOW)
    assert status["is_leader"] is False
    assert status["healthy"] is False
    assert status["chains"] == []
    assert status["children"] == []
    json.dumps(status, allow_nan=False)


def test_sections_that_have_only_begun_are_no_error():
    status = compose_status({"state": {}, "signer": {"chains": [{}]}, "supervisor": {"children": [{}]}}, {}, NOW)
    assert status["healthy"] is False
    json.dumps(status, allow_nan=False)


# --- the audit process: the node signs on without it ---


def with_audit(**changed):
    board = FakeBoard()
    board.sections_now["audit"] = {"records": 9, "dropped": 0, "bytes": 4000, "file": "f", "head": "1:0", "error": ""}
    board.sections_now["audit"].update(changed)
    board.sections_now["supervisor"]["children"].append({"name": "audit", "pid": 104, "state": "running"})
    board.ages["audit"] = 0.1
    return board


def test_the_audit_logs_own_section_is_shown():
    status = compose(with_audit())
    assert (status["healthy"], status["trouble"], status["warnings"]) == (True, [], ["strict_start is off"])
    assert status["audit"]["records"] == 9
    assert "audit" not in compose(FakeBoard())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"error": "no space left on device"},
            "the audit log is not written: no space left on device; signing goes on",
        ),
        ({"dropped": 3}, "3 decisions are missing in the audit log"),
    ],
)
def test_an_audit_log_that_fails_is_a_warning(changed, words):
    status = compose(with_audit(**changed))
    assert (status["healthy"], status["warnings"][-1]) == (True, words)


def test_a_supervisor_that_hangs_is_a_warning_while_its_children_go_on():
    board = with_audit()
    before = compose(board)["warnings"]
    board.ages["supervisor"] = BEAT_LATE_S + 0.5
    status = compose(board)
    assert status["healthy"] is True
    (words,) = [one for one in status["warnings"] if one not in before]
    assert words.startswith("the supervisor has not beaten for 3.0 s: no process of this node is watched")


def test_an_audit_process_that_is_away_or_hangs_is_a_warning():
    board = with_audit()
    child(board, "audit").update(state="backoff", last_exit="killed by SIGKILL")
    status = compose(board)
    assert status["healthy"] is True
    assert status["warnings"][-1] == "audit is backoff (last exit: killed by SIGKILL); signing goes on"
    board = with_audit()
    board.ages["audit"] = BEAT_LATE_S + 0.5
    assert compose(board)["warnings"][-1] == "audit has not beaten for 3.0 s; signing goes on"


def test_every_process_tells_its_own_protections_and_they_stand_in_one_list():
    board = FakeBoard()
    mine = {"process": "signer", "measure": "filesystem", "state": "on", "why": "no file"}
    theirs = {**mine, "process": "audit", "state": "unavailable"}
    board.sections_now["signer"]["hardening"] = [mine]
    board.sections_now["audit"] = {"records": 1, "hardening": [theirs]}
    status = compose(board)
    assert status["hardening"] == [mine, theirs]
    assert "hardening" not in status["audit"]
    assert compose(FakeBoard())["hardening"] == []
