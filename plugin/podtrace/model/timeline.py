"""Events over time: seconds of the wall clock, kept coarser the longer the trace is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from podtrace.model.clock import rfc3339
from podtrace.model.coverage import Coverage
from podtrace.model.histogram import NS_PER_SECOND
from podtrace.model.intervals import Interval, Intervals
from podtrace.model.measures import Operations
from podtrace.model.processes import Process
from podtrace.model.snapshot import Timeline, TimelineBucket

KEPT_WIDTHS = (1, 10, 60, 600, 3600, 86_400)
"""Seconds to which buckets are merged, one after the other, when KEPT_BUCKETS are full."""
KEPT_BUCKETS = 3600
SHOWN_WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200)
SHOWN_BUCKETS = 30

NOT_MEASURED = Operations(dns=None, tcp=None, connections=None, filesystem=None, processes=None)


class Bucket:
    """What was measured in one stretch of the wall clock."""

    __slots__ = ("errors", "events", "leader", "leader_events", "measured_ns")

    def __init__(self) -> None:
        self.measured_ns = 0
        self.errors = 0
        self.events: dict[str, int] = {}
        self.leader: Process | None = None
        self.leader_events = 0

    @property
    def total_events(self) -> int:
        """Events of all sections."""
        return sum(self.events.values())

    def merge(self, other: Bucket) -> None:
        """Add another bucket; the leader is the busier one of both."""
        self.measured_ns += other.measured_ns
        self.errors += other.errors
        for section, count in other.events.items():
            self.events[section] = self.events.get(section, 0) + count
        self.lead(other.leader, other.leader_events)

    def lead(self, process: Process | None, events: int) -> None:
        """Take the process as leader if it has more events than the leader so far."""
        if events > self.leader_events:
            self.leader, self.leader_events = process, events


class EventTimeline:
    """Events of each stretch of `width` seconds, by number of the stretch since 1970.

    Time that several tracers measured counts once.
    """

    def __init__(self) -> None:
        self.measured = Intervals()
        self.width = KEPT_WIDTHS[0]
        self.buckets: dict[int, Bucket] = {}

    def add(
        self,
        end_ns: int,
        interval_ns: int,
        events: dict[str, int],
        errors: int,
        leader: Process | None = None,
        leader_events: int = 0,
    ) -> None:
        """Add a tick; one longer than a bucket is spread evenly, and its sums still hold."""
        width_ns = self.width * NS_PER_SECOND
        start_ns = max(end_ns - interval_ns, 0)
        interval_ns = end_ns - start_ns
        first, last = start_ns // width_ns, max(end_ns - 1, start_ns) // width_ns
        if last - first > KEPT_BUCKETS:
            first = last
        done_ns = 0
        for index in range(first, last + 1):
            before_ns = done_ns
            done_ns = interval_ns
            if index != last:
                done_ns = min((index + 1) * width_ns - start_ns, interval_ns)
            bucket = self._bucket(index)
            bucket.errors += _part(errors, before_ns, done_ns, interval_ns)
            for section, count in events.items():
                part = _part(count, before_ns, done_ns, interval_ns)
                bucket.events[section] = bucket.events.get(section, 0) + part
            bucket.lead(leader, _part(leader_events, before_ns, done_ns, interval_ns))
        for fresh in self.measured.add(start_ns, end_ns):
            if first == last:
                self._bucket(last).measured_ns += fresh[1] - fresh[0]
                continue
            for index, length_ns in _pieces(fresh, width_ns):
                self._bucket(index).measured_ns += length_ns
        while len(self.buckets) > KEPT_BUCKETS and self.width < KEPT_WIDTHS[-1]:
            self._coarsen()

    def _bucket(self, index: int) -> Bucket:
        bucket = self.buckets.get(index)
        if bucket is None:
            bucket = self.buckets[index] = Bucket()
        return bucket

    def _coarsen(self) -> None:
        wider = KEPT_WIDTHS[KEPT_WIDTHS.index(self.width) + 1]
        self.buckets = _merged(self.buckets, wider // self.width)
        self.width = wider

    def shown(self, coverage: Coverage, start_ns: int, end_ns: int) -> Timeline:
        """Return the timeline of the report, of at most SHOWN_BUCKETS buckets.

        Args:
            coverage: what this trace measures.
            start_ns: start of the window.
            end_ns: end of the window.
        """
        if not self.buckets:
            return Timeline(bucket_seconds=self.width, buckets=())
        start = min(start_ns // NS_PER_SECOND, min(self.buckets) * self.width)
        stop = max(-(-end_ns // NS_PER_SECOND), (max(self.buckets) + 1) * self.width)
        width = _shown_width(start, stop, self.width)
        merged = _merged(self.buckets, width // self.width)
        numbers = range(start // width, -(-stop // width))
        empty = Bucket()
        return Timeline(
            bucket_seconds=width,
            buckets=tuple(
                _shown_bucket(index * width, merged.get(index, empty), coverage)
                for index in numbers
            ),
        )


def _pieces(interval: Interval, width_ns: int) -> Iterator[tuple[int, int]]:
    """Yield the buckets that a stretch of time touches, and how much of it lies in each."""
    start_ns, stop_ns = interval
    while start_ns < stop_ns:
        index = start_ns // width_ns
        end_ns = min((index + 1) * width_ns, stop_ns)
        yield index, end_ns - start_ns
        start_ns = end_ns


def _merged(buckets: dict[int, Bucket], factor: int) -> dict[int, Bucket]:
    merged: dict[int, Bucket] = {}
    for index, bucket in buckets.items():
        merged.setdefault(index // factor, Bucket()).merge(bucket)
    return merged


def _shown_width(start: int, stop: int, kept_width: int) -> int:
    doubled = (SHOWN_WIDTHS[-1] << power for power in itertools.count(1))
    for width in itertools.chain(SHOWN_WIDTHS, doubled):
        fits = -(-stop // width) - start // width <= SHOWN_BUCKETS
        if fits and width % kept_width == 0:
            return width
    raise AssertionError("doubled widths never end")


def _shown_bucket(start: int, bucket: Bucket, coverage: Coverage) -> TimelineBucket:
    measured = bucket.measured_ns > 0
    events = bucket.total_events
    seconds = bucket.measured_ns / NS_PER_SECOND
    return TimelineBucket(
        start=rfc3339(start * NS_PER_SECOND),
        seconds=seconds,
        events=events if measured else None,
        events_per_second=events / seconds if measured else None,
        errors=bucket.errors if measured else None,
        operations=coverage.operations(bucket.events) if measured else NOT_MEASURED,
    )


def _part(total: int, before_ns: int, done_ns: int, interval_ns: int) -> int:
    if interval_ns <= 0:
        return total
    return total * done_ns // interval_ns - total * before_ns // interval_ns
