"""The last seconds of a trace, for a live view."""

from __future__ import annotations

from dataclasses import dataclass

from podtrace.model.histogram import NS_PER_SECOND
from podtrace.model.ledger import Ledger
from podtrace.model.tally import NOTHING, Tally
from podtrace.wire.schema import METRICS


@dataclass(frozen=True)
class RecentKind:
    """One metric lately; percentiles are None without durations."""

    metric: str
    count: int
    per_second: float
    errors: int
    bytes_per_second: float
    p50_seconds: float | None
    p99_seconds: float | None
    max_seconds: float | None


@dataclass(frozen=True)
class Recent:
    """All metrics seen in this trace, over the last `seconds` that were measured."""

    seconds: float
    events: int
    events_per_second: float | None
    cpu_percent: float | None
    kinds: tuple[RecentKind, ...]


def recent(ledger: Ledger, seconds: float) -> Recent:
    """Return rates and latencies over the newest ticks that make up at least `seconds`."""
    measured_ns = events = 0
    tallies: dict[str, Tally] = {}
    for tick in reversed(ledger.recent):
        if measured_ns >= seconds * NS_PER_SECOND:
            break
        measured_ns += tick.interval_ns
        events += tick.events
        for metric, tally in tick.tallies.items():
            tallies.setdefault(metric, Tally()).merge(tally)
    measured = measured_ns / NS_PER_SECOND
    cpu_ns = tallies.get("cpu", NOTHING).durations.sum_ns
    return Recent(
        seconds=measured,
        events=events,
        events_per_second=events / measured if measured else None,
        cpu_percent=100 * cpu_ns / measured_ns if measured_ns else None,
        kinds=tuple(
            _kind(metric, tallies.get(metric, NOTHING), measured)
            for metric in METRICS
            if metric in ledger.totals
        ),
    )


def _kind(metric: str, tally: Tally, seconds: float) -> RecentKind:
    p50, p99 = tally.durations.quantiles((0.5, 0.99))
    operations = tally.operations(metric)
    return RecentKind(
        metric=metric,
        count=operations,
        per_second=operations / seconds if seconds else 0.0,
        errors=tally.failed,
        bytes_per_second=tally.bytes / seconds if seconds else 0.0,
        p50_seconds=p50,
        p99_seconds=p99,
        max_seconds=tally.durations.max_ns / NS_PER_SECOND if tally.durations.count else None,
    )
