"""The processes of a trace, told apart across reuse of PIDs, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from podtrace.model.tally import BESIDE, SECTION_OF_EVENT, errors_among
from podtrace.wire.schema import OTHER_PROCESSES, OVERFLOW_PROCESS, UNKNOWN_PROCESS

PSEUDO_NAMES = {
    UNKNOWN_PROCESS: "(unknown)",
    OVERFLOW_PROCESS: "(overflow)",
    OTHER_PROCESSES: "(other processes)",
}
UNNAMED = "(unnamed)"
"""Process of which work arrived, but no process line."""

KEPT = 2048
MAX_CRASH_NAMES = 100

Key = tuple[int, int]
"""Stream and PID of a process, target and number of a reserved row."""


class Process:
    """One life of one PID of a node, or one of the reserved rows; `events` is by section.

    `target` is the number of the target that it belongs to, 0 where nothing said so yet.
    """

    __slots__ = (
        "container",
        "cpu_ns",
        "entered",
        "errors",
        "events",
        "exit_code",
        "exit_ns",
        "host_pid",
        "known",
        "name",
        "pid",
        "run_queue_ns",
        "start_ns",
        "target",
    )

    def __init__(self, host_pid: int, target: int = 0) -> None:
        self.host_pid = host_pid
        self.target = target
        self.pid: int | None = None
        self.name = PSEUDO_NAMES.get(host_pid, UNNAMED)
        self.container: str | None = None
        self.known = False
        self.entered = False
        self.start_ns: int | None = None
        self.exit_ns: int | None = None
        self.exit_code: int | None = None
        self.events: Counter[str] = Counter()
        self.errors = 0
        self.cpu_ns = 0
        self.run_queue_ns = 0

    @property
    def real(self) -> bool:
        """Whether it is one process, and not a row for work of several or unknown ones."""
        return self.host_pid > 0

    @property
    def total_events(self) -> int:
        """Events of all sections."""
        return sum(self.events.values())

    def add(self, line: dict[str, Any]) -> int:
        """Add a series line and return how many events it held."""
        metric = line["metric"]
        failed = sum((line.get("errors") or {}).values())
        if metric == "cpu":
            self.cpu_ns += line.get("sum_ns") or 0
        elif metric == "run_queue":
            self.run_queue_ns += line.get("sum_ns") or 0
        section = SECTION_OF_EVENT.get(metric)
        if section is None:
            return 0
        events: int = line["count"] + (failed if metric in BESIDE else 0)
        self.events[section] += events
        self.errors += errors_among(metric, line["count"], line.get("errors") or {})
        return events

    def merge(self, other: Process) -> None:
        """Add the work of another process."""
        self.events.update(other.events)
        self.errors += other.errors
        self.cpu_ns += other.cpu_ns
        self.run_queue_ns += other.run_queue_ns


class ProcessTable:
    """Every process seen.

    PIDs of different streams are those of different nodes. The reserved rows are one for each
    target, so that work of unknown processes has its place too.

    Beyond twice `kept` processes the least busy ones, ended ones first, are added to the reserved
    row for other processes; sums still hold. `seen` counts all processes that had a process line.
    `crashes` counts processes that ended by a signal, by name and signal number, and
    `crashes_by_target` by target and signal number.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self.seen = 0
        self.crashes: Counter[tuple[str, int]] = Counter()
        self.crashes_by_target: Counter[tuple[int, int]] = Counter()
        self._kept = kept
        self._current: dict[Key, Process] = {}
        self._former: list[Process] = []

    def __iter__(self) -> Iterator[Process]:
        yield from self._former
        yield from self._current.values()

    def current(self, host_pid: int, stream: int = 0, target: int = 0) -> Process:
        """Return the latest process with this host PID, a new one if there was none."""
        if host_pid < 0 and host_pid not in PSEUDO_NAMES:
            host_pid = UNKNOWN_PROCESS
        key = (stream if host_pid > 0 else target, host_pid)
        process = self._current.get(key)
        if process is None:
            if len(self._current) + len(self._former) >= 2 * self._kept:
                self._shrink()
            process = self._current[key] = Process(host_pid, target)
        elif not process.target:
            process.target = target
        return process

    def update(self, line: dict[str, Any], stream: int = 0, target: int = 0) -> None:
        """Apply a process line: a new process, a new name or an end."""
        host_pid = line["process"]
        process = self.current(host_pid, stream, target)
        start_ns = line.get("start_ns")
        if process.real and process.known and start_ns is not None and start_ns != process.start_ns:
            self._former.append(self._current.pop((stream, host_pid)))
            process = self.current(host_pid, stream, target)
        if not process.known:
            process.known = True
            process.start_ns = start_ns
            self.seen += process.real
        process.target = target or process.target
        process.pid = line.get("pid") or process.pid
        process.name = line.get("name") or process.name
        process.container = line.get("container") or process.container
        process.entered = bool(line.get("entered")) or process.entered
        if process.exit_ns is None and line.get("exit_ns") is not None:
            process.exit_ns = line["exit_ns"]
            process.exit_code = line.get("exit_code")
            self._note_crash(process)

    def _note_crash(self, process: Process) -> None:
        if process.exit_code is None or process.exit_code >= 0:
            return
        key = (process.name, -process.exit_code)
        if key in self.crashes or len(self.crashes) < MAX_CRASH_NAMES:
            self.crashes[key] += 1
            self.crashes_by_target[process.target, -process.exit_code] += 1

    def _shrink(self) -> None:
        def keep_first(process: Process) -> tuple[bool, int, int]:
            return process.exit_ns is None, process.total_events, process.cpu_ns

        ranked = sorted((item for item in self if item.real), key=keep_first, reverse=True)
        dropped = set(ranked[self._kept :])
        for process in dropped:
            self._other(process.target).merge(process)
        self._former = [item for item in self._former if item not in dropped]
        self._current = {key: item for key, item in self._current.items() if item not in dropped}

    def _other(self, target: int) -> Process:
        key = (target, OTHER_PROCESSES)
        return self._current.setdefault(key, Process(OTHER_PROCESSES, target))
