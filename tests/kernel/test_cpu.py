"""CPU time by process, waiting for a CPU, blocked time by reason, throttling by a quota."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kernel.quota import limit
from kernel.tracing import Report, Trace
from workload.stage import Stage

CHILDREN = 4
CHILD_SECONDS = 0.2
WAITS = {"sleep": 0.5, "poll": 0.4, "lock": 0.3, "network": 0.6}
LEAST_WAIT_RATIO = 0.95
"""A thread that is about to wait may have to wait for a CPU to do so."""


@dataclass
class Run:
    report: Report
    pid: int
    truth: dict[str, Any]


@pytest.fixture(scope="module")
def run(module_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    steps = [
        ["burn", {"seconds": 0.5}],
        ["burn", {"seconds": CHILD_SECONDS, "processes": CHILDREN}],
        ["sleep", {"seconds": WAITS["sleep"]}],
        ["poll", {"seconds": WAITS["poll"]}],
        ["wait_for_lock", {"seconds": WAITS["lock"]}],
        ["wait_for_network", {"seconds": WAITS["network"]}],
        ["execute", {"argv": ["/bin/true"], "times": 3}],
        ["execute", {"argv": ["/bin/false"]}],
    ]
    cgroup = module_stage.cgroup("cpu")
    program = module_stage.start("steps.py", json.dumps(steps), cgroups=[cgroup])
    with Trace(tmp_path_factory.mktemp("cpu"), "--cgroup", cgroup) as trace:
        program.go()
        program.wait_done()
        trace.wait_tick()
        report = trace.stop()
    yield Run(report, program.pid, program.truth())


def test_own_cpu_time_is_within_three_percent(run: Run) -> None:
    entry = run.report.entry("cpu_usage", host_pid=run.pid)
    assert entry["cpu_seconds"] == pytest.approx(run.truth["cpu_ns"] / 1e9, rel=0.03)


def test_children_have_their_own_cpu_time(run: Run) -> None:
    """The kernel's own account of each, which its parent is given at its end, is the truth."""
    children = run.truth["results"][1]
    assert len(children) == CHILDREN
    for child, used_seconds in children:
        entry = run.report.entry("cpu_usage", host_pid=child)
        assert entry["cpu_seconds"] >= CHILD_SECONDS
        assert entry["cpu_seconds"] == pytest.approx(used_seconds, rel=0.01, abs=0.001)


def test_cpu_time_adds_up(run: Run) -> None:
    total = sum(entry["cpu_seconds"] for entry in run.report["cpu_usage"])
    assert run.report["cpu.on_cpu_seconds"] == pytest.approx(total, rel=0.01)
    assert total >= 0.5 + CHILDREN * CHILD_SECONDS


@pytest.mark.parametrize(
    ("number", "reason"), [(2, "sleep"), (3, "poll"), (4, "lock"), (5, "network")]
)
def test_blocked_time_has_its_reason(run: Run, number: int, reason: str) -> None:
    """As long as was asked for, at most as long as it was for the workload."""
    waited = run.truth["results"][number]
    blocked = run.report["cpu.blocked_by_reason"][reason]
    assert LEAST_WAIT_RATIO * WAITS[reason] <= blocked <= waited + 0.01


def test_programs_and_ends_of_processes_are_counted(run: Run) -> None:
    assert run.report["summary.execs"] == 4
    assert run.report["summary.exits"] == CHILDREN + 4


def test_exits_are_events_with_their_code(run: Run) -> None:
    names = {entry["process"] for entry in run.report["process_activity"]}
    assert {"true", "false"} <= names


def _voluntary_switches(pid: int) -> int:
    [line] = re.findall(r"^voluntary_ctxt_switches:\t(\d+)$", _status(pid), re.MULTILINE)
    return int(line)


def _seconds_ready(pid: int) -> float:
    """Return how long a process of one thread was ready to run and did not run."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def test_every_switch_is_seen_or_made_up_for(stage: Stage, tmp_path: Path) -> None:
    """The kernel's count of voluntary switches is the truth: sched_switch leaves some out."""
    cgroup = stage.cgroup("naps")
    steps = [["nap", {"seconds": 0.001, "times": 2000}]]
    program = stage.start("steps.py", json.dumps(steps), cgroups=[cgroup])
    with Trace(tmp_path, "--cgroup", cgroup) as trace:
        before = _voluntary_switches(program.pid)
        program.go()
        program.wait_done()
        trace.wait_tick()
        report = trace.stop()
        switches = _voluntary_switches(program.pid) - before
    program.truth()
    assert switches > 1900
    assert report["cpu.blocked.count"] == pytest.approx(switches, abs=3)


def test_waiting_for_a_cpu_is_run_queue_time(stage: Stage, tmp_path: Path) -> None:
    """Four competitors share one CPU with the target; the kernel's account of it is the truth."""
    stage.start("competitor.py", "--cpu", 0, "--processes", 4)
    cgroup = stage.cgroup("starved")
    program = stage.start(
        "steps.py",
        json.dumps([["burn", {"seconds": 0.6}]]),
        cgroups=[cgroup],
        command=["taskset", "-c", "0"],
    )
    with Trace(tmp_path, "--cgroup", cgroup) as trace:
        before = _seconds_ready(program.pid)
        program.go()
        program.wait_done()
        trace.wait_tick()
        report = trace.stop()
        ready = _seconds_ready(program.pid) - before
    truth = program.truth()
    usage = report.entry("cpu_usage", host_pid=program.pid)
    assert usage["cpu_seconds"] == pytest.approx(truth["cpu_ns"] / 1e9, rel=0.03)
    assert report["cpu.run_queue_seconds"] == pytest.approx(ready, rel=0.03, abs=0.005)
    assert ready >= 1.2
    assert report["cpu.run_queue.max_seconds"] < report["cpu.run_queue_seconds"]
    assert sum(report["cpu.blocked_by_reason"].values()) < 60


def test_a_cpu_quota_is_throttled_time(stage: Stage, tmp_path: Path) -> None:
    cgroup = stage.cgroup("throttled")
    # Less than what is left for it where others fill the machine.
    quota = limit(stage, cgroup, quota_us=5_000)
    steps = json.dumps([["burn", {"seconds": 0.2}]])
    program = stage.start("steps.py", steps, cgroups=quota.join)
    with Trace(tmp_path, "--cgroup", cgroup) as trace:
        before = quota.throttled()
        program.go()
        program.wait_done()
        trace.wait_tick()
        report = trace.stop()
        after = quota.throttled()
    program.truth()
    assert report["cpu.throttled_periods"] == pytest.approx(after[0] - before[0], abs=3)
    assert report["cpu.throttled_seconds"] == pytest.approx(after[1] - before[1], rel=0.1)
    assert report["cpu.throttled_seconds"] > 1.0
