"""Prose in docstrings, comments and documents is wrapped at 100 columns. A table, a picture, a
command or a heading is as wide as it must be.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.lint.test_project import ROOT

WIDTH: Final = 100
#: The closing quotes of a docstring of one line may stand beyond.
QUOTES: Final = 3
MODULES: Final = sorted(path for room in ("cometkms", "tests", "benchmarks") for path in (ROOT / room).rglob("*.py"))
DOCUMENTS: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NO_PROSE: Final = re.compile(
    r"[│┌└├─▶‖|]"  # a picture or a table
    r"|\S {2,}\S"  # columns
    r"|^\s*# ---|^ {2,}\$? ?cmkms |[{<][a-z]"  # a section's head, a command, a form
    r"|^\s*#? ?(type|noqa|fmt|pragma)"
)


def wide_prose(path: Path) -> Iterator[int]:
    """The lines of a module whose docstring or comment of its own is too wide."""
    text = path.read_text()
    lines = text.split("\n")
    if not any(len(line) > WIDTH for line in lines):
        return
    own = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not token.line[: token.start[1]].strip():
            own.add(token.start[0])
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            own.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    for number in sorted(own):
        line = lines[number - 1]
        spare = QUOTES if line.endswith('"""') else 0
        if len(line) > WIDTH + spare and not NO_PROSE.search(line.replace('"""', "")):
            yield number


def wide_paragraphs(path: Path) -> Iterator[int]:
    """The lines of a document, outside of blocks of code, comments and tables, that are too wide
    and could be broken.
    """
    fenced = commented = False
    for number, line in enumerate(path.read_text().split("\n"), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        commented = commented or line.lstrip().startswith("<!--")
        form = line.startswith("    ") or line.lstrip().startswith(("#", "|", "<", "!["))
        prose = not (fenced or commented or form)
        if prose and len(line) > WIDTH and re.search(r"\S\s+\S", line[line.find(" ", 4) : WIDTH]):
            yield number
        if "-->" in line:
            commented = False


def test_prose_in_code_is_wrapped_at_100() -> None:
    found = [f"{path.relative_to(ROOT)}:{number}" for path in MODULES for number in wide_prose(path)]
    assert not found


def test_documents_are_wrapped_at_100() -> None:
    found = [f"{path.relative_to(ROOT)}:{number}" for path in DOCUMENTS for number in wide_paragraphs(path)]
    assert not found


def test_wide_prose_is_found(tmp_path: Path) -> None:
    path = tmp_path / "one.py"
    words = "word " * 22
    path.write_text(f'"""{words}"""\n# {words}\nx = 1  # {words}\n# a    {words}\n')
    assert list(wide_prose(path)) == [1, 2]
    document = tmp_path / "one.md"
    document.write_text(f"{words}\n\n| {words} |\n\n```\n{words}\n```\n")
    assert list(wide_paragraphs(document)) == [1]
