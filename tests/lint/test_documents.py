"""The documents agree with the program: commands, options, settings, exit codes, alerts, make
targets and links that are there.

That the ```console blocks do what they show is tests/e2e/test_docs.py.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from cometkms import errors
from cometkms.api.alerts import RULES
from cometkms.cli.commands import cli
from cometkms.webhook.outbox import UNKNOWN
from tests.lint.test_project import ROOT, tracked

DOCUMENTS: Final = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
#: What may stand in a block that nobody runs. A command stands in a console block.
NOT_RUN: Final = {"", "text", "toml", "ini", "json", "yaml", "python", "promql", "html"}
_BLOCK: Final = re.compile(r"^```(?P<language>\S*)[^\n]*\n(?P<text>.*?)^```$", re.S | re.M)
_SPAN: Final = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_CMKMS: Final = re.compile(r"(?<![\w./-])(?<!-u )cmkms (?=([^`&; ][^`&;]*))")
_A_TEST: Final = r"`(test_\w+\.py)::(test_\w+)`"
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


# --- blocks ---


@each_document
def test_a_command_stands_in_a_block_that_is_run(path: Path) -> None:
    for block in _BLOCK.finditer(path.read_text()):
        language, text = block["language"], block["text"]
        assert language in NOT_RUN | {"console"}, f"```{language}: a command belongs into ```console, which a test runs"
        if language != "console" and "└" not in text:
            assert not re.search(r"^(\$ |#? ?sudo |cmkms |make |ssh |curl )", text, re.M), text


# --- commands ---


def lines_of(text: str) -> Iterator[str]:
    """What stands between backquotes in running text, and the lines of blocks; a comment's too."""
    for block in _BLOCK.finditer(text):
        yield from re.sub(r"\\\n(?:> )?", " ", block["text"]).splitlines()
    yield from _SPAN.findall(_BLOCK.sub("", text))


def wrong_of(line: str) -> list[str]:
    """What a line says of `cmkms` that is not so."""
    return [wrong for said in _CMKMS.findall(line) for wrong in _wrong(said.split())]


def _below(group: click.Group) -> dict[str, click.Command]:
    """A group's commands by name, in its order."""
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def _wrong(words: list[str]) -> list[str]:
    """`words`: those behind `cmkms`, to the end of the line.

    "a|b" and "a | b" are both commands where both are meant to be.
    """
    node: click.Command = cli
    path = ["cmkms"]
    takes_value = False
    for position, raw in enumerate(words):
        word = raw.strip("\"'()[],;:.")
        if takes_value:
            takes_value = False
        elif raw in ("|", "or") and isinstance(group := _group(path), click.Group):
            listed = [name for name in words[position:] if name not in ("|", "or")]
            if all(re.fullmatch("[a-z]+", name) for name in listed):
                return [f"{' '.join(path[:-1])} has no {name}" for name in listed if name not in _below(group)]
            return []
        elif not word or word[0] in "…#<>|&$" or word.isupper() or re.match(r"\d?[<>]", word):
            return []
        elif word.startswith("-"):
            option = _options(node).get(word.split("=")[0])
            if option is None:
                return [f"{' '.join(path)} has no {word}"]
            takes_value = not option.is_flag and "=" not in word
        elif isinstance(node, click.Group):
            names = word.split("|")
            if missing := [name for name in names if name not in _below(node)]:
                return [f"{' '.join(path)} has no {name}" for name in missing]
            node = _below(node)[names[-1]]
            path.append(names[-1])
    return []


def _options(node: click.Command) -> dict[str, click.Option]:
    options = [one for command in (cli, node) for one in command.params if isinstance(one, click.Option)]
    found = {name: option for option in options for name in (*option.opts, *option.secondary_opts)}
    return found | dict.fromkeys(("--help", "-h"), click.Option(["--help"], is_flag=True))


def _group(path: list[str]) -> click.Command:
    """What the last word of a path is a command of."""
    node: click.Command = cli
    for name in path[1:-1]:
        assert isinstance(node, click.Group)
        node = _below(node)[name]
    return node


def leaves(node: click.Command = cli, path: str = "cmkms") -> Iterator[str]:
    if isinstance(node, click.Group):
        for name, command in _below(node).items():
            yield from leaves(command, f"{path} {name}")
    else:
        yield path


@each_document
def test_every_command_and_option_that_a_document_names_is_there(path: Path) -> None:
    wrong = [f"{line}: {words}" for line in lines_of(path.read_text()) for words in wrong_of(line)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("cmkms start --home ~/node0 && cmkms status --json", []),
        ("cmkms leader show | transfer", []),
        ("cmkms leader show|transfer", []),
        ("cmkms leader show | grep node0", []),
        ("cmkms init | start | stop", ["cmkms has no stop"]),
        ("cmkms lead show", ["cmkms has no lead"]),
        ("cmkms keys sho", ["cmkms keys has no sho"]),
        ("sudo -u cmkms cmkms --home /x leader transfer --too node1", ["cmkms leader transfer has no --too"]),
        ("cmkms recover --min-height HEIGHT", []),
        ("cmkms state import …", []),
        ("diff <(ssh a cmkms config digest) <(ssh b cmkms config digests)", ["cmkms config has no digests"]),
        ("/home/cmkms/x and no-cmkms x and cmkms.lock", []),
    ],
)
def test_what_a_line_says_of_a_command_is_held_against_the_program(line: str, wrong: list[str]) -> None:
    assert wrong_of(line) == wrong


def test_every_command_is_in_the_documents() -> None:
    everything = "\n".join(path.read_text() for path in DOCUMENTS if path.name != "CHANGELOG.md")
    said = " ".join(line for line in lines_of(everything) if "cmkms" in line)
    missing = [command for command in leaves() if command not in said]
    assert not missing, missing


@each_document
def test_every_make_target_that_a_document_names_is_there(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {
        name for line in lines_of(path.read_text()) for name in re.findall(r"(?:^|[$`] ?)make ([a-z][a-z-]+)", line)
    }
    assert named <= targets, named - targets


# --- settings, exit codes, alerts ---


def section_of(path: Path, heading: str) -> str:
    """A section's text, to the next heading of its level."""
    level = heading.partition(" ")[0]
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^{level} |\Z)", path.read_text(), re.S | re.M)
    assert found, f"{path.name} has no {heading}"
    return found[1]


def test_every_exit_code_is_in_the_configuration() -> None:
    codes = {
        one.exit_code
        for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, errors.CometKMSError)
    }
    text = section_of(ROOT / "docs" / "CONFIGURATION.md", "## Exit codes")
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.M)} == codes | {0, 2}


def test_every_alert_is_a_heading_of_the_runbook_with_what_it_means_how_urgent_it_is_and_what_to_do() -> None:
    path = ROOT / "docs" / "RUNBOOK.md"
    assert {*RULES, UNKNOWN} == {name for name in re.findall(r"^## ([a-z_]+)$", path.read_text(), re.M) if "_" in name}
    for name in RULES:
        said = section_of(path, f"## {name}")
        missing = [
            word
            for word in (r"\*\*Means\*\*", r"\*\*(now|today|look)\b", r"\*\*Do\*\*|\| do \|")
            if not re.search(word, said, re.I)
        ]
        assert not missing, f"{name}: {missing}"


@pytest.mark.parametrize("name", RULES)
def test_every_command_in_an_alerts_cure_is_there(name: str) -> None:
    wrong = [words for line in _SPAN.findall(RULES[name].cure) for words in wrong_of(line)]
    assert not wrong, wrong


# --- links ---


def anchors_of(path: Path) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#{1,6} (.+)$", _BLOCK.sub("", path.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "path", [path for path in tracked() if path.suffix == ".md"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_links_lead_to_files_and_headings_that_are_there(path: Path) -> None:
    for link in _LINK.findall(path.read_text()):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), f"{link}: there is no such file"
        assert not anchor or anchor in anchors_of(target), f"{link}: there is no such heading"


@each_document
def test_files_that_a_document_names_are_there(path: Path) -> None:
    named = re.findall(r"`((?:tests|cometkms|csrc|packaging|benchmarks)/[\w./*-]+)`", path.read_text())
    made_by_the_operator = {"packaging/container/secrets/"}
    missing = [name for name in named if name not in made_by_the_operator and not any(ROOT.glob(name.rstrip("/")))]
    assert not missing, missing


#: Headings of CLUSTER, RUNBOOK and MOVING under which nothing is done to a node that could make it
#: sign: they explain, or look.
NO_PROCEDURE: Final = {
    "CLUSTER.md": {
        "Behind address translation",
        "A way that loses large packets",
        "When something fails",
        "Which node leads",
        "What must never be done",
    },
    "RUNBOOK.md": {"First look", "Nothing signs", "It does not start", "Regular checks", UNKNOWN, *RULES}
    - {"height_jump", "strict_wait", "duplicate_id", "peer_recovering", "peer_away"},
    "MOVING.md": {"What is refused"},
}


def procedures_of(safety: str) -> Iterator[tuple[set[tuple[str, str]], str, str]]:
    """The rows of the table: the headings (document, anchor), and the two cells of tests."""
    table = safety.partition("\n## Every procedure and its tests\n")[2].partition("\n## ")[0]
    for row in re.findall(r"^\| (\[.*?) \| (.*?) \| (.*?) \|$", table, re.M):
        yield set(re.findall(r"\]\((\w+\.md)#([^)]+)\)", row[0])), row[1], row[2]


def test_every_procedure_has_a_test_to_the_first_signature_and_one_with_the_old_machine_coming_back() -> None:
    rows = list(procedures_of((ROOT / "docs" / "SAFETY.md").read_text()))
    told = {heading for headings, _, _ in rows for heading in headings}
    for name, without in NO_PROCEDURE.items():
        headings = re.findall(r"^#{2,6} (.+)$", _BLOCK.sub("", (ROOT / "docs" / name).read_text()), re.M)
        done = {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings if one not in without}
        missing = done - {anchor for document, anchor in told if document == name}
        assert not missing, f"{name}: {missing}: a row in docs/SAFETY.md, or among NO_PROCEDURE"
    for headings, first, back in rows:
        assert re.search(_A_TEST, first), headings
        assert back.startswith("the same") or re.search(_A_TEST, back), headings
        for file, test in re.findall(_A_TEST, f"{first} {back}"):
            places = [path for path in (ROOT / "tests").rglob(file) if f"def {test}(" in path.read_text()]
            assert places, f"there is no {file}::{test}"


def test_every_document_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    linked = {Path(link.partition("#")[0]).name for link in _LINK.findall(index)}
    missing = {path.name for path in DOCUMENTS} - linked - {"README.md"}
    assert not missing, missing


def test_how_fast_it_is_said_to_be_is_what_was_measured() -> None:
    """README's and the FAQ's figures are those of one run: p50, and how many times its floor's."""
    rows = (ROOT / "docs" / "PERFORMANCE.md").read_text().split("## A run", 1)[1]
    for name, document in (("README.md", "README.md"), ("FAQ.md", "docs/FAQ.md")):
        said = " ".join((ROOT / document).read_text().split())
        for what in ("one node", "three nodes"):
            row = re.search(
                rf"\| \*\*{what}, tcp\*\* \| \*\*(\d+)\*\* .*\| \*\*([\d.]+)\*\* \| \*\*[\d.]+\*\* \|", rows
            )
            assert row is not None, what
            assert f" {int(row[1]) / 1000:.2f} ms" in said, (name, what)
            assert re.search(rf" {row[2]} (?:times|and [\d.]+ times)", said), (name, what)


def claims_of(text: str) -> Iterator[str]:
    """The rows of the threat model that say what somebody cannot do, or what happens to a mistake."""
    header: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if not cells or set("".join(cells)) <= {"-"}:
            header = header if cells else []
        elif not header:
            header = cells
        elif header == ["mistake", "what happens"] or (header[-1] == "cannot" and cells[-1]):
            yield line


def test_every_claim_of_the_threat_model_names_the_test_that_shows_it() -> None:
    """A row without one is a hope."""
    found = list(claims_of((ROOT / "docs" / "THREATS.md").read_text()))
    assert len(found) > 25
    assert [row for row in found if not re.search(r"`tests/[\w/]+(\.py|/)`", row)] == []
