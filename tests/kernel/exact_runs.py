"""Runs of exact.py beside a neighbour that does ten times as much, for ExactChecks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kernel.exact_checks import ExactRun
from kernel.servers import start_servers
from kernel.tracing import Trace
from workload.stage import Stage

NEIGHBOUR_CPU_SECONDS = 5


def run_beside_neighbour(
    stage: Stage, folder: Path, by_pid: bool = False, hidden: Sequence[str] = ()
) -> tuple[ExactRun, Path]:
    """Trace by cgroup, or by PID with the neighbour in the same cgroup.

    `hidden` is what the tracer has to do without. Returns the run and its recording.
    """
    servers = start_servers(stage)
    data = stage.folder / "exact.data"
    arguments = servers.exact_arguments(data)
    inside = stage.cgroup("target")
    beside = inside if by_pid else stage.cgroup("neighbour")
    target = stage.start("exact.py", *arguments, cgroups=[inside])
    neighbour = stage.start(
        "exact.py",
        *arguments,
        *("--times", 10, "--cpu-seconds", NEIGHBOUR_CPU_SECONDS),
        cgroups=[beside],
    )
    scope = ("--pid", target.pid) if by_pid else ("--cgroup", inside)
    with Trace(folder, *scope, environment={"PODTRACE_HIDE": ",".join(hidden)}) as trace:
        target.go()
        neighbour.go()
        target.wait_done()
        neighbour.wait_done()
        trace.wait_tick()
        report = trace.stop()
        run = ExactRun(report, target.truth(), data)
        run.neighbour = neighbour.truth()
        return run, trace.recording
