"""/metrics in the formats of Prometheus, from samples.py. The only importer of prometheus_client.

Its registry of metrics that are counted where they happen is not used: what happens, happens in other processes, and the status
board says it.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from prometheus_client.registry import Collector

from cometkms.api.families import FAMILIES, Family, Type
from cometkms.api.samples import Samples

_ACCEPT: Final = re.compile(r"[A-Za-z0-9_.+*/;=, -]{0,1024}")
_Plain = CounterMetricFamily | GaugeMetricFamily | UnknownMetricFamily
_CLASSES: Final[Mapping[Type, type[_Plain]]] = {
    Type.COUNTER: CounterMetricFamily,
    Type.GAUGE: GaugeMetricFamily,
    Type.UNTYPED: UnknownMetricFamily,
}


class _Board(Collector):
    """One answer's samples. Every family is named, those without samples too."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        for family in FAMILIES.values():
            yield _histogram(family, self._samples) if family.type is Type.HISTOGRAM else _plain(family, self._samples)


def _plain(family: Family, samples: Samples) -> Metric:
    metric = _CLASSES[family.type](family.name, family.help, labels=family.labels)
    for labels, value in samples.of[family.name].items():
        metric.add_metric(labels, value)
    return metric


def _histogram(family: Family, samples: Samples) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, told in samples.histograms[family.name].items():
        buckets = [(str(bound), below) for bound, below in told.bounds]
        metric.add_metric(labels, [*buckets, ("+Inf", told.count)], sum_value=told.sum)
    return metric


def encode(samples: Samples, untrusted_accept: str) -> tuple[bytes, str]:
    """Body and content type: OpenMetrics if the Accept header asks for it, else the text format."""
    try:  # what it takes from the header it says again in the content type
        encoder, content_type = choose_encoder(untrusted_accept if _ACCEPT.fullmatch(untrusted_accept) else "")
    except (ValueError, TypeError):  # a version that is no number
        encoder, content_type = choose_encoder("")
    return encoder(_Board(samples)), content_type
