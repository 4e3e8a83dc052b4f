"""What Prometheus's own client library writes of the same samples: the twin that
cometkms/api/metrics.py is held against.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from prometheus_client.registry import Collector

from cometkms.api.compose import Samples
from cometkms.api.families import FAMILIES, Family, Type

_CLASSES: Mapping[Type, Any] = {
    Type.COUNTER: CounterMetricFamily,
    Type.GAUGE: GaugeMetricFamily,
    Type.UNTYPED: UnknownMetricFamily,
}


class _Samples(Collector):
    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Metric]:
        for family in FAMILIES.values():
            yield _histogram(family, self._samples) if family.type is Type.HISTOGRAM else _plain(family, self._samples)


def _plain(family: Family, samples: Samples) -> Metric:
    metric: Metric = _CLASSES[family.type](family.name, family.help, labels=family.labels)
    for labels, value in samples.of[family.name].items():
        metric.add_metric(labels, value)  # type: ignore[attr-defined]  # each of the classes has it
    return metric


def _histogram(family: Family, samples: Samples) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, told in samples.histograms[family.name].items():
        buckets = [(str(bound), below) for bound, below in told.bounds]
        metric.add_metric(labels, [*buckets, ("+Inf", told.count)], sum_value=told.sum)
    return metric


def library_encode(samples: Samples, accept: str) -> str:
    encoder, _ = choose_encoder(accept)
    return encoder(_Samples(samples)).decode()


def same_text(ours: str, library: str) -> bool:
    """Line by line, but for how a number is spelt: the library writes large ones as Go does."""
    return [_read(line) for line in ours.splitlines()] == [_read(line) for line in library.splitlines()]


def _read(line: str) -> object:
    if line.startswith("#"):
        return line
    name, _, value = line.rpartition(" ")
    return name, repr(float(value))
