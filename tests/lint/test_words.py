"""Errors of the system reach people in words: no number, no Python, nothing of asyncio's.

One place makes them, errors.said().
"""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lint.test_project import ROOT

MODULES = sorted((ROOT / "cometkms").rglob("*.py"))
#: What catches an OSError, whatever it is called there.
CATCHES = {"OSError", "Exception", "BaseException", "gaierror", "SSLError"} | {
    name for name, kind in vars(__import__("builtins")).items() if isinstance(kind, type) and issubclass(kind, OSError)
}


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """A module as all of these tests read it; each is parsed once."""
    return ast.parse(path.read_text())


def caught(kind: ast.expr | None) -> set[str]:
    if kind is None:
        return {"BaseException"}
    if isinstance(kind, ast.Tuple):
        return set().union(*(caught(one) for one in kind.elts))
    return {kind.id} if isinstance(kind, ast.Name) else {kind.attr} if isinstance(kind, ast.Attribute) else set()


def raw_words(tree: ast.AST) -> Iterator[int]:
    """Lines on which a handler that may have an OSError shows it as Python does."""
    for handler in ast.walk(tree):
        if not (isinstance(handler, ast.ExceptHandler) and handler.name and caught(handler.type) & CATCHES):
            continue
        anew = {id(part) for one in ast.walk(handler) if isinstance(one, ast.Raise) and one.exc is not None and _is_os_error(one.exc)
                for part in ast.walk(one)}  # fmt: skip

        def is_it(node: ast.AST, name: str = handler.name) -> bool:
            return isinstance(node, ast.Name) and node.id == name

        for node in ast.walk(handler):
            shown = isinstance(node, ast.FormattedValue) and is_it(node.value)
            made = (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("str", "repr")
                and any(is_it(one) for one in node.args)
            )
            taken = isinstance(node, ast.Attribute) and node.attr == "strerror" and is_it(node.value)
            if (shown or made or taken) and id(node) not in anew:
                yield node.lineno


def _is_os_error(made: ast.expr) -> bool:
    return isinstance(made, ast.Call) and isinstance(made.func, ast.Name) and made.func.id == "OSError"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_handler_shows_an_error_of_the_system_as_python_does(path: Path) -> None:
    found = list(raw_words(tree_of(path)))
    assert found == [], f"{path}: lines {found}: say it with errors.said()"


@pytest.mark.parametrize(
    ("handler", "line"),
    [
        ("except OSError as e:\n  print(f'{e}')", 4),
        ("except (ValueError, TimeoutError) as e:\n  why = str(e)", 4),
        ("except Exception as e:\n  why = repr(e)", 4),
        ("except socket.gaierror as e:\n  why = e.strerror", 4),
        ("except ValueError as e:\n  why = str(e)", None),
        ("except OSError as e:\n  why = said(e)", None),
        ("except OSError as e:\n  raise OSError(e.errno, e.strerror)", None),
    ],
)
def test_the_reader_of_handlers_finds_what_it_looks_for(handler: str, line: int | None) -> None:
    found = list(raw_words(ast.parse(f"try:\n  pass\n{handler}")))
    assert found == ([line] if line is not None else [])


#: The tree of cometkms/errors.py, and what is derived from it elsewhere.
ERRORS = {
    node.name
    for path in MODULES
    for node in ast.walk(tree_of(path))
    if isinstance(node, ast.ClassDef) and any(ast.unparse(one).endswith("Error") for one in node.bases)
}


def hidden_cures(tree: ast.AST) -> Iterator[int]:
    """Lines on which an error is made whose words hold its cure, which no program could find there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ERRORS:
            for part in (part for argument in node.args for part in ast.walk(argument)):
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and "cure: " in part.value.lower():
                    yield part.lineno


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_errors_cure_is_a_field_and_not_part_of_its_words(path: Path) -> None:
    found = list(hidden_cures(tree_of(path)))
    assert found == [], f"{path}: lines {found}: give it as cure="


def test_a_cure_in_an_errors_words_is_seen() -> None:
    assert list(hidden_cures(ast.parse("raise StateError(f'{path} is gone; cure: look')"))) == [1]
    assert list(hidden_cures(ast.parse("raise StateError(f'{path} is gone', cure='look')"))) == []


def searched_words(tree: ast.AST) -> Iterator[int]:
    """Lines that decide something by what a text of an error says."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(isinstance(one, ast.In | ast.NotIn) for one in node.ops):
            if any(_words_of_an_error(one) for one in node.comparators):
                yield node.lineno
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("startswith", "endswith", "partition", "find", "split", "splitlines")
            and _words_of_an_error(node.func.value)
        ):
            yield node.lineno


def _words_of_an_error(node: ast.AST) -> bool:
    made = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("str", "said")
    return made and "error" in ast.unparse(node)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_decided_by_an_errors_words(path: Path) -> None:
    found = list(searched_words(tree_of(path)))
    assert found == [], f"{path}: lines {found}: ask for its type, its cure or its code"


def test_a_search_of_an_errors_words_is_seen() -> None:
    assert list(searched_words(ast.parse("if 'sealed' in str(error): pass"))) == [1]
    assert list(searched_words(ast.parse("str(error).partition('; cure: ')"))) == [1]
    assert list(searched_words(ast.parse("if error.cure in known: pass"))) == []


#: How a docstring begins that is no sentence: it refers elsewhere, or leaves out what the name
#: already says.
FRAGMENT = re.compile(
    r"See [\w.]+(?:\(\))?[.:;,]|(?:Of|For|To|By|Until|With)\b|As\b|From (?!now on|here on)"
    r"|In (?:this|words|place)\b"
)


def fragments(tree: ast.AST) -> Iterator[int]:
    """Lines of docstrings that say nothing whole in their first words."""
    for node in ast.walk(tree):
        named = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if named and FRAGMENT.match(ast.get_docstring(node) or ""):
            yield node.body[0].lineno


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_docstring_says_itself_what_a_thing_does(path: Path) -> None:
    found = list(fragments(tree_of(path)))
    assert found == [], f"{path}: lines {found}: a whole sentence, which a stranger reads once"


@pytest.mark.parametrize(
    "words",
    ["See interface.Session.", "See drop().", "Of this process.", "For the metrics.", "Until the other end is gone."],
)
def test_a_fragment_is_seen(words: str) -> None:
    assert list(fragments(ast.parse(f'def one():\n    """{words}"""'))) == [2]


@pytest.mark.parametrize("words", ["Return the nonce.", "Seconds since the last promise.", "From now on it is so."])
def test_a_sentence_is_none(words: str) -> None:
    assert list(fragments(ast.parse(f'def one():\n    """{words}"""'))) == []
