"""Give the sections of the status board the shape that their readers expect, whatever their writers
left there. Pure.

A section is another process's word, and that process may be in foreign hands: a reader that asks a
number for its length would end with it. So each section is held against its declared type
(board/sections.py) once, where it is read: a field of another type is left out, as if it had not
been written, and the section's warnings say which. Names that no type declares pass as they are.
"""

import re
import types
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final, Union, cast, get_args, get_origin, get_type_hints, is_typeddict

from cometkms.board.sections import BoardReader, Sections

_NAMED_MAX: Final = 4  # of the fields left out
_UNFIT: Final = object()
_HEX: Final = re.compile(r"([0-9a-fA-F]{2})*\Z")
_SECTIONS: Final[Mapping[str, Any]] = {
    name: next(one for one in get_args(hint) if one is not type(None))
    for name, hint in get_type_hints(Sections).items()
}


class ShapedBoard:
    """A BoardReader whose sections have their declared shape; each is held against it once, as long
    as the board gives the same object."""

    def __init__(self, board: BoardReader) -> None:
        self._board = board
        self._shaped: dict[str, tuple[Any, Any]] = {}  # what the board gave, and its shape

    def sections(self) -> Sections:
        """Read every section, for nobody to change, without ever delaying a writer."""
        untrusted = cast("Mapping[str, Any]", self._board.sections())
        for name, section in untrusted.items():
            if self._shaped.get(name, (_UNFIT, None))[0] is not section:
                self._shaped[name] = section, _shape_section(name, section)
        return cast("Sections", {name: self._shaped[name][1] for name in untrusted})

    def written(self) -> tuple[int, ...]:
        """Return a value that changes whenever any process has written its section."""
        return self._board.written()

    def beat_ages_s(self) -> Mapping[str, float | None]:
        """Tell how many seconds ago each child's own loop last beat, or None where it never did."""
        return self._board.beat_ages_s()


def shape(untrusted: Mapping[str, Any]) -> Sections:
    """Every section; None stays None."""
    return cast("Sections", {name: _shape_section(name, section) for name, section in untrusted.items()})


def _shape_section(name: str, untrusted: Any) -> Any:
    if untrusted is None or name not in _SECTIONS:
        return untrusted
    left_out: list[str] = []
    section = _fit(untrusted, _SECTIONS[name], name, left_out)
    if section is _UNFIT:
        section = {}
    if left_out:
        more = f" and {len(left_out) - _NAMED_MAX} more" if len(left_out) > _NAMED_MAX else ""
        what = (
            f"what the {name} process says of itself is not all of its form: {', '.join(left_out[:_NAMED_MAX])}{more}"
        )
        section["warnings"] = [*section.get("warnings", []), what]
    return section


def _fit(value: Any, wanted: Any, at: str, left_out: list[str]) -> Any:
    """The value as far as it is of that type; _UNFIT, and its place noted, where it is not."""
    fitted = _attempt(value, wanted, at, left_out)
    if fitted is _UNFIT:
        left_out.append(at)
    return fitted


def _attempt(value: Any, wanted: Any, at: str, left_out: list[str]) -> Any:
    if wanted is object or wanted is Any:
        return value
    origin, arguments, is_fields = _parts(wanted)
    if is_fields:
        return _fields(value, wanted, at, left_out) if isinstance(value, dict) else _UNFIT
    if origin is None:
        if wanted is float:
            return value if type(value) in (int, float) else _UNFIT
        return value if type(value) is wanted or (wanted is None and value is None) else _UNFIT
    if origin is Annotated:
        return _marked(value, arguments, at, left_out)
    if origin in (Union, types.UnionType):
        fits = (_attempt(value, one, at, []) for one in arguments)
        return next((one for one in fits if one is not _UNFIT), _UNFIT)
    if origin is list:
        if not isinstance(value, list):
            return _UNFIT
        (inner,) = arguments
        fitted = [_fit(one, inner, f"{at}[{number}]", left_out) for number, one in enumerate(value)]
        return [one for one in fitted if one is not _UNFIT]
    if origin is dict:
        if not isinstance(value, dict):
            return _UNFIT
        inner = arguments[1]
        return _without_unfit({key: _fit(one, inner, f"{at}.{key}", left_out) for key, one in value.items()})
    return _UNFIT


def _marked(value: Any, arguments: tuple[Any, ...], at: str, left_out: list[str]) -> Any:
    """Annotated[inner, more]: a length, hex digits, or another type besides."""
    inner, more = arguments
    fitted = _attempt(value, inner, at, left_out)
    if fitted is _UNFIT:
        return _UNFIT
    if isinstance(more, int):
        return fitted if len(fitted) == more else _UNFIT
    if more is bytes:
        return fitted if _HEX.match(fitted) else _UNFIT
    return _attempt(fitted, more, at, left_out)


@cache
def _parts(wanted: Any) -> tuple[Any, tuple[Any, ...], bool]:
    """Its origin and arguments, and whether it is a TypedDict: looked up once, for a section is
    read twice a second."""
    return get_origin(wanted), get_args(wanted), is_typeddict(wanted)


@cache
def _hints(wanted: Any) -> tuple[Mapping[str, Any], frozenset[str]]:
    """The declared fields, and which of them may be None."""
    hints = get_type_hints(wanted, include_extras=True)
    return hints, frozenset(name for name, hint in hints.items() if type(None) in get_args(hint))


def _fields(value: dict[str, Any], wanted: Any, at: str, left_out: list[str]) -> Any:
    hints, optional = _hints(wanted)
    fitted = _without_unfit(
        {
            key: _fit(one, hints[key], f"{at}.{key}", left_out) if key in hints else one
            for key, one in value.items()
            # None: as if it were not there
            if one is not None or key not in hints or key in optional
        }
    )
    return fitted if wanted.__required_keys__ <= fitted.keys() else _UNFIT


def _without_unfit(values: dict[str, Any]) -> dict[str, Any]:
    return {key: one for key, one in values.items() if one is not _UNFIT}
