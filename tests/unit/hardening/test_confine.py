"""Which files are left to read, decided before anything is shut."""

import sys
from pathlib import Path

import pytest

from cometkms.hardening import confine
from cometkms.hardening.confine import NameWatch, code_directories, is_address, name_files
from cometkms.hardening.landlock import Files


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose resolv.conf is a link into another directory, as systemd-resolved makes it."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "run" / "resolved").mkdir(parents=True)
    (tmp_path / "run" / "resolved" / "stub.conf").write_text("nameserver 127.0.0.53")
    (tmp_path / "etc" / "hosts").write_text("")
    (tmp_path / "etc" / "resolv.conf").symlink_to(tmp_path / "run" / "resolved" / "stub.conf")
    names = tuple(str(tmp_path / "etc" / name) for name in ("hosts", "resolv.conf"))
    monkeypatch.setattr(confine, "NAME_FILES", names)
    return tmp_path


def paths(rules: object) -> list[Path]:
    return [rule.path for rule in rules]  # type: ignore[attr-defined]


def test_names_are_read_in_their_very_files_and_where_a_link_ends_in_that_directory(etc: Path) -> None:
    """systemd-resolved puts a new file in the place of the old one; /etc has others' secrets."""
    rules = name_files()
    assert paths(rules) == [etc / "etc" / "hosts", etc / "run" / "resolved"]
    assert {rule.access for rule in rules} == {Files.READ_FILE}, "read, not list"


def test_where_somebody_has_a_secret_beside_the_linked_file_only_that_file_is_read(etc: Path) -> None:
    (etc / "run" / "resolved" / "word").write_text("a passphrase")
    (etc / "run" / "resolved" / "word").chmod(0o600)
    assert paths(name_files()) == [etc / "etc" / "hosts", etc / "run" / "resolved" / "stub.conf"]


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


def replace(path: Path, text: str) -> None:
    """As a DHCP client and `sed -i` do it."""
    (path.parent / "new").write_text(text)
    (path.parent / "new").rename(path)


def test_a_file_of_names_that_was_replaced_out_of_reach_is_noticed(etc: Path) -> None:
    watch = NameWatch()
    (etc / "etc" / "hosts").write_text("10.0.0.1 n1")
    assert watch.changed() == "", "the very file, written to"
    replace(etc / "run" / "resolved" / "stub.conf", "nameserver 10.0.0.2")
    assert watch.changed() == "", "a new file where new files may be read"
    replace(etc / "etc" / "hosts", "10.0.0.9 n1")
    assert watch.changed() == str(etc / "etc" / "hosts")
    watch = NameWatch()
    (etc / "etc" / "hosts").unlink()
    assert watch.changed() == "", "gone: there is nothing to read"
    (etc / "etc" / "resolv.conf").unlink()
    (etc / "etc" / "resolv.conf").write_text("nameserver 10.0.0.3")
    assert watch.changed() == str(etc / "etc" / "resolv.conf"), "no link any more"
