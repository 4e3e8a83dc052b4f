"""Which metrics and labels a PromQL expression names.

Enough of the language for the dashboard and the alert rules; no evaluation.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

FUNCTIONS = frozenset(
    {"absent", "histogram_quantile", "increase", "max", "min", "rate", "sum", "changes", "label_values"}
)
WORDS = frozenset({"and", "or", "unless", "bool"})
LISTS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
#: Labels that Prometheus itself adds to every series of a scrape.
TARGET_LABELS = frozenset({"job", "instance"})

_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<range>\[[^\]]*\])|(?P<number>\d+(?:\.\d+)?)"""
    r"""|(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)|(?P<sign>[(){},=~!<>+*/-]+?)|\s+"""
)


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric with the labels that it is selected by, or that the result is made of, around it."""

    metric: str
    labels: frozenset[str]


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        assert match, f"no PromQL from {expression[at:]!r} on"
        at = match.end()
        if match.lastgroup is not None:
            yield match.lastgroup, match.group()


def selectors(expression: str) -> list[Selector]:
    """Every metric in it, with the labels of its braces.

    Raises: AssertionError for what it does not understand.
    """
    tokens = list(_tokens(expression))
    found: list[Selector] = []
    at = 0
    while at < len(tokens):
        kind, text = tokens[at]
        at += 1
        if kind != "name" or text in WORDS:
            continue
        following = tokens[at][1] if at < len(tokens) else ""
        if text in LISTS:
            assert following == "(", f"{text} without a list"
            at = [token for _, token in tokens].index(")", at) + 1
        elif following == "(" or (at < len(tokens) and tokens[at][1] in LISTS):
            assert text in FUNCTIONS, f"an unknown function {text}"
        else:
            labels: set[str] = set()
            if following == "{":
                end = [token for _, token in tokens].index("}", at)
                labels = {name for kind, name in tokens[at:end] if kind == "name"}
                at = end + 1
            found.append(Selector(text, frozenset(labels)))
    return found


def grouping_labels(expression: str) -> set[str]:
    """The labels of every `by`, `on` and their like."""
    lists = re.findall(rf"\b(?:{'|'.join(sorted(LISTS))})\s*\(([^)]*)\)", expression)
    return {label.strip() for one in lists for label in one.split(",") if label.strip()}
