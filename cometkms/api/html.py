"""Make HTML that is safe by construction: text is escaped unless it was made here. Pure.

What a validator or a peer wrote is text; it becomes `Html` through `tag` alone, which escapes it.
"""

from typing import Final

#: As html.escape() has them; that module would bring its table of 2,231 names of characters with
#: it.
_ESCAPED: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})
_VOID: Final = frozenset({"meta", "link", "br"})


class Html(str):
    """Markup that was made by `tag` or `join`, or is a literal of this program."""

    __slots__ = ()


def tag(
    name: str, /, *content: "Html | str | int | float | None", **attributes: str | int | float | bool | None
) -> Html:
    """One element. Content None is left out; an attribute's name loses its last underscore and has
    hyphens for the others (class_, data_label); None and False leave it out, True is the bare
    name."""
    shown = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{shown}>")
    return Html(f"<{name}{shown}>{join(*content)}</{name}>")


def join(*content: "Html | str | int | float | None") -> Html:
    """One after the other, each escaped unless it is Html."""
    return Html("".join(one if isinstance(one, Html) else _escape(str(one)) for one in content if one is not None))


def _attribute(key: str, value: str | int | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{_escape(str(value))}"'


def _escape(text: str) -> str:
    return text.translate(_ESCAPED)
