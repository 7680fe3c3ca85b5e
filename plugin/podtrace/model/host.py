"""Builds the report's sections on files, CPU and processes from the ledger."""

from __future__ import annotations

from collections.abc import Mapping

from podtrace.model.coverage import Coverage
from podtrace.model.histogram import NS_PER_SECOND
from podtrace.model.labels import Row
from podtrace.model.ledger import Ledger
from podtrace.model.network import busiest
from podtrace.model.processes import Process
from podtrace.model.snapshot import (
    Cpu,
    CpuUse,
    FileOperation,
    Filesystem,
    FileUse,
    IoOther,
    OtherUse,
    ProcessActivity,
)
from podtrace.wire.schema import OTHER_PROCESSES

MAX_PROCESSES = 1000
"""Rows of a list of processes; the rest is one row, so that the sums hold."""
SANDBOX = "pause"
"""Name of the process that holds the namespaces of a pod."""


def filesystem_section(ledger: Ledger, coverage: Coverage, limit: int) -> Filesystem | None:
    """Return the section with `limit` files, None if nothing of it was measured."""
    if not coverage.section("filesystem"):
        return None

    def operation(metric: str, *, moves_data: bool = False) -> FileOperation | None:
        if not coverage.metric(metric):
            return None
        return ledger.total(metric).file_operation(moves_data=moves_data)

    used = busiest(ledger.labels["path"].rows, ("file",), limit)
    return Filesystem(
        open=operation("open"),
        read=operation("read", moves_data=True),
        write=operation("write", moves_data=True),
        fsync=operation("fsync"),
        slow_above_seconds=coverage.threshold_seconds("slow_file_ns"),
        files=tuple(_file_use(path, row) for path, row in used),
    )


def _file_use(path: str, row: Row) -> FileUse:
    used = row["file"]
    longest_ns = used.durations.max_ns
    return FileUse(
        path=path,
        operations=used.count,
        bytes=used.bytes,
        max_seconds=longest_ns / NS_PER_SECOND if longest_ns else None,
    )


def io_other_section(ledger: Ledger, coverage: Coverage) -> IoOther | None:
    """Return the section, None if nothing of it was measured."""
    if not coverage.section("io_other"):
        return None

    def use(metric: str) -> OtherUse | None:
        tally = ledger.total(metric)
        measured = coverage.metric(metric)
        return OtherUse(tally.operations(metric), tally.bytes) if measured else None

    return IoOther(pipe=use("pipe"), socket=use("socket"), terminal=use("terminal"))


def cpu_section(ledger: Ledger, coverage: Coverage) -> Cpu | None:
    """Return the section, None if nothing of it was measured."""
    if not coverage.section("cpu"):
        return None
    waits, blocked, throttled = (
        ledger.total(metric) for metric in ("run_queue", "blocked", "throttled")
    )
    waits_measured = coverage.metric("run_queue")
    blocked_measured = coverage.metric("blocked")
    throttled_measured = coverage.metric("throttled")
    reasons = {
        reason: row["blocked"].durations.sum_ns / NS_PER_SECOND
        for reason, row in sorted(ledger.labels["reason"].rows.items())
        if "blocked" in row
    }
    on_cpu = ledger.total("cpu").durations.sum_ns if coverage.metric("cpu") else None
    return Cpu(
        on_cpu_seconds=None if on_cpu is None else on_cpu / NS_PER_SECOND,
        run_queue=waits.latency() if waits_measured else None,
        run_queue_seconds=waits.durations.sum_ns / NS_PER_SECOND if waits_measured else None,
        run_queue_ratio=run_queue_ratio(ledger) if waits_measured and on_cpu is not None else None,
        blocked=blocked.latency() if blocked_measured else None,
        blocked_by_reason=reasons if blocked_measured else None,
        throttled_seconds=(
            throttled.durations.sum_ns / NS_PER_SECOND if throttled_measured else None
        ),
        throttled_periods=throttled.count if throttled_measured else None,
    )


def run_queue_ratio(ledger: Ledger) -> float | None:
    """Return run-queue time by run-queue and CPU time; None if there was neither."""
    waiting = ledger.total("run_queue").durations.sum_ns
    running = ledger.total("cpu").durations.sum_ns
    return waiting / (waiting + running) if waiting + running else None


def cpu_usage_section(
    ledger: Ledger, coverage: Coverage, pods: Mapping[int, str]
) -> tuple[CpuUse, ...] | None:
    """Return CPU time by process, the busiest first; None if it was not measured.

    Args:
        ledger: the sums.
        coverage: what this trace measures.
        pods: names of the pods among the targets.
    """
    if not coverage.section("cpu_usage"):
        return None
    waits_measured = coverage.metric("run_queue")
    ranked = sorted(
        (
            item
            for item in ledger.processes
            if (item.real and not _is_idle_sandbox(item, pods)) or item.cpu_ns or item.run_queue_ns
        ),
        key=lambda item: (-item.cpu_ns, item.host_pid, item.target),
    )
    return tuple(
        CpuUse(
            pid=process.pid if process.real else None,
            host_pid=process.host_pid if process.real else None,
            process=process.name,
            container=process.container,
            pod=pods.get(process.target),
            cpu_seconds=process.cpu_ns / NS_PER_SECOND,
            cpu_percent=100 * process.cpu_ns / ledger.measured_ns if ledger.measured_ns else 0.0,
            run_queue_seconds=process.run_queue_ns / NS_PER_SECOND if waits_measured else None,
        )
        for process in _limited(ranked)
    )


def process_activity_section(
    ledger: Ledger, coverage: Coverage, pods: Mapping[int, str]
) -> tuple[ProcessActivity, ...] | None:
    """Return events by process as `cpu_usage_section` does CPU time."""
    if not coverage.section("process_activity"):
        return None
    events = ledger.events
    ranked = sorted(
        (item for item in ledger.processes if item.total_events),
        key=lambda item: (-item.total_events, item.host_pid, item.target),
    )
    return tuple(
        ProcessActivity(
            pid=process.pid if process.real else None,
            host_pid=process.host_pid if process.real else None,
            process=process.name,
            container=process.container,
            pod=pods.get(process.target),
            entered=process.entered,
            events=process.total_events,
            errors=process.errors,
            share_ratio=process.total_events / events if events else 0.0,
            operations=coverage.operations(process.events),
        )
        for process in _limited(ranked)
    )


def _is_idle_sandbox(process: Process, pods: Mapping[int, str]) -> bool:
    """Return whether it only holds the namespaces of a pod."""
    return process.name == SANDBOX and process.target in pods and not process.total_events


def _limited(ranked: list[Process]) -> list[Process]:
    if len(ranked) <= MAX_PROCESSES:
        return ranked
    rest = Process(OTHER_PROCESSES)
    shown: list[Process] = []
    for process in ranked:
        if process.host_pid != OTHER_PROCESSES and len(shown) < MAX_PROCESSES - 1:
            shown.append(process)
        else:
            rest.merge(process)
    return [*shown, rest]
