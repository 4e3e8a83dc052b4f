"""What is wrong with a TOML file is told with the line and what to write, and never with a value."""

from pathlib import Path

import pytest

from cometkms.config.toml import as_toml, parse_toml
from cometkms.errors import ConfigError

PATH = Path("/home/of/config.toml")


def fault(text: str | bytes) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        parse_toml(PATH, text if isinstance(text, bytes) else text.encode(), "cmkms init")
    return error.value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = 1\nb = 2\na = 3\n", "line 3 gives a a second time, after line 1"),
        ("a = [\n1,\n]\n\na = [\n2,\n]\n", "line 5 gives a a second time, after line 1"),
        ('"a" = 1\na = 2\n', "line 2 gives a a second time, after line 1"),
        ("[[chain]]\nid = 1\nkey = 2\nid = 3\n", "line 4 gives id a second time, after line 2"),
        ("id = 1\n[[chain]]\nid = 2\nid = 3\n", "line 4 gives id a second time, after line 3"),
    ],
)
def test_a_key_that_is_given_twice_is_named_with_both_lines(text: str, words: str) -> None:
    error = fault(text)
    assert error.what == f"{PATH} is no TOML: {words}"
    assert error.cure == "keep the line that is meant and take the other one out"


@pytest.mark.parametrize(
    ("text", "words", "cure"),
    [
        ("a = 1\nb = yes\n", "line 2: invalid value", 'b = "…" with the text in double quotes'),
        ("a = 1\nb = [\n1,\n", "line 2: invalid value", "a list is in brackets"),
        ("a = 1\nb = 'x\n", "line 2: ", 'b = "…"'),
        ("not toml\n", "line 1: ", 'key = "text"'),
        ("[chain]\n[chain]\n", "line 2: cannot declare [chain] twice", "[[…]] in double brackets"),
        ("chain = []\n[[chain]]\n", "line 2: cannot ", "each table once"),
    ],
)
def test_another_fault_is_told_with_its_line(text: str, words: str, cure: str) -> None:
    error = fault(text)
    assert f"{PATH} is no TOML: {words}" in error.what
    assert cure in error.cure


def test_no_value_is_shown_whatever_is_wrong_with_it() -> None:
    for text in ("alert_webhook = https://a/SECRET\n", 'alert_webhook = "SECRET\n', "a = 1\na = SECRET\n"):
        assert "SECRET" not in str(fault(text))


def test_bytes_that_are_no_text_and_numbers_without_end_are_told() -> None:
    assert "byte 1 is of no text in UTF-8" in str(fault(b"\xff"))
    assert "is no TOML: " in str(fault(f"a = {'9' * 5000}\n"))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, "true"),
        (3, "3"),
        ('a"b', '"a\\"b"'),
        ([True, "x"], '[true, "x"]'),
        ({"id": "c", "n": [1]}, '{id = "c", n = [1]}'),
        ("x" * 100, '"' + "x" * 59 + "…"),
    ],
)
def test_a_value_is_shown_as_it_stands_in_the_file(value: object, shown: str) -> None:
    assert as_toml(value) == shown
