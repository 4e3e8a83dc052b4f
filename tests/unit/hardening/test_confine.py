"""Which files are left to read, decided before anything is shut."""

import sys
from pathlib import Path

import pytest

from cometkms.hardening import confine
from cometkms.hardening.confine import code_directories, is_address, name_directories
from cometkms.hardening.landlock import Files


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose resolv.conf is a link into another directory, as systemd-resolved makes it."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stub.conf").write_text("nameserver 127.0.0.53")
    (tmp_path / "etc" / "hosts").write_text("")
    (tmp_path / "etc" / "resolv.conf").symlink_to(tmp_path / "run" / "stub.conf")
    names = tuple(str(tmp_path / "etc" / name) for name in ("hosts", "resolv.conf"))
    monkeypatch.setattr(confine, "NAME_FILES", names)
    return tmp_path


def paths(rules: object) -> list[Path]:
    return [rule.path for rule in rules]  # type: ignore[attr-defined]


def test_names_are_read_in_their_directories_where_a_link_ends_too(etc: Path) -> None:
    rules = name_directories((etc / "home",), exactly=False)
    assert paths(rules) == [etc / "etc", etc / "run"]
    assert {rule.access for rule in rules} == {Files.READ_FILE}, "read, not list"


def test_a_powerful_process_or_a_home_beside_them_reads_the_very_files_only(etc: Path) -> None:
    files = [etc / "etc" / "hosts", etc / "run" / "stub.conf"]
    assert paths(name_directories((), exactly=True)) == files
    assert paths(name_directories((etc / "etc" / "cmkms",), exactly=False)) == [files[0], etc / "run"]


def test_code_is_read_from_wherever_it_is_imported_and_never_around_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", ["", str(tmp_path / "packages"), str(tmp_path / "home")])
    found = paths(code_directories((tmp_path / "home" / "priv" / "key",)))
    assert tmp_path / "packages" in found
    assert Path(confine.__file__).parents[1] in found
    assert tmp_path / "home" not in found, "python -m puts the working directory there"
    assert Path() not in found
    assert Path("/etc") not in found


@pytest.mark.parametrize(
    ("host", "known"), [("10.0.0.1", True), ("::1", True), ("localhost", False), ("validator.example", False)]
)
def test_an_address_is_told_from_a_name(host: str, known: bool) -> None:
    assert is_address(host) is known
