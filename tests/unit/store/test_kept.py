"""The state files that are kept of an id: no two share a name, and older names are read."""

import itertools
from pathlib import Path

import pytest

from cometkms.core import choose
from cometkms.errors import StateError
from cometkms.model import HRS, Watermark
from cometkms.store import state_file
from cometkms.store.kept import UnreadableKeptError, highest_kept, kept_already, kept_marks, name_to_keep
from tests.unit.state.three import sign_bytes

CORE = choose.load()
IDS = ("hub", "hub-2", "hub@1", "hub.2", "hub_2", "a/b", "a_b", "a%2Fb", "a b", "..", "~", "\u00e9", "x" * 50)


def kept(path: Path, chain_id: str, *in_use: Path) -> dict[str, int]:
    """File by file, the height that is said of an id."""
    found = kept_marks(path, chain_id, CORE.parse_sign_bytes, in_use)
    return {one.name: mark.hrs.height for mark, one in found}


def burnt(height: int) -> Watermark:
    return Watermark(HRS(height, 0, 3))


def test_no_two_ids_and_no_two_state_files_share_a_name(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("s.json", "s.json.hub", "s", "s.json.hub@1")]
    expected: dict[tuple[Path, str], list[int]] = {}
    heights = itertools.count(1)
    for _ in range(3):
        for path, chain_id in itertools.product(paths, IDS):
            name = name_to_keep(path, chain_id)
            assert not name.exists()
            height = next(heights)
            state_file.save(name, burnt(height))
            expected.setdefault((path, chain_id), []).append(height)
    for (path, chain_id), found in expected.items():
        assert sorted(kept(path, chain_id).values()) == found, (path, chain_id)


def test_what_older_versions_kept_is_read_for_every_id_that_it_may_be_of(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    for name, height in (("s.hub.json", 5), ("s.hub-2.json", 7), ("s.hub-2-2.json", 9), ("s.a_b.json", 11)):
        state_file.save(tmp_path / name, burnt(height))
    assert kept(path, "hub") == {"s.hub.json": 5, "s.hub-2.json": 7}
    assert kept(path, "hub-2") == {"s.hub-2.json": 7, "s.hub-2-2.json": 9}
    assert kept(path, "a/b") == kept(path, "a_b") == {"s.a_b.json": 11}
    data = sign_bytes(8, chain="hub-2")
    state_file.save(tmp_path / "s.hub-2.json", Watermark(CORE.parse_sign_bytes(data).hrs, data, bytes(64)))
    assert kept(path, "hub") == {"s.hub.json": 5}, "its sign bytes name another id"
    assert kept(path, "hub-2") == {"s.hub-2.json": 8, "s.hub-2-2.json": 9}
    assert kept(path, "hub", tmp_path / "s.hub.json") == {}, "another chain's state file, in use"


@pytest.mark.parametrize("name", ["s.hub.json", "s.json.hub@1"])
def test_a_kept_file_that_cannot_be_read_is_not_passed_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{")
    with pytest.raises(UnreadableKeptError, match="is not a validator's state file") as caught:
        kept(tmp_path / "s.json", "hub")
    assert "where it is lost, move it away, read the head height of hub" in caught.value.cure
    assert "`cmkms recover --min-height HEIGHT` with a height above it" in caught.value.cure
    with pytest.raises(StateError, match="cannot be read"):
        kept(tmp_path / "none" / "s.json", "hub")


def test_what_is_kept_already_may_know_a_signature_that_the_store_does_not(tmp_path: Path) -> None:
    path, data, other = tmp_path / "s.json", sign_bytes(7, chain="hub"), sign_bytes(7, chain="hub", block=b"o")
    place = CORE.parse_sign_bytes(data).hrs
    signed, promised = Watermark(place, data, b"s" * 64), Watermark(place, data)

    def found(mark: Watermark) -> str | None:
        one = kept_already(path, "hub", mark, CORE.parse_sign_bytes)
        return one and one.name

    (tmp_path / "s.json.hub@1").write_text("{")
    assert found(promised) is None
    state_file.save(tmp_path / "s.json.hub@2", signed)
    assert found(signed) == found(promised) == "s.json.hub@2"
    for another in (Watermark(place), Watermark(place, other), Watermark(place, data, b"t" * 64), burnt(7)):
        assert found(another) is None, another
    state_file.save(tmp_path / "s.json.hub@3", promised)
    assert found(Watermark(place)) == found(Watermark(place, other)) == "s.json.hub@3", "as they would be written"
    assert found(promised) == "s.json.hub@2"
    assert found(signed) == "s.json.hub@2"


def test_the_highest_that_was_kept_is_of_the_id_alone_and_can_be_read(tmp_path: Path) -> None:
    state = tmp_path / "priv_validator_state.json"
    assert highest_kept(state, "hub", CORE.parse_sign_bytes) is None
    for name, height in (("hub@1", 7), ("hub@10", 5), ("hub-2@1", 900)):
        state_file.save(state.with_name(f"{state.name}.{name}"), Watermark(HRS(height, 0, 3)))
    state.with_name(f"{state.name}.hub@2").write_text("{")
    found = highest_kept(state, "hub", CORE.parse_sign_bytes)
    assert found == (Watermark(HRS(7, 0, 3)), state.with_name(f"{state.name}.hub@1"))
