"""Every ```console block of the documents does what it shows. How they are run: tests/e2e/console.py."""

import re
from pathlib import Path

import pytest

from tests.e2e.console import ROOT, Step, matches, run_document, steps_of

DOCUMENTS = sorted(
    path for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")] if "```console" in path.read_text()
)
#: Documents in which every command is run: no block of shell text beside the console ones.
WHOLE = ["HARDENING.md", "KEYS.md", "MOVING.md"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_does_what_the_document_shows(path: Path, tmp_path: Path) -> None:
    assert run_document(path.read_text(), tmp_path / "home") > 0


@pytest.mark.parametrize("name", WHOLE)
def test_these_documents_hold_no_command_that_is_not_run(name: str) -> None:
    text = (ROOT / "docs" / name).read_text()
    assert ROOT / "docs" / name in DOCUMENTS
    assert not re.search(r"^```(sh|bash|shell)\b", text, re.MULTILINE)


# --- the runner itself ---


def test_commands_outputs_setups_and_background_are_told_apart() -> None:
    text = "\n".join(
        [
            "<!-- setup: a=1",
            "b=2 -->",
            "```console",
            "$ one \\",
            "    more",
            "says",
            "$ two",
            "```",
            "```sh",
            "$ not this",
            "```",
            "<!-- background -->",
            "```console",
            "$ three",
            "ready",
            "```",
        ]
    )
    assert steps_of(text) == [
        Step("a=1\nb=2", shown=False),
        Step("one \\\n    more", ("says",)),
        Step("two"),
        Step("three", ("ready",), background=True),
    ]


@pytest.mark.parametrize(
    ("expected", "output", "same"),
    [
        (("a", "b"), "a\nb\n", True),
        (("a", "b"), "a\nb\nc\n", False),
        (("a", "…"), "a\nb\nc\n", True),
        (("…", "c"), "a\nb\nc", True),
        (("key … end",), "key 123 end", True),
        (("key …",), "another", False),
        (("a.c",), "abc", False),
        (("…",), "", True),
    ],
)
def test_an_ellipsis_is_any_text_and_the_rest_is_to_the_letter(
    expected: tuple[str, ...], output: str, same: bool
) -> None:
    assert matches(expected, output) is same


def document(*lines: str) -> str:
    return "\n".join(["```console", *lines, "```", ""])


def test_a_wrong_output_a_failure_and_a_shell_that_ends_are_found(tmp_path: Path) -> None:
    for number, (text, words) in enumerate(
        [
            (document("$ echo a", "b"), "says:\na"),
            (document("$ false"), "exit code 1"),
            (document("$ exit 3"), "the shell ended"),
        ]
    ):
        with pytest.raises(AssertionError, match=words):
            run_document(text, tmp_path / str(number) / "home")


def test_an_expected_failure_is_asked_for(tmp_path: Path) -> None:
    assert run_document(document("$ (exit 4)", "$ echo $?", "4", "$ cd /tmp", "$ pwd", "/tmp"), tmp_path / "home") == 4
