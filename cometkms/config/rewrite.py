"""Change single keys of a config.toml and nothing else of it: comments, order and tables stay."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cometkms.config.files import CONFIG_NAME
from cometkms.config.load import read_config
from cometkms.durable import write_atomically
from cometkms.errors import ConfigError, StoreFailure, said

_TABLE: Final = re.compile(r"\s*\[")


def rewrite_config(home: Path, values: Mapping[str, str | list[str]]) -> bool:
    """Give top-level keys these values, durably.

    Whether anything changed. Raises: ConfigError with the lines to write.
    """
    path = home / CONFIG_NAME
    before = read_config(home)
    if all(before.get(key) == value for key, value in values.items()):
        return False
    cure = f"write into it: {'; '.join(_line(key, value) for key, value in values.items())}"
    try:
        text, mode = path.read_text(), path.stat().st_mode & 0o777
        wanted = {**tomllib.loads(text), **values}
        for key, value in values.items():
            text = _with_value(text, key, value)
        if tomllib.loads(text) != wanted:
            raise ValueError("it is not written as expected")
        write_atomically(path, text.encode(), mode)
    except (OSError, ValueError, StoreFailure) as error:
        raise ConfigError(f"{path} cannot be changed: {said(error)}", cure=cure) from error
    return True


def _line(key: str, value: str | list[str]) -> str:
    return f"{key} = {json.dumps(value, ensure_ascii=False)}"


def _with_value(text: str, key: str, value: str | list[str]) -> str:
    """The text with one top-level key replaced, over as many lines as its value takes;
    or put first.
    """
    lines = text.split("\n")
    top = next((number for number, line in enumerate(lines) if _TABLE.match(line)), len(lines))
    begins = re.compile(rf"\s*{re.escape(key)}\s*=")
    for first in (number for number, line in enumerate(lines[:top]) if begins.match(line)):
        for last in range(first + 1, len(lines) + 1):
            try:
                found = tomllib.loads("\n".join(lines[first:last]))
            except tomllib.TOMLDecodeError:
                continue
            if list(found) == [key]:
                return "\n".join([*lines[:first], _line(key, value), *lines[last:]])
    return "\n".join([_line(key, value), *lines])
