"""One tick: read every table once and say in lines what happened since the last one."""

from __future__ import annotations

import errno
import os
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Callable

from podtrace.wire.schema import (
    EVENT,
    MAX_EVENTS_PER_SECOND,
    METRICS,
    OVERFLOW_LABEL,
    OVERFLOW_PROCESS,
    PROCESS,
    SERIES,
)
from podtracer import records
from podtracer.drain import CPU, Group, GroupKey, OpenIntervals, SeriesTable
from podtracer.emit import Stream
from podtracer.folding import fold
from podtracer.tables import DnsPending, FileTable, LabelTable, Process, ProcessTable, TimedOut

if TYPE_CHECKING:
    from podtracer.metrics.meter import Meter

MOST_SERIES_LINES = 600
MOST_FILE_LINES = 100
MOST_PROCESS_LINES = 300
MOST_UNSENT_PROCESSES = 10_000

_CONNECT = records.METRICS.index("connect")
_DNS = records.METRICS.index("dns")
_BLOCKED = records.METRICS.index("blocked")
_NAMED = frozenset({"dns", "dns_query", "dns_retry", "dns_timeout"})
_PEERED = frozenset({"connect", "connect_attempt", "connection", "rtt", "rtt_spike", "retransmit",
                     "reset"})  # fmt: skip


class Tables:
    """All that a tick reads."""

    def __init__(
        self,
        series: SeriesTable,
        running: OpenIntervals,
        processes: ProcessTable,
        labels: LabelTable,
        files: FileTable,
        dns: DnsPending,
        container_name: Callable[[int], str | None],
        wall_offset_ns: int,
    ) -> None:
        self._series = series
        self._running = running
        self._processes = processes
        self._labels = labels
        self._files = files
        self._dns = dns
        self._container_name = container_name
        self._wall_offset_ns = wall_offset_ns
        self._unsent: dict[tuple[int, int], Process] = {}
        self._timeouts_sent = 0
        self.overflowed = 0
        self.unlisted = 0
        self.meter: Meter | None = None

    def baseline(self) -> int:
        """Pass over what was counted while the probes were attached one after the other.

        Returns the moment from which on everything counts, in monotonic nanoseconds.
        """
        began_ns = time.monotonic_ns()
        self._series.gains()
        self._running.adjust(defaultdict(Group), began_ns)
        self._files.forget()
        return began_ns

    def collect(self, stream: Stream, now_ns: int, throttled: dict[int, tuple[int, int]]) -> None:
        """Add the tick's series and process lines to the stream.

        `throttled` maps targets to (periods, nanoseconds) of this tick.
        """
        groups = self._series.gains()
        self._running.adjust(groups, now_ns)
        # Not before: who counts has been entered, also where that was during this tick.
        self._add_processes(stream)
        self.overflowed = 0
        for metric, group in self._series.overflow_gains().items():
            self.overflowed += group.operations
            label = records.REASONS.index("other") if metric == _BLOCKED else records.OVERFLOW_HASH
            groups[metric, OVERFLOW_PROCESS, 1, label].merge(group)
        self._timeouts_sent = 0
        for query in self._dns.timeouts(now_ns):
            groups[records.DNS_TIMEOUT, query.process, query.target, query.label].count += 1
            self._add_timeout_event(stream, query, now_ns)
        self._processes.expire_strangers(self._series.processes)
        self._processes.expire(lambda process: self._forget(groups, process))
        self._carry(groups)
        if self.meter is not None:
            self.meter.count(groups)
        self._add_series(stream, groups)
        self._add_files(stream)
        for target, (periods, ns) in throttled.items():
            fields = {"metric": "throttled", "process": 0, "target": target}
            stream.add(SERIES, {**fields, "count": periods, "sum_ns": ns})

    @property
    def gauges(self) -> dict[str, int]:
        """What is the case at this moment."""
        return {"dns_pending": self._dns.pending, "processes": self._processes.running}

    def exit_code_of(self, cgroup: int) -> int | None:
        """How the first process of a container ended, by the id of its cgroup; None: not known."""
        return self._processes.exit_code_of(cgroup)

    def resend(self, concerned: Callable[[int], bool]) -> None:
        """Send the processes of some cgroups again: their container has got a name."""
        for process in self._processes.rows():
            if concerned(process.container_cgroup):
                self._unsent.setdefault((process.number, process.start_ns), process)
                if self.meter is not None:
                    self.meter.note(process)

    def _forget(self, groups: dict[GroupKey, Group], process: int) -> None:
        for key, group in self._series.forget(process).items():
            groups[key].merge(group)
        if self.meter is not None:
            self.meter.forget(process)

    def _carry(self, groups: dict[GroupKey, Group]) -> None:
        """Take out CPU time that is not above zero; what is below is left to the next tick."""
        for key in [key for key in groups if key[0] == CPU and groups[key].sum_ns <= 0]:
            _, process, target, _ = key
            sum_ns = groups.pop(key).sum_ns
            if sum_ns:
                self._running.carry(process, target, sum_ns)

    def _wall(self, monotonic_ns: int) -> int | None:
        return monotonic_ns + self._wall_offset_ns if monotonic_ns else None

    def _add_processes(self, stream: Stream) -> None:
        waiting = self._unsent
        for process in self._processes.changes():
            waiting[process.number, process.start_ns] = process
            if self.meter is not None:
                self.meter.note(process)
        for identity in list(waiting)[:MOST_PROCESS_LINES]:
            stream.add(PROCESS, self._process_fields(waiting.pop(identity)))
        # A later tick has room again, unless this goes on.
        self.unlisted = 0
        while len(waiting) > MOST_UNSENT_PROCESSES:
            waiting.pop(next(iter(waiting)))
            self.unlisted += 1

    def _process_fields(self, process: Process) -> dict[str, Any]:
        return {
            "process": process.number,
            "pid": process.pid,
            "parent": process.parent,
            "name": process.name,
            "container": self._container_name(process.container_cgroup),
            "target": process.target,
            "start_ns": self._wall(process.start_ns),
            "exit_ns": self._wall(process.exit_ns),
            "exit_code": process.exit_code,
            # The tracer itself puts COMMAND, its child, into the cgroup.
            "entered": process.entered and process.parent != os.getpid(),
        }

    def _add_series(self, stream: Stream, groups: dict[GroupKey, Group]) -> None:
        for (metric, process, target, label), group in fold(groups, MOST_SERIES_LINES).items():
            name = records.METRICS[metric]
            fields: dict[str, Any] = {"metric": name, "process": process, "target": target}
            fields.update(self._label_fields(name, label))
            fields.update(_numbers(metric, name, group))
            stream.add(SERIES, fields)

    def _label_fields(self, metric: str, label: int) -> dict[str, str]:
        if metric == "blocked":
            return {"reason": records.REASONS[label]}
        if metric in _NAMED:
            return {"name": self._labels.text(label)}
        if metric in _PEERED:
            return {"peer": self._labels.text(label)}
        return {}

    def _add_files(self, stream: Stream) -> None:
        gains = sorted(self._files.gains(), key=lambda gain: gain.operations, reverse=True)
        folded: dict[int, list[int]] = {}
        for index, gain in enumerate(gains):
            numbers = [gain.operations, gain.bytes, gain.max_ns]
            if index < MOST_FILE_LINES:
                stream.add(SERIES, _file_fields(gain.target, gain.path, numbers))
                continue
            total = folded.setdefault(gain.target, [0, 0, 0])
            total[0] += numbers[0]
            total[1] += numbers[1]
            total[2] = max(total[2], numbers[2])
        for target, numbers in folded.items():
            stream.add(SERIES, _file_fields(target, OVERFLOW_LABEL, numbers))

    def add_events(self, stream: Stream, records_read: Iterable[bytes], began_ns: int) -> None:
        """Add an event line for each record, but for those from before the start."""
        for raw in records_read:
            event = records.Event(*records.EVENT.unpack(raw))
            if event.time_ns < began_ns:
                continue
            stream.add(EVENT, self._event_fields(event), self._wall(event.time_ns))

    def _event_fields(self, event: records.Event) -> dict[str, Any]:
        name = records.EVENTS[event.type]
        fields: dict[str, Any] = {
            "event": name,
            "process": event.process,
            "target": event.target,
        }
        if event.duration_ns:
            fields["duration_ns"] = event.duration_ns
        if event.label:
            key = "name" if name.startswith("dns") else "peer"
            fields[key] = self._labels.text(event.label)
        if name in ("slow_file", "long_block"):
            path = self._files.path(event.file)
            if path is not None:
                fields["path"] = path
            if event.call in records.OPERATIONS:
                fields["operation"] = records.OPERATIONS[event.call]
            if name == "slow_file":
                fields["bytes"] = event.size
            else:
                fields["reason"] = records.REASONS[event.reason]
        if name == "connect_failed":
            fields["error"] = error_name(_CONNECT, event.code)
        elif name == "dns_error":
            fields["error"] = error_name(_DNS, event.code)
        elif name == "exit":
            fields["exit_code"] = records.exit_code(event.code)
        if name in ("exec", "exit", "oom_kill"):
            process_name = self._processes.name(event.process)
            if process_name:
                fields["detail"] = process_name
        return fields

    def _add_timeout_event(self, stream: Stream, query: TimedOut, now_ns: int) -> None:
        self._timeouts_sent += 1
        if self._timeouts_sent > MAX_EVENTS_PER_SECOND:
            stream.suppressed_now += 1
            return
        fields = {
            "event": "dns_timeout",
            "process": query.process,
            "target": query.target,
            "duration_ns": now_ns - query.start_ns,
            "name": self._labels.text(query.label),
        }
        stream.add(EVENT, fields)


def error_name(metric: int, number: int) -> str:
    """Name of a failure: an rcode of DNS, else an errno."""
    if metric == _DNS:
        return records.RCODES.get(number, f"RCODE{number}")
    if number == records.GIVEN_UP:
        return "GIVEN_UP"
    return errno.errorcode.get(number, f"E{number}")


def _numbers(metric: int, name: str, group: Group) -> dict[str, Any]:
    fields: dict[str, Any] = {"count": group.count}
    if group.sum_ns:
        fields["sum_ns"] = group.sum_ns
    if METRICS[name].timed:
        fields.update(
            sum_ns=group.sum_ns,
            max_ns=group.max_ns,
            slots=[[*p] for p in sorted(group.slots.items())],
        )
    for key in ("bytes", "wait_ns", "again", "slow"):
        value = getattr(group, key)
        if value:
            fields[key] = value
    if group.errors:
        fields["errors"] = {
            error_name(metric, number): count for number, count in group.errors.items()
        }
    return fields


def _file_fields(target: int, path: str, numbers: list[int]) -> dict[str, Any]:
    operations, size, max_ns = numbers
    fields = {"metric": "file", "process": 0, "target": target, "path": path}
    return {**fields, "count": operations, "bytes": size, "max_ns": max_ns}
