"""The report's sections on files, CPU, processes and time, shaped by docs/report.schema.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from podtrace.model.measures import FileOperation, Latency, Operations


@dataclass(frozen=True)
class FileUse:
    """Reads, writes and fsyncs of one file."""

    path: str
    operations: int
    bytes: int
    max_seconds: float | None


@dataclass(frozen=True)
class Filesystem:
    """Operations on regular files."""

    open: FileOperation | None
    read: FileOperation | None
    write: FileOperation | None
    fsync: FileOperation | None
    slow_above_seconds: float | None
    files: tuple[FileUse, ...]


@dataclass(frozen=True)
class OtherUse:
    """Reads and writes of something that is not a regular file."""

    count: int
    bytes: int


@dataclass(frozen=True)
class IoOther:
    """Reads and writes that are neither of regular files nor of TCP; no events."""

    pipe: OtherUse | None
    socket: OtherUse | None
    terminal: OtherUse | None


@dataclass(frozen=True)
class Cpu:
    """Where the threads' time went, as far as it was measured."""

    on_cpu_seconds: float | None
    run_queue: Latency | None
    run_queue_seconds: float | None
    run_queue_ratio: float | None
    blocked: Latency | None
    blocked_by_reason: Mapping[str, float] | None
    throttled_seconds: float | None
    throttled_periods: int | None


@dataclass(frozen=True)
class CpuUse:
    """CPU time of one process; 100 percent is one core. No PIDs: a row that is no process."""

    pid: int | None
    host_pid: int | None
    process: str
    container: str | None
    pod: str | None
    cpu_seconds: float
    cpu_percent: float
    run_queue_seconds: float | None


@dataclass(frozen=True)
class ProcessActivity:
    """Events of one process; `entered`: it came into the target from outside."""

    pid: int | None
    host_pid: int | None
    process: str
    container: str | None
    pod: str | None
    entered: bool
    events: int
    errors: int
    share_ratio: float
    operations: Operations


@dataclass(frozen=True)
class TimelineBucket:
    """One bar. `seconds` of it were measured; events are None where that is 0."""

    start: str
    seconds: float
    events: int | None
    events_per_second: float | None
    errors: int | None
    operations: Operations


@dataclass(frozen=True)
class Timeline:
    """Events over time, in buckets aligned to the wall clock."""

    bucket_seconds: int
    buckets: tuple[TimelineBucket, ...]


@dataclass(frozen=True)
class Burst:
    """A period far above the typical rate; `ratio_to_typical` is None if that is 0."""

    start: str
    duration_seconds: float
    events: int
    events_per_second: float
    ratio_to_typical: float | None
    leading_section: str
    leading_process: str | None


@dataclass(frozen=True)
class Bursts:
    """Periods found by `rule`; `typical_events_per_second` is None if it could not be told."""

    rule: str
    typical_events_per_second: float | None
    periods: tuple[Burst, ...]
