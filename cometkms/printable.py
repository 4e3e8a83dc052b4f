"""The one way of foreign text to a terminal or a line of the log: nothing in it moves the cursor, colours, hides or begins a line."""


def printable(text: str) -> str:
    """Control characters, line breaks, marks of direction and broken characters as escapes; the rest as it is."""
    return text if text.isprintable() else "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
