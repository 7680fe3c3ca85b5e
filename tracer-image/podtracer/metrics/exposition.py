"""The page as text: the only place that knows prometheus_client.

The library formats each sample once, when it is new; then only numbers change behind what it made.
To let it format 20,000 lines each second would cost a quarter of a core.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable

from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

from podtracer.metrics.families import COUNTER, HISTOGRAM, Family
from podtracer.metrics.samples import Labels, Number, Samples

_text: Callable[[Number], str] = floatToGoString

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Alone:
    """What the library takes for a registry, in all its versions, with one metric in it."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        """Yield the metric."""
        yield self._metric


def _metric(family: Family, samples: Iterable[Labels]) -> Metric:
    """Return a family with samples that are all zero."""
    if family.kind == COUNTER:
        counter = CounterMetricFamily(family.name, family.help, labels=family.labels)
        for labels in samples:
            counter.add_metric(labels, 0)
        return counter
    if family.kind != HISTOGRAM:
        gauge = GaugeMetricFamily(family.name, family.help, labels=family.labels)
        for labels in samples:
            gauge.add_metric(labels, 0)
        return gauge
    bounds = [_text((1 << power) / family.per) for power in family.powers]
    histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels in samples:
        histogram.add_metric(labels, [(bound, 0) for bound in (*bounds, "+Inf")], 0)
    return histogram


def _lines(family: Family, samples: Iterable[Labels]) -> list[str]:
    # Only this character ends a line: others that Python splits at may stand in a label.
    registry: Any = _Alone(_metric(family, samples))
    return generate_latest(registry).decode().split("\n")[:-1]


def _header(family: Family) -> str:
    return "".join(f"{line}\n" for line in _lines(family, ()))


def _template(family: Family, labels: Labels) -> str:
    """Return the lines of a sample, for `%`, with a place for the number at the end of each."""
    lines = [line for line in _lines(family, [labels]) if not line.startswith("# ")]
    return "".join(line.rpartition(" ")[0].replace("%", "%%") + " %s\n" for line in lines)


def _shown(family: Family, numbers: Sequence[Number]) -> Iterator[str]:
    """Yield the numbers of a sample's lines, in the order in which the library makes these."""
    if family.kind != HISTOGRAM:
        yield _text(numbers[0] / family.per if family.per > 1 else numbers[0])
        return
    total: Number = 0
    for number in numbers[:-1]:
        total += number
        yield _text(total)
    yield _text(total)
    yield _text(numbers[-1] / family.per)


class _Part:
    """The text of one family: of each sample what was made of it last."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._header = _header(samples.family).encode()
        self._templates: dict[Labels, str] = {}
        self._texts: dict[Labels, bytes] = {}
        self.text = b""

    def render(self) -> None:
        samples = self._samples
        if not samples.changed:
            return
        for labels in samples.changed:
            numbers = samples.numbers.get(labels)
            if numbers is None:
                self._templates.pop(labels, None)
                self._texts.pop(labels, None)
                continue
            template = self._templates.get(labels)
            if template is None:
                template = self._templates[labels] = _template(samples.family, labels)
            self._texts[labels] = (template % tuple(_shown(samples.family, numbers))).encode()
        samples.changed.clear()
        self.text = b"".join((self._header, *self._texts.values())) if self._texts else b""


class Exposition:
    """Makes the page of the samples of all families; a family without samples is not on it."""

    def __init__(self, tables: Iterable[Samples]) -> None:
        self._parts = [_Part(samples) for samples in tables]

    def text(self) -> Sequence[bytes]:
        """Return the page in parts, of which only what changed is made anew."""
        for part in self._parts:
            part.render()
        return [part.text for part in self._parts]
