"""Stretches of time as a set: what several tracers measured at the same time counts once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

KEPT = 10_000
"""Stretches with gaps between them; of more, the oldest are forgotten."""

Interval = tuple[int, int]


class Intervals:
    """Disjoint stretches of nanoseconds, and in `total_ns` the length of all that were added."""

    def __init__(self) -> None:
        self.total_ns = 0
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, start: int, stop: int) -> list[Interval]:
        """Add a stretch and return the parts of it that were not covered before, in order."""
        if stop <= start:
            return []
        starts, stops = self._starts, self._stops
        # Those from `first` up to `last` touch or overlap the new one.
        first, last = bisect_left(stops, start), bisect_right(starts, stop)
        fresh = []
        reached = start
        for index in range(first, last):
            if starts[index] > reached:
                fresh.append((reached, starts[index]))
            reached = max(reached, stops[index])
        if reached < stop:
            fresh.append((reached, stop))
        if first < last:
            start, stop = min(start, starts[first]), max(stop, stops[last - 1])
        starts[first:last] = [start]
        stops[first:last] = [stop]
        self.total_ns += sum(end - begin for begin, end in fresh)
        if len(starts) > KEPT:
            del starts[0], stops[0]
        return fresh

    def __iter__(self) -> Iterator[Interval]:
        return zip(self._starts, self._stops, strict=True)
