"""The busiest second of TCP payload, over all tracers together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from podtrace.model.histogram import NS_PER_SECOND

KEPT_SECONDS = 120
"""Seconds for which another tracer's tick may still come."""
LEAST_NS = 500_000_000
"""Less measured time says nothing about a peak rate."""


@dataclass
class Peak:
    """Highest throughput, in bytes per second; `start_ns` is when both directions were busiest."""

    sent: float = 0.0
    received: float = 0.0
    both: float = 0.0
    start_ns: int = 0


class _Second:
    """Payload of the ticks that ended in one second."""

    __slots__ = ("measured_ns", "received", "sent", "start_ns")

    def __init__(self, start_ns: int) -> None:
        self.start_ns = start_ns
        self.sent = 0
        self.received = 0
        self.measured_ns: Counter[int] = Counter()

    def raise_peak(self, peak: Peak) -> None:
        measured_ns = max(self.measured_ns.values())
        if measured_ns < LEAST_NS:
            return
        sent = self.sent * NS_PER_SECOND / measured_ns
        received = self.received * NS_PER_SECOND / measured_ns
        peak.sent = max(peak.sent, sent)
        peak.received = max(peak.received, received)
        if sent + received > peak.both:
            peak.both = sent + received
            peak.start_ns = self.start_ns


class Throughput:
    """Adds up payload by the second in which ticks ended."""

    def __init__(self) -> None:
        self._peak = Peak()
        self._seconds: dict[int, _Second] = {}

    def add(self, stream: int, start_ns: int, end_ns: int, sent: int, received: int) -> None:
        """Add the payload of one tick."""
        number = -(-end_ns // NS_PER_SECOND)
        second = self._seconds.get(number)
        if second is None:
            second = self._seconds[number] = _Second(start_ns)
            if len(self._seconds) > KEPT_SECONDS:
                self._seconds.pop(min(self._seconds)).raise_peak(self._peak)
        second.start_ns = min(second.start_ns, start_ns)
        second.sent += sent
        second.received += received
        second.measured_ns[stream] += end_ns - start_ns

    @property
    def peak(self) -> Peak:
        """The busiest second so far."""
        found = Peak(self._peak.sent, self._peak.received, self._peak.both, self._peak.start_ns)
        for second in self._seconds.values():
            second.raise_peak(found)
        return found
