"""The registry: every family of metrics by name, with its type, labels, unit and meaning.

docs/metrics.md describes the same families; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"

NANOSECONDS = 1_000_000_000
"""Divisor of what is counted in nanoseconds and shown in seconds."""

PROCESS_LABELS = ("process_name", "namespace", "pod", "container")
PLACE_LABELS = ("namespace", "pod", "container")


@dataclass(frozen=True)
class Family:
    """One family; what is counted divided by `per` is in the unit that the name ends in.

    `powers` are the bounds of a histogram's buckets, as powers of two of nanoseconds: the kernel's
    slots have edges there, so that each bucket holds exactly the operations that were shorter.
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    per: int = 1
    powers: tuple[int, ...] = ()


def _counter(name: str, help: str, *labels: str, per: int = 1) -> Family:
    return Family(f"podtrace_{name}", COUNTER, help, labels, per)


def _gauge(name: str, help: str, *labels: str, per: int = 1) -> Family:
    return Family(f"podtrace_{name}", GAUGE, help, labels, per)


def _latency(name: str, help: str, powers: Sequence[int]) -> Family:
    labels = ("type", *PROCESS_LABELS)
    return Family(f"podtrace_{name}", HISTOGRAM, help, labels, NANOSECONDS, tuple(powers))


def _latest(name: str, what: str) -> Family:
    text = f"Mean {what} of the latest tick that had any."
    return _gauge(name, text, "type", *PROCESS_LABELS, per=NANOSECONDS)


RTT = _latency(
    "rtt_seconds", "TCP round-trip times as the kernel samples them.", range(15, 32)
)  # fmt: skip
RTT_LATEST = _latest("rtt_latest_seconds", "TCP round-trip time")
LATENCY = _latency(
    "latency_seconds",
    "TCP: from SYN to answer of established connects; working time of send and receive calls.",
    (12, 14, *range(16, 31), 32),
)
LATENCY_LATEST = _latest("latency_latest_seconds", "connect latency or working time in TCP calls")
DNS = _latency(
    "dns_latency_seconds_histogram", "DNS queries from query to answer.", range(17, 33)
)  # fmt: skip
DNS_LATEST = _latest("dns_latency_seconds_gauge", "DNS latency")
FS = _latency(
    "fs_latency_seconds_histogram", "Calls on regular files that succeeded.", range(13, 31)
)  # fmt: skip
FS_LATEST = _latest("fs_latency_seconds_gauge", "duration of calls on regular files")
BLOCK = _latency(
    "cpu_block_seconds_histogram",
    "Waits of threads: ready to run without a CPU, or blocked.",
    (13, 15, *range(17, 32), 33),
)
BLOCK_LATEST = _latest("cpu_block_seconds_gauge", "wait of threads")

OPERATIONS = _counter(
    "operations_total", "Finished operations, those that failed too.", "type", *PROCESS_LABELS
)
BYTES = _counter("bytes_total", "Bytes moved.", "type", *PROCESS_LABELS)
WAIT = _counter(
    "wait_seconds_total", "Time off the CPU inside TCP calls.", "type", *PROCESS_LABELS,
    per=NANOSECONDS,
)  # fmt: skip
OPERATION_ERRORS = _counter(
    "operation_errors_total",
    "TCP and file calls that failed, by errno.",
    *("type", "error", *PROCESS_LABELS),
)
CONNECT_ATTEMPTS = _counter("connect_attempts_total", "TCP connects begun.", *PROCESS_LABELS)
CONNECT_FAILURES = _counter(
    "connect_failures_total", "TCP connects that failed, by errno.", "error", *PROCESS_LABELS
)
DNS_QUERIES = _counter(
    "dns_queries_total", "DNS queries sent, each question once.", *PROCESS_LABELS
)
DNS_ERRORS = _counter(
    "dns_errors_total", "DNS answers with an error code, by its name.", "rcode", *PROCESS_LABELS
)
DNS_TIMEOUTS = _counter(
    "dns_timeouts_total", "DNS queries without an answer after 5 seconds.", *PROCESS_LABELS
)
DNS_RETRIES = _counter("dns_retries_total", "DNS queries sent again.", *PROCESS_LABELS)
RETRANSMITS = _counter("retransmits_total", "TCP segments sent again.", *PROCESS_LABELS)
RESETS = _counter("resets_total", "TCP resets received.", *PROCESS_LABELS)
RTT_SPIKES = _counter(
    "rtt_spikes_total",
    "TCP round-trip times far above the least of their connection.",
    *PROCESS_LABELS,
)
CPU = _counter("cpu_seconds_total", "Time on a CPU.", *PROCESS_LABELS, per=NANOSECONDS)
OFF_CPU = _counter(
    "off_cpu_seconds_total",
    "Time of threads blocked, by what they waited for, entered when a wait ends.",
    *("reason", *PROCESS_LABELS),
    per=NANOSECONDS,
)

THROTTLED = _counter(
    "throttled_seconds_total", "Time throttled by a CPU quota.", *PLACE_LABELS, per=NANOSECONDS
)
THROTTLED_PERIODS = _counter(
    "throttled_periods_total", "Periods in which a CPU quota throttled.", *PLACE_LABELS
)
OOM_KILLS = _counter("oom_kills_total", "Processes that the OOM killer chose.", *PLACE_LABELS)
RESTARTS = _counter(
    "container_restarts_total", "Containers that came in another's place.", *PLACE_LABELS
)

CONNECTS_IN_PROGRESS = _gauge("connects_in_progress", "TCP connects that are not decided.")
DNS_PENDING = _gauge("dns_pending", "DNS queries that wait for an answer.")
PROCESSES = _gauge("processes", "Traced processes that run.")

LOST = _counter("lost_total", "Records whose content is unknown, by the place of loss.", "place")
SUPPRESSED = _counter("suppressed_events_total", "Events beyond the rate limit of the stream.")
TRACER_CPU = _counter(
    "tracer_cpu_seconds_total", "CPU time of the tracer's process.", per=NANOSECONDS
)
TRACER_MEMORY = _gauge("tracer_memory_bytes", "Resident memory of the tracer's process.")
TRACER_BPF = _counter(
    "tracer_bpf_seconds_estimate_total",
    "CPU time of the probes in the kernel, extrapolated from samples.",
    per=NANOSECONDS,
)
TICKS = _counter("tracer_ticks_total", "Ticks: drains of the kernel's tables.")
TICK_AGE = _gauge(
    "last_tick_age_seconds", "Age of the numbers, when this was asked for.", per=NANOSECONDS
)
BUILD = _gauge(
    "build_info", "Always 1: which tracer this is, and where it runs.",
    "version", "schema", "kernel", "arch", "node",
)  # fmt: skip

FAMILIES: Mapping[str, Family] = {
    family.name: family for family in globals().values() if isinstance(family, Family)
}
"""By name, in the order of the page."""
