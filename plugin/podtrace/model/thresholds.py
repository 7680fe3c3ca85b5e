"""The limits above which something is a finding; options and configuration keys come from here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Literal

Unit = Literal["ratio", "seconds", "count"]


def _limit(default: float, unit: Unit, text: str) -> float:
    limit: float = field(default=default, metadata={"unit": unit, "help": text})
    return limit


@dataclass(frozen=True)
class Thresholds:
    """Every limit with its default; `describe` gives unit and help text of each.

    Raises:
        ValueError: A limit is negative or not finite.
    """

    dns_errors_ratio: float = _limit(
        0.10, "ratio", "share of DNS answers with an error code from which it is a warning"
    )
    dns_timeouts_ratio: float = _limit(
        0.01, "ratio", "share of DNS queries without an answer from which it is a warning"
    )
    dns_slow_p95_seconds: float = _limit(
        0.100, "seconds", "95th percentile of DNS latency from which it is a warning"
    )
    connect_failed_ratio: float = _limit(
        0.10, "ratio", "share of TCP connects that fail from which it is a warning"
    )
    connect_slow_p95_seconds: float = _limit(
        0.200, "seconds", "95th percentile of TCP connect latency from which it is a warning"
    )
    rtt_spikes_ratio: float = _limit(
        0.01, "ratio", "share of TCP round trips that are spikes from which it is a warning"
    )
    retransmits_ratio: float = _limit(
        0.01, "ratio", "share of TCP segments sent again from which it is a warning"
    )
    resets_ratio: float = _limit(
        0.10, "ratio", "TCP resets received, by connections, from which it is a warning"
    )
    fsync_slow_p95_seconds: float = _limit(
        0.050, "seconds", "95th percentile of fsync latency from which it is a warning"
    )
    file_slow_p95_seconds: float = _limit(
        0.020, "seconds", "95th percentile of file read or write latency from which it is a warning"
    )
    file_errors_ratio: float = _limit(
        0.10, "ratio", "share of file reads, writes and fsyncs that fail from which it is a warning"
    )
    cpu_throttled_ratio: float = _limit(
        0.10, "ratio", "time throttled by the CPU quota, by duration, from which it is a warning"
    )
    run_queue_ratio: float = _limit(
        0.20, "ratio", "share of waiting in waiting for and using a CPU from which it is a warning"
    )
    run_queue_p95_seconds: float = _limit(
        0.008, "seconds", "95th percentile of waits for a CPU from which they are a warning"
    )
    run_queue_time_ratio: float = _limit(
        0.25, "ratio", "waits for a CPU, by duration, from which short ones are a warning too"
    )
    disk_wait_ratio: float = _limit(
        0.50, "ratio", "share of disk waits in disk waits and CPU time from which it is told"
    )
    lost_ratio: float = _limit(
        0.01, "ratio", "share of lost records from which the numbers are not to be trusted"
    )
    critical_ratio: float = _limit(
        0.50, "ratio", "share of failed operations or of time from which a finding is critical"
    )
    critical_multiple: float = _limit(
        10, "count", "multiple of their threshold from which latencies and packet loss are critical"
    )
    least_count: float = _limit(
        3, "count", "bad operations below which there is no finding, or info where all are bad"
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{item.name}: {value} is no limit; it must be 0 or more")


@dataclass(frozen=True)
class Limit:
    """One field of `Thresholds` as an option shows it."""

    name: str
    default: float
    unit: Unit
    help: str


def describe() -> tuple[Limit, ...]:
    """Return every limit in order of declaration."""
    defaults = Thresholds()
    return tuple(
        Limit(item.name, getattr(defaults, item.name), item.metadata["unit"], item.metadata["help"])
        for item in fields(Thresholds)
    )
