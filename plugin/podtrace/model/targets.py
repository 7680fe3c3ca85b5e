"""What each target did: the sums that tell pods apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from podtrace.model.tally import NOTHING, SECTION_OF_EVENT, Tally, errors_among

MOST_TARGETS = 1000
FILE_OPERATIONS = ("open", "read", "write", "fsync")


class TargetSums:
    """Sums by metric of one target, and how often its containers were restarted or killed."""

    __slots__ = ("oom_kills", "restarts", "tallies")

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}
        self.restarts = 0
        self.oom_kills = 0

    def add(self, line: dict[str, Any]) -> None:
        """Add a series line."""
        metric = line["metric"]
        tally = self.tallies.get(metric)
        if tally is None:
            tally = self.tallies[metric] = Tally()
        tally.add(line)

    def total(self, metric: str) -> Tally:
        """Return the metric's sums; empty where nothing was counted."""
        return self.tallies.get(metric, NOTHING)

    @property
    def events(self) -> int:
        """Finished operations of all metrics that are events."""
        return sum(self.total(metric).operations(metric) for metric in SECTION_OF_EVENT)

    @property
    def errors(self) -> int:
        """Events that went wrong."""
        return sum(
            errors_among(metric, self.total(metric).count, self.total(metric).errors)
            for metric in SECTION_OF_EVENT
        )

    @property
    def dns_errors(self) -> int:
        """DNS answers with an error code, and queries without an answer."""
        return self.total("dns").failed + self.total("dns_timeout").count

    @property
    def slow_file_operations(self) -> int:
        """Operations on files that the tracer calls slow."""
        return sum(self.total(metric).slow for metric in FILE_OPERATIONS)


class TargetTable:
    """The sums of each target, by the number that `hello` gives it.

    Targets beyond MOST_TARGETS share the row 0, which belongs to none.
    """

    def __init__(self) -> None:
        self._rows: dict[int, TargetSums] = {}

    def known(self, target: int | None) -> int:
        """Return the target's number, or 0 for one too many and for None."""
        if not target:
            return 0
        if target not in self._rows:
            if len(self._rows) >= MOST_TARGETS:
                return 0
            self._rows[target] = TargetSums()
        return target

    def row(self, target: int) -> TargetSums:
        """Return the sums of a number that `known` gave, to be added to."""
        found = self._rows.get(target)
        if found is None:
            found = self._rows[target] = TargetSums()
        return found

    def get(self, target: int) -> TargetSums:
        """Return the sums of a target, empty where it did nothing."""
        return self._rows.get(target) or TargetSums()

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows)
