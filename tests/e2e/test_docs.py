"""Every ```console block of the documents does what it shows.

How they are run: tests/e2e/console.py.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.console import ROOT, Step, check_instead, matches, run_document, steps_of

#: That no document holds a command anywhere else: tests/lint/test_documents.py.
DOCUMENTS = sorted(
    path
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    if "\n```console\n" in path.read_text()
)
LONG_COMMANDS = 20  # of a document that takes long


def _parameter(path: Path) -> Any:
    long = path.read_text().count("\n$ ") >= LONG_COMMANDS
    return pytest.param(path, id=path.name, marks=[pytest.mark.long] if long else [])


@pytest.mark.parametrize("path", [_parameter(path) for path in DOCUMENTS])
def test_every_command_does_what_the_document_shows(path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where paths are short: the machines' sockets lie below, and the kernel takes 107 bytes."""
    assert run_document(path.read_text(), tmp_path_factory.mktemp("doc") / "home") > 0


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
            "<!-- checked: make -n -->",
            "```console",
            "$ make four",
            "```",
            "<!-- again: leads node0 -->",
            "```console",
            "$ for one in 1; do",
            "> five",
            "> done",
            "> says",
            "```",
        ]
    )
    assert steps_of(text) == [
        Step("a=1\nb=2", shown=False),
        Step("one \\\n    more", ("says",)),
        Step("two"),
        Step("three", ("ready",), background=True),
        Step("make four", instead="make -n"),
        Step("for one in 1; do\nfive\ndone\nsays", again="leads node0"),
    ]


@pytest.mark.parametrize(
    ("command", "instead", "wrong"),
    [
        ("make demo", "make -n", ""),
        ("make demo SECONDS=20  # stops by itself", "make -n", ""),
        ("make demo SECONDS=0", "make -n", "0.0 is not in the range"),
        ("make nothing-of-that-name", "make -n", "No rule to make target"),
        ("rm -r everything", "make -n", "is no make"),
        ("pip install .", "tests/packaging/test_packages.py::test_the_wheel_installs_with_its_c_core", ""),
        ("pip install .", "tests/packaging/test_packages.py::test_nothing", "there is no tests/packaging"),
        ("pip install .", "by hand", "by hand"),
    ],
)
def test_what_is_not_run_here_is_known_to_make_or_run_by_a_test_that_is_there(
    command: str, instead: str, wrong: str
) -> None:
    step = Step(command, instead=instead)
    if not wrong:
        check_instead(step)
        return
    with pytest.raises(AssertionError, match=wrong):
        check_instead(step)


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


@pytest.mark.parametrize(
    ("command", "looks"),
    [
        ("cmkms status --home trial/node0", True),
        ("ssh node0 cmkms status --json | grep -A 8 '\"refusals\"'", True),
        ("ssh node2 sudo journalctl -u cmkms", True),
        ("curl -s http://127.0.0.1:8081/ | grep -o 'led and went away'", True),
        ("ssh node1 cmkms leader transfer --to node0", False),
        ("cmkms status; rm -r trial", False),
        ("cmkms peers > file", False),
        ("sudo systemctl start cmkms", False),
        ("cmkms keys encrypt", False),
    ],
)
def test_only_a_command_that_only_looks_is_given_again(command: str, looks: bool) -> None:
    assert Step(command).repeatable is looks
    assert Step(command, again="leads node0").repeatable


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


def test_a_state_that_takes_its_time_is_waited_for_and_one_that_is_needed_is_made_again(tmp_path: Path) -> None:
    looking = document("$ curl -s file://$PWD/later", "there")
    text = "<!-- setup: (sleep 0.5; echo there > later) & -->\n" + looking
    assert run_document(text, tmp_path / "one" / "home") == 2
    needing = document("$ test $(cat state) = 3", "$ echo done", "done")
    text = "<!-- setup: echo 0 > state -->\n<!-- again: echo $(($(cat state) + 1)) > state -->\n" + needing
    assert run_document(text, tmp_path / "two" / "home") == 3
