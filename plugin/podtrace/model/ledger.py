"""What a trace has added up so far: the sums that every section and finding is made of."""

from __future__ import annotations

from collections import Counter
from typing import Any

from podtrace.model.incidents import Incidents
from podtrace.model.labels import LabelTable, ip_version
from podtrace.model.processes import Process, ProcessTable
from podtrace.model.recent import RecentTicks
from podtrace.model.tally import NOTHING, SECTION_OF_EVENT, Tally, errors_among
from podtrace.model.targets import TargetTable
from podtrace.model.throughput import Throughput
from podtrace.model.timeline import EventTimeline
from podtrace.model.tracers import TracerTable
from podtrace.wire import schema
from podtrace.wire.ticks import Tick

LABEL_FIELDS = ("peer", "name", "path", "reason")
FAMILY_METRICS = ("connect", "connect_attempt")


class Ledger:
    """Folds whole ticks; everything adds up, in any order of ticks but for names of processes.

    `ticks` counts those of all tracers; time that several of them measured counts once.
    """

    def __init__(self) -> None:
        self.ticks = 0
        self.first_start_ns: int | None = None
        self.last_end_ns: int | None = None
        self.totals: dict[str, Tally] = {}
        self.labels = {name: LabelTable() for name in LABEL_FIELDS}
        self.connect_families: dict[int, dict[str, Tally]] = {4: {}, 6: {}}
        self.processes = ProcessTable()
        self.targets = TargetTable()
        self.tracers = TracerTable()
        self.timeline = EventTimeline()
        self.recent = RecentTicks()
        self.throughput = Throughput()
        self.incidents = Incidents()
        self.event_lines: Counter[str] = Counter()
        self.unknown_metrics: Counter[str] = Counter()
        self.suppressed = 0
        self.overflow = 0

    @property
    def measured_ns(self) -> int:
        """Time that the ticks cover."""
        return self.timeline.measured.total_ns

    def total(self, metric: str) -> Tally:
        """Return the metric's sums over the whole trace; empty where nothing was counted."""
        return self.totals.get(metric, NOTHING)

    @property
    def events(self) -> int:
        """Finished operations of all metrics that are events."""
        return sum(self.total(metric).operations(metric) for metric in SECTION_OF_EVENT)

    def process_of(self, line: dict[str, Any], stream: int) -> Process:
        """Return the process of a series or event line as it is known now."""
        target = self.targets.known(line.get("target"))
        return self.processes.current(line.get("process") or 0, stream, target)

    def fold(self, tick: Tick) -> list[dict[str, Any]]:
        """Add a tick and return its event lines."""
        by_kind: dict[str, list[dict[str, Any]]] = {kind: [] for kind in schema.KINDS}
        for line in tick.lines:
            by_kind.get(line["kind"], []).append(line)
        for line in by_kind[schema.PROCESS]:
            target = self.targets.known(line.get("target"))
            self.processes.update(line, tick.stream, target)
        by_process: Counter[Process] = Counter()
        tallies: dict[str, Tally] = {}
        for line in by_kind[schema.SERIES]:
            self._fold_series(line, tick.stream, tallies, by_process)
        for metric, tally in tallies.items():
            self.totals.setdefault(metric, Tally()).merge(tally)
        for line in by_kind[schema.EVENT]:
            if line["event"] in schema.EVENTS:
                self._fold_event(line, tick.stream)
        self._fold_time(tick, tallies, by_process)
        self.tracers.row(tick.stream).fold(tick.number, tick.health)
        self.suppressed += tick.health.get("suppressed") or 0
        self.overflow += tick.health.get("overflow") or 0
        return by_kind[schema.EVENT]

    def _fold_series(
        self,
        line: dict[str, Any],
        stream: int,
        tallies: dict[str, Tally],
        by_process: Counter[Process],
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
        target = self.targets.known(line.get("target"))
        self.targets.row(target).add(line)
        process = self.processes.current(line["process"], stream, target)
        events = process.add(line)
        if events:
            by_process[process] += events

    def _fold_event(self, line: dict[str, Any], stream: int) -> None:
        name, number = line["event"], line.get("count") or 1
        self.event_lines[name] += number
        if name == "oom_kill":
            self.targets.row(self.targets.known(line.get("target"))).oom_kills += number
        elif name == "container_restart":
            self.targets.row(self.targets.known(line.get("target"))).restarts += number
        self.incidents.note(line, self.process_of(line, stream))

    def _fold_time(
        self, tick: Tick, tallies: dict[str, Tally], by_process: Counter[Process]
    ) -> None:
        end_ns, interval_ns = tick.health["time_ns"], tick.health["interval_ns"]
        start_ns = max(end_ns - interval_ns, 0)
        self.ticks += 1
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
        self.recent.add(
            tick.stream, self.last_end_ns, end_ns - start_ns, sum(events.values()), tallies
        )
        sent, received = (tallies.get(metric, NOTHING).bytes for metric in ("send", "receive"))
        self.throughput.add(tick.stream, start_ns, end_ns, sent, received)
