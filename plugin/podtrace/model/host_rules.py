"""Rules on files and CPU."""

from __future__ import annotations

from collections.abc import Callable

from podtrace.model.blame import Shares, shares
from podtrace.model.findings import (
    Facts,
    Finding,
    Rule,
    graded,
    graded_failures,
    listed,
    share_of,
    slow,
)
from podtrace.model.histogram import NS_PER_SECOND
from podtrace.model.host import run_queue_ratio
from podtrace.model.labels import names_one_thing
from podtrace.model.ledger import Ledger
from podtrace.model.processes import Process
from podtrace.model.tally import NOTHING
from podtrace.model.targets import TargetSums
from podtrace.model.wording import number, percent, seconds, shortened

PASSING_ERRORS = frozenset({"EAGAIN", "EINTR"})
"""Errors that a program answers by trying again."""
LEAST_WAITING_SHARE = 0.10
"""Waits for a CPU, all together, below this share of the window are no finding."""
LEAST_DISK_SHARE = 0.02
"""The same for waits for the disk."""


def _fsync_slow(facts: Facts) -> Finding | None:
    return slow(
        facts,
        "fsync",
        limit=facts.limits.fsync_slow_p95_seconds,
        what="fsyncs",
        evidence=_slow_files(facts.ledger),
        next_step="Look at the load of the volume (iostat -x on the node) and at its class; batch "
        "what is synced.",
        explained_by=("cpu_throttled",),
        where=_slowest_file(facts.ledger),
    )


def _files_slow(facts: Facts) -> Finding | None:
    limit = facts.limits.file_slow_p95_seconds
    found = [
        slow(
            facts,
            metric,
            limit=limit,
            what=f"file {metric}s",
            evidence=_slow_files(facts.ledger),
            next_step="Look at the load of the volume and at the memory limit: reads that miss "
            "the page cache go to the disk.",
            explained_by=("cpu_throttled", "cpu_waiting", "fsync_slow"),
            where=_slowest_file(facts.ledger),
        )
        for metric in ("read", "write")
    ]
    return max((item for item in found if item), key=lambda item: item.impact, default=None)


def _slow_files(ledger: Ledger) -> tuple[str, ...]:
    named = [f"{path} {seconds(longest / 1e9)}" for longest, path in _by_longest(ledger)[:3]]
    return (f"longest operation by file: {', '.join(named)}",) if named else ()


def _slowest_file(ledger: Ledger) -> str:
    slowest = _by_longest(ledger)[:1]
    return f", slowest file {shortened(slowest[0][1])}" if slowest else ""


def _by_longest(ledger: Ledger) -> list[tuple[int, str]]:
    """Return the longest operation in nanoseconds, and the path, of each file; longest first."""
    return sorted(
        (
            (longest, path)
            for path, row in ledger.labels["path"].rows.items()
            if names_one_thing(path) and (longest := row.get("file", NOTHING).durations.max_ns)
        ),
        reverse=True,
    )


def _file_errors(facts: Facts) -> Finding | None:
    limits = facts.limits
    errors: dict[str, int] = {}
    all_ = 0
    for metric in ("read", "write", "fsync"):
        tally = facts.ledger.total(metric)
        all_ += tally.count
        for name, count in tally.errors.items():
            if name not in PASSING_ERRORS:
                errors[name] = errors.get(name, 0) + count
    bad = sum(errors.values())
    all_ += bad
    severity = graded_failures(bad, all_, limits.file_errors_ratio, limits)
    if severity is None:
        return None
    return Finding(
        severity=severity,
        title=f"File operations fail: {bad:,} of {all_:,} ({percent(bad / all_)})",
        evidence=(
            f"failed {share_of(bad, all_, 'reads, writes and fsyncs', limits.file_errors_ratio)}",
            f"by error: {listed(list(errors.items()))}",
        ),
        next_step="ENOSPC and EDQUOT: free or enlarge the volume; EIO: look at the node's kernel "
        "log; EBADF: a bug of the program.",
        samples=all_,
        impact=bad / all_ / max(limits.file_errors_ratio, 1e-9),
        by_target=shares(facts.ledger.targets, _file_errors_of),
    )


def _file_errors_of(sums: TargetSums) -> int:
    return sum(
        count
        for metric in ("read", "write", "fsync")
        for name, count in sums.total(metric).errors.items()
        if name not in PASSING_ERRORS
    )


def _cpu_throttled(facts: Facts) -> Finding | None:
    throttled, limits = facts.ledger.total("throttled"), facts.limits
    by_target = _time_by_target(facts, "throttled")
    lasted = max(by_target.values(), default=0.0)
    ratio = lasted / facts.seconds if facts.seconds else 0.0
    if throttled.count < limits.least_count or ratio < limits.cpu_throttled_ratio:
        return None
    return Finding(
        severity=graded(throttled.count, ratio >= limits.critical_ratio),
        title=f"CPU is throttled by its quota: {_share_or_times(lasted, facts.seconds)}",
        evidence=(
            f"throttled for {seconds(lasted)} of {seconds(facts.seconds)} "
            f"({percent(ratio)}, threshold {percent(limits.cpu_throttled_ratio)})"
            f"{_in_worst_pod(facts)}",
            f"in {number(throttled.count, 'quota period')}",
            *_top_processes(facts, "most CPU time", lambda item: item.cpu_ns),
        ),
        next_step="Raise the CPU limit, or run fewer threads than the limit has CPUs.",
        samples=throttled.count,
        impact=ratio / max(limits.cpu_throttled_ratio, 1e-9),
        by_target=by_target,
    )


def _share_or_times(lasted: float, of: float) -> str:
    # Each CPU counts for itself: of several there can be more than the time that passed.
    if lasted <= of:
        return f"{percent(lasted / of)} of the time"
    return f"{seconds(lasted)} in {seconds(of)}, added over the CPUs"


def _cpu_waiting(facts: Facts) -> Finding | None:
    waits, limits = facts.ledger.total("run_queue"), facts.limits
    ratio = run_queue_ratio(facts.ledger)
    p95 = waits.durations.quantile(0.95)
    waited = waits.durations.sum_ns / NS_PER_SECOND
    if ratio is None or p95 is None or waits.count < limits.least_count:
        return None
    by_target = _time_by_target(facts, "run_queue")
    longest = max(by_target.values(), default=0.0)
    of_window = longest / facts.seconds if facts.seconds else 0.0
    long_waits = p95 >= limits.run_queue_p95_seconds and of_window >= LEAST_WAITING_SHARE
    if ratio < limits.run_queue_ratio:
        return None
    if not (long_waits or of_window >= limits.run_queue_time_ratio):
        return None
    return Finding(
        severity=graded(waits.count, ratio >= limits.critical_ratio),
        title=f"Threads wait for a CPU: {percent(ratio)} of the time that they could run",
        evidence=(
            f"ready, but without a CPU for {seconds(waited)} "
            f"({percent(ratio)}, threshold {percent(limits.run_queue_ratio)})",
            f"95th percentile of a wait {seconds(p95)} "
            f"(threshold {seconds(limits.run_queue_p95_seconds)}), all together "
            f"{percent(of_window)} of the window "
            f"(threshold {percent(limits.run_queue_time_ratio)}){_in_worst_pod(facts)}",
            *_top_processes(facts, "most waiting", lambda item: item.run_queue_ns),
        ),
        next_step="Look at the load of the node and at the pod's CPU request; a request gives it "
        "its share when CPUs are short.",
        samples=waits.count,
        impact=ratio / max(limits.run_queue_ratio, 1e-9),
        explained_by=("cpu_throttled",),
        by_target=by_target,
    )


def _time_by_target(facts: Facts, metric: str) -> Shares:
    """Return seconds of each target: those of several are not one time."""
    return shares(
        facts.ledger.targets, lambda sums: sums.total(metric).durations.sum_ns / NS_PER_SECOND
    )


def _in_worst_pod(facts: Facts) -> str:
    return ", in the pod that has most of it" if len(facts.pods) > 1 else ""


def _top_processes(facts: Facts, what: str, amount_ns: Callable[[Process], int]) -> tuple[str, ...]:
    ranked = sorted((item for item in facts.ledger.processes if amount_ns(item)), key=amount_ns)
    pods = facts.pods if len(facts.pods) > 1 else {}

    def place(process: Process) -> str:
        return f" of {pods[process.target]}" if process.target in pods else ""

    named = [
        f"{process.name}{place(process)} {seconds(amount_ns(process) / NS_PER_SECOND)}"
        for process in reversed(ranked[-3:])
    ]
    # A process may have more of either than the window is long.
    return (f"{what}: {', '.join(named)} (all threads)",) if named else ()


def _disk_wait(facts: Facts) -> Finding | None:
    rows = facts.ledger.labels["reason"].rows
    blocked = rows.get("disk", {}).get("blocked", NOTHING).durations
    running = facts.ledger.total("cpu").durations.sum_ns
    limits = facts.limits
    waited = blocked.sum_ns / NS_PER_SECOND
    if blocked.count < limits.least_count or waited < LEAST_DISK_SHARE * facts.seconds:
        return None
    ratio = blocked.sum_ns / (blocked.sum_ns + running)
    if ratio < limits.disk_wait_ratio:
        return None
    return Finding(
        severity="info",
        title=f"Threads wait for the disk longer than they compute: {seconds(waited)}",
        evidence=(
            f"disk waits are {percent(ratio)} of disk waits and CPU time "
            f"(threshold {percent(limits.disk_wait_ratio)})",
        ),
        counter_evidence=("a program that reads or syncs much does this when all is well",),
        next_step="Compare with the latency of reads and fsyncs in File System Statistics.",
        samples=blocked.count,
        impact=ratio,
    )


HOST_RULES = (
    Rule(
        "fsync_slow",
        "filesystem",
        "fsyncs are slow",
        ("fsync_slow_p95_seconds", "critical_multiple", "least_count"),
        _fsync_slow,
    ),
    Rule(
        "files_slow",
        "filesystem",
        "reads or writes of regular files are slow",
        ("file_slow_p95_seconds", "critical_multiple", "least_count"),
        _files_slow,
    ),
    Rule(
        "file_errors",
        "filesystem",
        "reads, writes or fsyncs of regular files fail; EAGAIN and EINTR are left out",
        ("file_errors_ratio", "critical_ratio", "least_count"),
        _file_errors,
    ),
    Rule(
        "cpu_throttled",
        "cpu",
        "the CPU quota of the cgroup stops its threads",
        ("cpu_throttled_ratio", "critical_ratio", "least_count"),
        _cpu_throttled,
    ),
    Rule(
        "cpu_waiting",
        "cpu",
        "threads are ready to run, but wait for a CPU: long, or for much of the window",
        (
            "run_queue_ratio",
            "run_queue_p95_seconds",
            "run_queue_time_ratio",
            "critical_ratio",
            "least_count",
        ),
        _cpu_waiting,
    ),
    Rule(
        "disk_wait",
        "cpu",
        "threads wait for the disk, for at least 2 % of the window; told as info",
        ("disk_wait_ratio", "least_count"),
        _disk_wait,
    ),
)
