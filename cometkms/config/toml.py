"""A TOML file of an operator's: what is wrong with it, with the line and what to write there.

No value is shown: it may be a secret.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final

from cometkms.errors import ConfigError, said

_AT: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)\Z")
_KEY: Final = re.compile(r"\s*(?:\"([^\"]*)\"|'([^']*)'|([A-Za-z0-9_-]+))\s*=")
_NAME: Final = re.compile(r"\('([^']*)',\)")  # of a table, as tomllib prints it
_TABLE: Final = re.compile(r"\s*\[")
_SHOWN_MAX: Final = 60


def parse_toml(path: Path, data: bytes, again: str) -> dict[str, Any]:
    """The file's document.

    `again`: the command that makes a new file. Raises: ConfigError with the line and the cure.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is no TOML: {said(error)}",
            cure=f"the file as it was written, or a new one ({again} makes one where there is none)",
        ) from error
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a ValueError too
        raise _fault(path, text, str(error)) from error


def as_toml(value: object) -> str:
    """A value as it stands in the file, or the beginning of a long one."""
    if isinstance(value, bool):
        shown = "true" if value else "false"
    elif isinstance(value, str):
        shown = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, list):
        shown = f"[{', '.join(map(as_toml, value))}]"
    elif isinstance(value, dict):
        shown = f"{{{', '.join(f'{key} = {as_toml(one)}' for key, one in value.items())}}}"
    else:
        shown = str(value)
    return shown if len(shown) <= _SHOWN_MAX else f"{shown[:_SHOWN_MAX]}…"


def _fault(path: Path, text: str, words: str) -> ConfigError:
    lines = text.split("\n")
    at = _AT.search(words)
    number = int(at.group(1)) if at is not None and at.group(1) else len(lines)
    begins, key = _entry(lines, number)
    if key and (before := _earlier(lines, begins, key)):
        return ConfigError(
            f"{path} is no TOML: line {begins} gives {key} a second time, after line {before}",
            cure="keep the line that is meant and take the other one out",
        )
    what = _NAME.sub(r"[\1]", _AT.sub("", words))
    place = f"line {begins}: " if at is not None else ""
    cure = "each table once, or [[…]] in double brackets for each of several"
    if _NAME.search(words) is None:
        cure = (
            f'{key} = "…" with the text in double quotes; a list is in brackets, a number and true or false stand bare'
            if key
            else 'a line for each setting: key = "text"; a list is in brackets, and what is meant for people begins with #'
        )
    return ConfigError(f"{path} is no TOML: {place}{what[:1].lower()}{what[1:]}", cure=cure)


def _entry(lines: list[str], number: int) -> tuple[int, str]:
    """The line at which the entry begins that is read at a line, and its key; "" where
    none is in sight.
    """
    for line in range(min(number, len(lines)), 0, -1):
        if found := _KEY.match(lines[line - 1]):
            return line, next(one for one in found.groups() if one is not None)
        if _TABLE.match(lines[line - 1]):
            break
    return number, ""


def _earlier(lines: list[str], number: int, key: str) -> int:
    """The line before that gives the key in the same table; 0: there is none."""
    for line in range(number - 1, 0, -1):
        if _TABLE.match(lines[line - 1]):
            return 0
        found = _KEY.match(lines[line - 1])
        if found and key in found.groups():
            return line
    return 0
