"""One metric's sums over some ticks, processes or labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podtrace.model.histogram import NS_PER_SECOND, Histogram
from podtrace.model.measures import FileOperation, Latency, Transfer
from podtrace.wire.schema import METRICS

SECTION_METRICS = {
    "dns": ("dns", "dns_query", "dns_retry", "dns_timeout"),
    "tcp": ("rtt", "rtt_spike", "retransmit", "reset", "send", "receive"),
    "connections": ("connect", "connect_attempt", "accept", "connection"),
    "filesystem": ("open", "read", "write", "fsync", "file"),
    "io_other": ("pipe", "socket", "terminal"),
    "cpu": ("run_queue", "blocked", "throttled"),
    "cpu_usage": ("cpu",),
    "process_activity": ("exec", "exit"),
}
"""Which report section each metric belongs to."""

SECTION_OF_METRIC = {
    metric: section for section, metrics in SECTION_METRICS.items() for metric in metrics
}

OPERATION_SECTIONS = ("dns", "tcp", "connections", "filesystem", "processes")
"""Keys of `Operations`: the sections that have events."""

SECTION_OF_EVENT = {
    metric: "processes" if section == "process_activity" else section
    for section, metrics in SECTION_METRICS.items()
    for metric in metrics
    if METRICS[metric].event
}
"""The key of `Operations` that each event metric counts for."""

BESIDE = frozenset(name for name, metric in METRICS.items() if not metric.errors_timed)
"""Metrics whose errors are operations beside the timed ones."""

QUANTILES = (0.5, 0.95, 0.99, 0.999)


def errors_among(metric: str, count: int, errors: Mapping[str, int]) -> int:
    """Return how many operations of an event metric went wrong.

    An open that finds no file is mostly a search along a path, as every dynamic linker does.
    """
    if metric == "dns_timeout":
        return count
    return sum(errors.values()) - (errors.get("ENOENT", 0) if metric == "open" else 0)


class Tally:
    """Counts, bytes, errors and durations of one metric; every field adds up, maxima apart."""

    __slots__ = ("again", "bytes", "count", "durations", "errors", "slow", "wait_ns")

    def __init__(self) -> None:
        self.count = 0
        self.bytes = 0
        self.wait_ns = 0
        self.again = 0
        self.slow = 0
        self.errors: dict[str, int] = {}
        self.durations = Histogram()

    def add(self, line: dict[str, Any]) -> None:
        """Add a series line."""
        self.count += line["count"]
        self.bytes += line.get("bytes") or 0
        self.wait_ns += line.get("wait_ns") or 0
        self.again += line.get("again") or 0
        self.slow += line.get("slow") or 0
        self._add_errors(line.get("errors") or {})
        self.durations.add(
            line.get("slots") or (), line.get("sum_ns") or 0, line.get("max_ns") or 0
        )

    def merge(self, other: Tally) -> None:
        """Add everything of another tally of the same metric."""
        self.count += other.count
        self.bytes += other.bytes
        self.wait_ns += other.wait_ns
        self.again += other.again
        self.slow += other.slow
        self._add_errors(other.errors)
        self.durations.merge(other.durations)

    def _add_errors(self, errors: dict[str, int]) -> None:
        for name, count in errors.items():
            self.errors[name] = self.errors.get(name, 0) + count

    @property
    def failed(self) -> int:
        """Number of errors of all names."""
        return sum(self.errors.values())

    def operations(self, metric: str) -> int:
        """Return finished operations, failed ones included."""
        return self.count + (self.failed if metric in BESIDE else 0)

    def errors_by_count(self) -> dict[str, int]:
        """Return errors by name, the most frequent first."""
        return dict(sorted(self.errors.items(), key=lambda item: (-item[1], item[0])))

    def latency(self) -> Latency:
        """Return the latency block."""
        return Latency(*self._latency_fields())

    def transfer(self) -> Transfer:
        """Return the latency block of a TCP call."""
        return Transfer(
            *self._latency_fields(), self.wait_ns / NS_PER_SECOND, self.bytes, self.again
        )

    def file_operation(self, *, moves_data: bool) -> FileOperation:
        """Return the latency block of an operation on files."""
        return FileOperation(
            *self._latency_fields(),
            self.wait_ns / NS_PER_SECOND,
            self.bytes if moves_data else None,
            self.slow,
        )

    def _latency_fields(
        self,
    ) -> tuple[
        int, int, float | None, float | None, float | None, float | None, float | None, float | None
    ]:
        durations = self.durations
        p50, p95, p99, p999 = durations.quantiles(QUANTILES)
        average = durations.sum_ns / durations.count / NS_PER_SECOND if durations.count else None
        longest = durations.max_ns / NS_PER_SECOND if durations.count else None
        return self.count, self.failed, average, longest, p50, p95, p99, p999


NOTHING = Tally()
"""What a metric without a single line adds up to. Never added to."""
