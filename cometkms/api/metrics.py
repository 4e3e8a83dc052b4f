"""/metrics in the two formats of Prometheus, from compose.py. Pure.

The text format 0.0.4 and OpenMetrics 1.0, of which this program needs four types and no timestamp,
no exemplar and no unit. The client library of Prometheus writes both as well, with ten times the
code and 1.5 MiB in this process; what is written here is held against what it writes, and against
its parsers (tests/unit/api/test_metrics.py, tests/property/test_metrics.py).
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from cometkms.api.compose import Samples
from cometkms.api.families import FAMILIES, Family, Type

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_ACCEPT_MAX_CHARS: Final = 1024
_TOTAL: Final = "_total"
_QUOTED: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_IN_TEXT_HELP: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})


def encode(samples: Samples, untrusted_accept: str) -> tuple[bytes, str]:
    """Body and content type: OpenMetrics if the Accept header asks for it, else the text format.
    Nothing of the header is said again."""
    openly = _wants_open_metrics(untrusted_accept)
    lines: list[str] = []
    for family in FAMILIES.values():
        lines += _head(family, openly=openly)
        lines += _histogram(family, samples) if family.type is Type.HISTOGRAM else _plain(family, samples)
    if openly:
        lines.append("# EOF\n")
    return "".join(lines).encode(), OPEN_METRICS if openly else TEXT


def _wants_open_metrics(untrusted_accept: str) -> bool:
    """Whether a version that this program writes is asked for before the text format: 1.x, or none
    in particular."""
    for untrusted in untrusted_accept[:_ACCEPT_MAX_CHARS].split(","):
        kind, *parameters = (part.strip() for part in untrusted.split(";"))
        if kind == "application/openmetrics-text":
            versions = [part.partition("=")[2] for part in parameters if part.startswith("version=")]
            if not versions or (versions[0].startswith("1.") and versions[0].replace(".", "").isdecimal()):
                return True
    return False


def _head(family: Family, *, openly: bool) -> Iterator[str]:
    """A family is named, though it may have no sample. OpenMetrics calls a counter by what its
    sample's name begins with."""
    name = family.name.removesuffix(_TOTAL) if openly and family.type is Type.COUNTER else family.name
    kind = "unknown" if openly and family.type is Type.UNTYPED else family.type.value
    yield f"# HELP {name} {family.help.translate(_QUOTED if openly else _IN_TEXT_HELP)}\n"
    yield f"# TYPE {name} {kind}\n"


def _plain(family: Family, samples: Samples) -> Iterator[str]:
    for labels, value in samples.of[family.name].items():
        yield _line(family.name, zip(family.labels, labels, strict=True), value)


def _histogram(family: Family, samples: Samples) -> Iterator[str]:
    for labels, told in samples.histograms[family.name].items():
        own = tuple(zip(family.labels, labels, strict=True))
        for bound, below in told.bounds:
            yield _line(f"{family.name}_bucket", (*own, ("le", str(bound))), below)
        yield _line(f"{family.name}_bucket", (*own, ("le", "+Inf")), told.count)
        yield _line(f"{family.name}_count", own, told.count)
        yield _line(f"{family.name}_sum", own, told.sum)


def _line(name: str, labels: Iterable[tuple[str, str]], value: float) -> str:
    words = ",".join(f'{label}="{text.translate(_QUOTED)}"' for label, text in sorted(labels))
    return f"{name}{{{words}}} {_number(value)}\n" if words else f"{name} {_number(value)}\n"


_INFINITE: Final[Mapping[float, str]] = {math.inf: "+Inf", -math.inf: "-Inf"}


def _number(value: float) -> str:
    """Write a number as Python writes a float, which every parser of either format reads."""
    number = float(value)
    return "NaN" if math.isnan(number) else _INFINITE.get(number) or repr(number)
