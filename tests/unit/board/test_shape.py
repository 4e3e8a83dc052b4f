"""A reader has each section in its declared shape, as it stands on the board now."""

from cometkms.board.shape import ShapedBoard
from cometkms.board.status_board import Board


def test_each_section_is_held_against_its_type_again_when_it_was_written_again() -> None:
    board = Board(("supervisor", "state", "signer", "audit"), ("state", "signer", "audit"))
    shaped = ShapedBoard(board)
    assert shaped.sections() == {"supervisor": None, "state": None, "signer": None, "audit": None}
    board.section("state").write({"term": 7})
    board.section("signer").write({"core": "native"})
    first = shaped.sections()
    assert first["state"] == {"term": 7}
    board.section("state").write({"term": "eight", "epoch": 2})
    second = shaped.sections()
    assert second["state"] is not None and second["state"]["epoch"] == 2
    assert "term" not in second["state"] and "state.term" in second["state"]["warnings"][0]
    assert second["signer"] is first["signer"]
    assert first["state"] == {"term": 7}


def test_a_writer_that_died_at_work_leaves_nothing_to_read() -> None:
    board = Board(("state",), ("state",))
    shaped = ShapedBoard(board)
    section = board.section("state")
    section.write({"term": 7})
    assert shaped.sections()["state"] == {"term": 7}
    section._memory.writable.cast("Q")[section._offset // 8] += 1
    assert shaped.sections()["state"] is None
    section.write({"term": 8})
    assert shaped.sections()["state"] == {"term": 8}
