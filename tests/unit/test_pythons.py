"""Which Pythons `make test-pythons` chooses, and that the documents name those."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.pythons import ROOT, chosen, interpreters, named, required

DOCUMENTS = ("CONTRIBUTING.md", "docs/FAQ.md", "docs/START.md")


@pytest.mark.parametrize(
    ("found", "taken"),
    [
        ([(3, 11)], [(3, 11)]),
        ([(3, 13), (3, 9), (3, 11), (3, 12)], [(3, 11), (3, 13)]),
        ([(3, 9), (3, 11), (4, 0)], [(3, 11), (4, 0)]),
    ],
)
def test_the_oldest_that_is_promised_and_the_newest(found: list[tuple[int, int]], taken: list[tuple[int, int]]) -> None:
    assert chosen(found, (3, 11)) == taken


@pytest.mark.parametrize("found", [[], [(3, 10)], [(3, 12), (3, 13)]])
def test_without_the_oldest_nothing_is_shown(found: list[tuple[int, int]]) -> None:
    with pytest.raises(LookupError, match=r"Python 3\.11 is not on this machine"):
        chosen(found, (3, 11))


def test_what_only_has_the_name_is_passed_over(tmp_path: Path) -> None:
    """As pyenv's shims are for a version that is installed and not chosen."""
    for name, answer in {"python3.97": "3 97", "python3.98": "3 11", "python3.9x": "3 9"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho {answer}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "python3.99").write_text("#!/bin/sh\nexit 127\n")
    (tmp_path / "python3.99").chmod(0o755)
    assert interpreters([tmp_path, tmp_path / "away"]) == {(3, 97): tmp_path / "python3.97"}


def test_the_documents_name_the_pythons_that_the_package_does() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    versions = [named(one.rpartition(" ")[2]) for one in listed]
    assert versions[0] == required()
    assert versions == sorted(versions)
    for name in DOCUMENTS:
        told = re.findall(r"with (3\.\d+) and (3\.\d+)", (ROOT / name).read_text())
        assert told, name
        assert {tuple(named(one) for one in pair) for pair in told} == {(versions[0], versions[-1])}, name
