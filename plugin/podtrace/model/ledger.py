"""What a trace has added up so far: the sums that every section and finding is made of."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from podtrace.model.labels import LabelTable, ip_version
from podtrace.model.processes import Process, ProcessTable
from podtrace.model.tally import NOTHING, SECTION_OF_EVENT, Tally, errors_among
from podtrace.model.timeline import EventTimeline
from podtrace.wire import schema
from podtrace.wire.ticks import Tick

RECENT_TICKS = 60
LEAST_PEAK_NS = 500_000_000
"""A shorter tick says nothing about a peak rate."""

LABEL_FIELDS = ("peer", "name", "path", "reason")
FAMILY_METRICS = ("connect", "connect_attempt")


@dataclass(frozen=True)
class TickSums:
    """One tick's tallies by metric."""

    interval_ns: int
    events: int
    tallies: Mapping[str, Tally]


@dataclass
class Peak:
    """Highest throughput of a single tick, in bytes per second."""

    sent: float = 0.0
    received: float = 0.0
    both: float = 0.0
    both_end_ns: int = 0
    both_interval_ns: int = 0


class Ledger:
    """Folds whole ticks; everything adds up, in any order of ticks but for names of processes."""

    def __init__(self) -> None:
        self.ticks = 0
        self.measured_ns = 0
        self.first_start_ns: int | None = None
        self.last_end_ns: int | None = None
        self.totals: dict[str, Tally] = {}
        self.labels = {name: LabelTable() for name in LABEL_FIELDS}
        self.connect_families: dict[int, dict[str, Tally]] = {4: {}, 6: {}}
        self.processes = ProcessTable()
        self.timeline = EventTimeline()
        self.recent: deque[TickSums] = deque(maxlen=RECENT_TICKS)
        self.target_events: Counter[int] = Counter()
        self.event_lines: Counter[str] = Counter()
        self.unknown_metrics: Counter[str] = Counter()
        self.peak = Peak()
        self.lost: Counter[str] = Counter()
        self.suppressed = 0
        self.overflow = 0
        self.gauges: dict[str, int] = {}
        self.tracer_cpu_ns: int | None = None
        self.tracer_memory_bytes: int | None = None
        self.bpf_ns: int | None = None

    def total(self, metric: str) -> Tally:
        """Return the metric's sums over the whole trace; empty where nothing was counted."""
        return self.totals.get(metric, NOTHING)

    @property
    def events(self) -> int:
        """Finished operations of all metrics that are events."""
        return sum(self.total(metric).operations(metric) for metric in SECTION_OF_EVENT)

    def fold(self, tick: Tick) -> list[dict[str, Any]]:
        """Add a tick and return its event lines."""
        by_kind: dict[str, list[dict[str, Any]]] = {kind: [] for kind in schema.KINDS}
        for line in tick.lines:
            by_kind.get(line["kind"], []).append(line)
        for line in by_kind[schema.PROCESS]:
            self.processes.update(line)
        by_process: Counter[Process] = Counter()
        tallies: dict[str, Tally] = {}
        for line in by_kind[schema.SERIES]:
            self._fold_series(line, tallies, by_process)
        for metric, tally in tallies.items():
            self.totals.setdefault(metric, Tally()).merge(tally)
        for line in by_kind[schema.EVENT]:
            if line["event"] in schema.EVENTS:
                self.event_lines[line["event"]] += line.get("count") or 1
        self._fold_time(tick.health, tallies, by_process)
        self._fold_health(tick.health)
        return by_kind[schema.EVENT]

    def _fold_series(
        self, line: dict[str, Any], tallies: dict[str, Tally], by_process: Counter[Process]
    ) -> None:
        metric = line["metric"]
        if metric not in schema.METRICS:
            self.unknown_metrics["other" if len(self.unknown_metrics) > 100 else metric] += 1
            return
        tallies.setdefault(metric, Tally()).add(line)
        for field in LABEL_FIELDS:
            label = line.get(field)
            if label is not None:
                self.labels[field].add(label, line)
        family = ip_version(line.get("peer") or "") if metric in FAMILY_METRICS else None
        if family is not None:
            self.connect_families[family].setdefault(metric, Tally()).add(line)
        process = self.processes.current(line["process"])
        events = process.add(line)
        if events:
            by_process[process] += events
            target = line.get("target") or 0
            if target in self.target_events or len(self.target_events) < 1000:
                self.target_events[target] += events

    def _fold_time(
        self, health: dict[str, Any], tallies: dict[str, Tally], by_process: Counter[Process]
    ) -> None:
        end_ns, interval_ns = health["time_ns"], health["interval_ns"]
        start_ns = max(end_ns - interval_ns, 0)
        self.ticks += 1
        self.measured_ns += interval_ns
        self.first_start_ns = min(start_ns, self.first_start_ns or start_ns)
        self.last_end_ns = max(end_ns, self.last_end_ns or 0)
        events: dict[str, int] = {}
        errors = 0
        for metric, tally in tallies.items():
            section = SECTION_OF_EVENT.get(metric)
            if section is not None:
                events[section] = events.get(section, 0) + tally.operations(metric)
                errors += errors_among(metric, tally.count, tally.errors)
        leaders = by_process.most_common(1)
        leader, leader_events = leaders[0] if leaders else (None, 0)
        self.timeline.add(end_ns, interval_ns, events, errors, leader, leader_events)
        self.recent.append(TickSums(interval_ns, sum(events.values()), tallies))
        if interval_ns >= LEAST_PEAK_NS:
            self._note_peak(tallies, end_ns, interval_ns)

    def _note_peak(self, tallies: dict[str, Tally], end_ns: int, interval_ns: int) -> None:
        sent = tallies.get("send", NOTHING).bytes * 1e9 / interval_ns
        received = tallies.get("receive", NOTHING).bytes * 1e9 / interval_ns
        peak = self.peak
        peak.sent = max(peak.sent, sent)
        peak.received = max(peak.received, received)
        if sent + received > peak.both:
            peak.both = sent + received
            peak.both_end_ns, peak.both_interval_ns = end_ns, interval_ns

    def _fold_health(self, health: dict[str, Any]) -> None:
        self.lost.update(health.get("lost") or {})
        self.suppressed += health.get("suppressed") or 0
        self.overflow += health.get("overflow") or 0
        if health["time_ns"] == self.last_end_ns:
            self.gauges |= {
                name: value
                for name, value in (health.get("gauges") or {}).items()
                if value is not None
            }
        self.tracer_cpu_ns = _sum(self.tracer_cpu_ns, health.get("tracer_cpu_ns"))
        self.bpf_ns = _sum(self.bpf_ns, health.get("bpf_ns_estimate"))
        memory = health.get("tracer_cgroup_bytes") or health.get("tracer_rss_bytes")
        if memory is not None:
            self.tracer_memory_bytes = max(memory, self.tracer_memory_bytes or 0)


def _sum(total: int | None, delta: int | None) -> int | None:
    return total if delta is None else (total or 0) + delta
