"""A value from the status board of which nothing is certain yet: asked for a number or a text it
gives one, or None. Never raises.

A section is written by another process, perhaps of another version that is about to be replaced;
what is missing or odd there must cost a monitor that one figure and no other.
"""

import math
from collections.abc import Mapping
from typing import Final


class Untrusted:
    """What a section says in one place."""

    __slots__ = ("_value",)

    def __init__(self, untrusted_value: object) -> None:
        self._value = untrusted_value

    def __getitem__(self, key: str) -> "Untrusted":
        """What is said under the key; nothing, if it is no object or has no such key."""
        return Untrusted(self._value.get(key)) if isinstance(self._value, Mapping) else NOTHING

    @property
    def there(self) -> bool:
        """Whether anything is said at all."""
        return self._value is not None

    @property
    def text(self) -> str | None:
        """A text."""
        return self._value if isinstance(self._value, str) else None

    @property
    def number(self) -> float | None:
        """A finite number; true and false are 1 and 0."""
        if not isinstance(self._value, int | float):
            return None
        try:
            number = float(self._value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None

    @property
    def amount(self) -> float | None:
        """A number that is not negative."""
        number = self.number
        return number if number is not None and number >= 0 else None

    @property
    def items(self) -> list["Untrusted"]:
        """The items of a list."""
        return [Untrusted(one) for one in self._value] if isinstance(self._value, list | tuple) else []

    @property
    def pairs(self) -> list[tuple[str, "Untrusted"]]:
        """The texts of an object and what is said under each."""
        if not isinstance(self._value, Mapping):
            return []
        return [(key, Untrusted(value)) for key, value in self._value.items() if isinstance(key, str)]


NOTHING: Final = Untrusted(None)
