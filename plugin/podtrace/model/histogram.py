"""Durations in log-linear slots: exact count, sum and maximum, percentiles at most 3.2 % off."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from podtrace.wire.histogram import slot_lower, slot_upper

NS_PER_SECOND = 1_000_000_000


class Histogram:
    """Sparse counts by slot of wire/histogram.py, with the exact sum and maximum beside them."""

    __slots__ = ("count", "max_ns", "slots", "sum_ns")

    def __init__(self) -> None:
        self.count = 0
        self.sum_ns = 0
        self.max_ns = 0
        self.slots: dict[int, int] = {}

    def add(self, slots: Iterable[Sequence[int]], sum_ns: int, max_ns: int) -> None:
        """Add durations as a series line carries them: (slot, count) pairs, sum and maximum."""
        own = self.slots
        for slot, count in slots:
            if count:
                own[slot] = own.get(slot, 0) + count
                self.count += count
        self.sum_ns += sum_ns
        self.max_ns = max(self.max_ns, max_ns)

    def merge(self, other: Histogram) -> None:
        """Add all durations of another histogram."""
        self.add(other.slots.items(), other.sum_ns, other.max_ns)

    def quantile(self, ratio: float) -> float | None:
        """Return the quantile, from 0 to 1, in seconds; None if the histogram is empty."""
        return self.quantiles((ratio,))[0]

    def quantiles(self, ratios: Sequence[float]) -> list[float | None]:
        """Return several quantiles, given in ascending order, in one pass over the slots.

        A quantile is the smallest duration that at least `ratio` of all durations do not exceed
        (nearest rank), as the middle of its slot, clamped to the maximum.
        """
        if not self.count:
            return [None] * len(ratios)
        found: list[float | None] = []
        ordered = iter(sorted(self.slots.items()))
        slot, seen = next(ordered)
        for ratio in ratios:
            while seen < ratio * self.count:
                following = next(ordered, None)
                if following is None:
                    break
                slot = following[0]
                seen += following[1]
            found.append(self._middle_ns(slot) / NS_PER_SECOND)
        return found

    def at_least(self, seconds: float) -> int:
        """Return how many durations lie in slots whose middle is not below `seconds`."""
        limit_ns = seconds * NS_PER_SECOND
        return sum(count for slot, count in self.slots.items() if self._middle_ns(slot) >= limit_ns)

    def _middle_ns(self, slot: int) -> float:
        lower = slot_lower(slot)
        return max(lower, min((lower + slot_upper(slot) - 1) / 2, self.max_ns))
