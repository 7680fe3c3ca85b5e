"""What each tracer reports of itself: one row a stream, added up where there are several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any


class TracerSums:
    """Ticks, losses, gauges and cost of one tracer."""

    def __init__(self) -> None:
        self.ticks = 0
        self.highest_tick = 0
        self.first_start_ns: int | None = None
        self.last_end_ns: int | None = None
        self.lost: Counter[str] = Counter()
        self.gauges: dict[str, int] = {}
        self.cpu_ns: int | None = None
        self.memory_bytes: int | None = None
        self.bpf_ns: int | None = None

    def fold(self, number: int, health: dict[str, Any]) -> None:
        """Add the health line of a tick."""
        end_ns = health["time_ns"]
        start_ns = max(end_ns - health["interval_ns"], 0)
        self.ticks += 1
        self.highest_tick = max(self.highest_tick, number)
        self.first_start_ns = min(start_ns, self.first_start_ns or start_ns)
        self.last_end_ns = max(end_ns, self.last_end_ns or 0)
        self.lost.update(health.get("lost") or {})
        if end_ns == self.last_end_ns:
            self.gauges |= {
                name: value
                for name, value in (health.get("gauges") or {}).items()
                if value is not None
            }
        self.cpu_ns = _sum(self.cpu_ns, health.get("tracer_cpu_ns"))
        self.bpf_ns = _sum(self.bpf_ns, health.get("bpf_ns_estimate"))
        memory = health.get("tracer_cgroup_bytes") or health.get("tracer_rss_bytes")
        if memory is not None:
            self.memory_bytes = max(memory, self.memory_bytes or 0)


class TracerTable(dict[int, TracerSums]):
    """The tracers by the number of their stream; what none of them knows is None."""

    def row(self, stream: int) -> TracerSums:
        """Return the sums of a stream, to be added to."""
        found = self.get(stream)
        if found is None:
            found = self[stream] = TracerSums()
        return found

    @property
    def gauges(self) -> dict[str, int]:
        """The latest gauges of each, added up."""
        total: Counter[str] = Counter()
        for tracer in self.values():
            total.update(tracer.gauges)
        return dict(total)

    @property
    def lost(self) -> Counter[str]:
        """Lost records by place."""
        total: Counter[str] = Counter()
        for tracer in self.values():
            total.update(tracer.lost)
        return total

    @property
    def cpu_ns(self) -> int | None:
        """CPU time of all tracers."""
        return _total(tracer.cpu_ns for tracer in self.values())

    @property
    def memory_bytes(self) -> int | None:
        """The most memory that each tracer took, added up."""
        return _total(tracer.memory_bytes for tracer in self.values())

    @property
    def bpf_ns(self) -> int | None:
        """Estimated run time of the probes of all tracers."""
        return _total(tracer.bpf_ns for tracer in self.values())


def _total(amounts: Iterable[int | None]) -> int | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None


def _sum(total: int | None, delta: int | None) -> int | None:
    return total if delta is None else (total or 0) + delta
