"""The report's section on itself: what was lost, what it cost, which tracers there were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Probe:
    """One probe and whether it could be attached."""

    name: str
    family: str
    hook: str
    state: str
    reason: str | None
    node: str | None = None


@dataclass(frozen=True)
class DegradedSection:
    """A section that this kernel or these rights allow only in part, or not at all."""

    section: str
    state: str
    reason: str | None


@dataclass(frozen=True)
class StreamHealth:
    """How well the stream itself arrived; `damaged` counts unreadable lines by reason."""

    lines: int
    damaged: Mapping[str, int]
    missing_lines: int
    repeated_lines: int
    incomplete_ticks: int
    dropped_lines: int
    unknown_kinds: int


@dataclass(frozen=True)
class Tracer:
    """One tracer: what it is, and whether all of its stream arrived."""

    stream: int
    node: str | None
    version: str | None
    kernel: str | None
    arch: str | None
    start: str | None
    end: str | None
    ticks: int
    lost_total: int
    complete: bool
    incomplete_reason: str | None
    end_reason: str | None
    cpu_seconds: float | None
    memory_bytes: int | None


@dataclass(frozen=True)
class Quality:
    """How far the numbers can be trusted, and what it cost to get them: all tracers together."""

    lost: Mapping[str, int]
    lost_total: int
    lost_ratio: float | None
    overflow: int
    suppressed: int
    probes: tuple[Probe, ...]
    degraded_sections: tuple[DegradedSection, ...]
    stream: StreamHealth
    tracers: tuple[Tracer, ...]
    tracer_version: str | None
    stream_schema: str | None
    tracer_cpu_seconds: float | None
    tracer_cpu_percent: float | None
    tracer_memory_bytes: int | None
    map_bytes: int | None
    bpf_seconds_estimate: float | None
