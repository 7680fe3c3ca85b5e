"""The numbers of one family by the values of its labels, exact, and which of them changed.

Times are whole nanoseconds until they are shown: sums of floats would drift.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Union

from podtrace.wire.histogram import SLOTS, slot_lower
from podtracer.metrics.families import HISTOGRAM, Family

Labels = tuple[str, ...]
Number = Union[int, float]


class Samples:
    """One family's samples.

    Of a counter or gauge, `numbers` is one number; of a histogram, the operations in each bucket
    alone, those beyond the last bound, and the sum of durations. `changed` are the labels whose
    numbers are new since somebody last cleared it, those that have gone too, in their order.
    """

    def __init__(self, family: Family) -> None:
        self.family = family
        self.numbers: dict[Labels, list[Number]] = {}
        self.changed: dict[Labels, None] = {}
        self._is_histogram = family.kind == HISTOGRAM
        self._empty: Sequence[Number] = [0] * (len(family.powers) + 2 if self._is_histogram else 1)
        self._buckets = _buckets(family.powers)

    def _of(self, labels: Labels) -> list[Number]:
        numbers = self.numbers.get(labels)
        if numbers is None:
            numbers = self.numbers[labels] = list(self._empty)
        self.changed[labels] = None
        return numbers

    def add(self, labels: Labels, amount: int) -> None:
        """Add to a counter; adding 0 makes it known."""
        if amount or labels not in self.numbers:
            self._of(labels)[0] += amount

    def set(self, labels: Labels, value: Number) -> None:
        """Set a gauge."""
        if self.numbers.get(labels) != [value]:
            self._of(labels)[0] = value

    def observe(self, labels: Labels, slots: Mapping[int, int], sum_ns: int) -> None:
        """Add durations to a histogram, by the kernel's slots."""
        numbers = self._of(labels)
        for slot, count in slots.items():
            numbers[self._buckets[slot]] += count
        numbers[-1] += sum_ns

    def move(self, labels: Labels, into: Labels) -> None:
        """Take a sample out and add it to another, so that no sum falls."""
        numbers = self.numbers[labels]
        self.drop(labels)
        total = self._of(into)
        for index, number in enumerate(numbers):
            total[index] += number

    def drop(self, labels: Labels) -> None:
        """Take a sample out."""
        del self.numbers[labels]
        self.changed[labels] = None


def _buckets(powers: Sequence[int]) -> Sequence[int]:
    """Return the bucket of each slot: the first whose bound the slot's durations are below."""
    bounds = [1 << power for power in powers]
    return [bisect_right(bounds, slot_lower(slot)) for slot in range(SLOTS)] if bounds else ()
