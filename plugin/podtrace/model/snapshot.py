"""The frozen result of a trace, of the shape that docs/report.schema.json fixes.

Every report is a rendering of one `Snapshot`; field names are the JSON keys. None means that
something was not measured, 0 that it was measured and nothing happened. Instants are RFC 3339 text
in UTC, durations are seconds, shares are ratios from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

from podtrace.model.host_sections import (
    Burst,
    Bursts,
    Cpu,
    CpuUse,
    Filesystem,
    FileUse,
    IoOther,
    OtherUse,
    ProcessActivity,
    Timeline,
    TimelineBucket,
)
from podtrace.model.measures import FileOperation, Latency, Operations, Transfer
from podtrace.model.network_sections import (
    ConnectFamily,
    ConnectionPattern,
    ConnectionPatterns,
    Connections,
    ConnectTarget,
    Direction,
    Dns,
    DnsTarget,
    NetworkIo,
    Pattern,
    Tcp,
    TcpPeer,
)
from podtrace.model.quality_sections import (
    DegradedSection,
    Probe,
    Quality,
    StreamHealth,
    Tracer,
)

__all__ = [
    "SCHEMA",
    "TOP_KEYS",
    "Burst",
    "Bursts",
    "Confidence",
    "ConnectFamily",
    "ConnectTarget",
    "ConnectionPattern",
    "ConnectionPatterns",
    "Connections",
    "Cpu",
    "CpuUse",
    "DegradedSection",
    "Direction",
    "Dns",
    "DnsTarget",
    "FileOperation",
    "FileUse",
    "Filesystem",
    "IoOther",
    "Issue",
    "Latency",
    "NetworkIo",
    "Operations",
    "OtherUse",
    "Pattern",
    "Probe",
    "ProcessActivity",
    "Quality",
    "Severity",
    "Snapshot",
    "Status",
    "StreamHealth",
    "Summary",
    "Target",
    "TargetMember",
    "Tcp",
    "TcpPeer",
    "Timeline",
    "TimelineBucket",
    "Tracer",
    "Transfer",
    "Verdict",
    "Window",
    "to_tree",
]

SCHEMA = "podtrace.report/1"
"""Value of the tree's `schema` key; the number changes when a consumer would break."""

Severity = Literal["info", "warning", "critical"]
Confidence = Literal["low", "medium", "high"]
Status = Literal["healthy", "info", "warning", "critical", "incomplete"]


@dataclass(frozen=True)
class TargetMember:
    """One traced pod, cgroup, process tree or container, and what it did."""

    id: int
    type: str
    name: str
    namespace: str | None
    pod: str | None
    node: str | None
    containers: tuple[str, ...]
    cgroup: str | None
    pid: int | None
    events: int
    errors: int
    cpu_seconds: float | None
    connects_failed: int | None
    dns_errors: int | None
    retransmits: int | None
    slow_file_operations: int | None
    restarts: int
    oom_kills: int


@dataclass(frozen=True)
class Target:
    """What was traced, and on which kernel. All None when the stream had no hello line.

    `namespace` is that of all members, `pod` that of a single one.
    """

    type: str | None
    name: str | None
    namespace: str | None
    pod: str | None
    nodes: tuple[str, ...]
    kernel: str | None
    arch: str | None
    cgroup_mode: str | None
    cpus: int | None
    members: tuple[TargetMember, ...]


@dataclass(frozen=True)
class Window:
    """When was traced. Rates are per `measured_seconds`: the ticks that arrived whole.

    Time that several tracers measured counts once; `ticks` are the most that one of them has.
    """

    start: str | None
    end: str | None
    seconds: float
    measured_seconds: float
    ticks: int
    complete: bool
    incomplete_reason: str | None
    end_reason: str | None
    exit_code: int | None


@dataclass(frozen=True)
class Verdict:
    """One to three lines of plain words, the worst first."""

    status: Status
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """Events are finished operations; context switches are none."""

    events: int | None
    events_per_second: float | None
    errors: int | None
    operations: Operations
    processes: int | None
    execs: int | None
    exits: int | None


@dataclass(frozen=True)
class Issue:
    """One finding, with the numbers and the threshold it rests on."""

    id: str
    severity: Severity
    title: str
    evidence: tuple[str, ...]
    counter_evidence: tuple[str, ...]
    confidence: Confidence
    next_step: str


@dataclass(frozen=True)
class Snapshot:
    """The whole report. A section is None if this trace could not measure any of it."""

    target: Target
    window: Window
    verdict: Verdict
    summary: Summary
    time_budget: None
    dns: Dns | None
    tcp: Tcp | None
    connections: Connections | None
    filesystem: Filesystem | None
    io_other: IoOther | None
    cpu: Cpu | None
    cpu_usage: tuple[CpuUse, ...] | None
    process_activity: tuple[ProcessActivity, ...] | None
    timeline: Timeline
    bursts: Bursts
    connection_patterns: ConnectionPatterns | None
    network_io: NetworkIo | None
    issues: tuple[Issue, ...]
    quality: Quality
    schema: str = SCHEMA


TOP_KEYS = (
    "schema",
    "target",
    "window",
    "verdict",
    "summary",
    "time_budget",
    "dns",
    "tcp",
    "connections",
    "filesystem",
    "io_other",
    "cpu",
    "cpu_usage",
    "process_activity",
    "timeline",
    "bursts",
    "connection_patterns",
    "network_io",
    "issues",
    "quality",
)
"""Order of the tree's top keys."""


def to_tree(snapshot: Snapshot) -> dict[str, Any]:
    """Return the snapshot as dicts, lists and scalars: the tree of the JSON and YAML reports."""
    return {key: _plain(getattr(snapshot, key)) for key in TOP_KEYS}


def _plain(value: object) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
