"""Runs of exact.py beside a neighbour that does ten times as much, for ExactChecks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kernel.exact_checks import ExactRun
from kernel.servers import start_servers
from kernel.tracing import Trace
from workload.stage import Stage

NEIGHBOUR_CPU_SECONDS = 5


def run_beside_neighbour(
    stage: Stage,
    folder: Path,
    by_pid: bool = False,
    hidden: Sequence[str] = (),
    program: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> tuple[ExactRun, Path]:
    """Trace by cgroup, or by PID with the neighbour in the same cgroup.

    `hidden` is what the tracer has to do without, `program` runs podtrace instead of this Python,
    in `environment`. Returns the run and its recording.
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
    settings = {"PODTRACE_HIDE": ",".join(hidden), **(environment or {})}
    local = (*program, "--local") if program else ()
    with Trace(folder, *scope, environment=settings, program=local) as trace:
        target.go()
        neighbour.go()
        target.wait_done()
        neighbour.wait_done()
        trace.wait_tick()
        report = trace.stop()
        run = ExactRun(report, target.truth(), data)
        run.neighbour = neighbour.truth()
        return run, trace.recording
