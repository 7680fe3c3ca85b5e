"""The blocks that the report's sections are made of: latencies and counts of operations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Latency:
    """Durations of one kind of operation; `errors` may be operations without a duration."""

    count: int
    errors: int
    average_seconds: float | None
    max_seconds: float | None
    p50_seconds: float | None
    p95_seconds: float | None
    p99_seconds: float | None
    p999_seconds: float | None


@dataclass(frozen=True)
class Transfer(Latency):
    """TCP send or receive calls: working time in the latency block, time asleep beside it."""

    waiting_seconds: float
    bytes: int
    would_block: int


@dataclass(frozen=True)
class FileOperation(Latency):
    """Whole durations of one operation on regular files, and how much of them was waiting."""

    waiting_seconds: float
    bytes: int | None
    slow: int


@dataclass(frozen=True)
class Operations:
    """Finished operations by section; the measured ones add up to `summary.events`."""

    dns: int | None
    tcp: int | None
    connections: int | None
    filesystem: int | None
    processes: int | None
