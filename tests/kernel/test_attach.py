"""What is under way when the probes are attached is not taken for something else."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kernel.servers import DNS_ADDRESS, start_servers
from kernel.tracing import Report, Trace
from kernel.truths import ALLOWANCE_SECONDS
from workload.stage import Stage

PAUSE_SECONDS = 0.07
DETACHED_SECONDS = 1.0


@dataclass
class Run:
    """One of the traces, and what the program was doing meanwhile, by its own clock."""

    report: Report
    start_ns: int
    writes: list[tuple[int, float]]
    sleeps: list[tuple[int, float]]

    def longest(self, *done: list[tuple[int, float]]) -> float:
        """Return the longest of what ended in the window, or while the probes were detached."""
        end_ns = self.start_ns + 1e9 * (self.report["window.seconds"] + DETACHED_SECONDS)
        found = [s for part in done for ended_ns, s in part if self.start_ns <= ended_ns <= end_ns]
        return max(found) + ALLOWANCE_SECONDS


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    return [folder / "first.log", folder / "second.log"]


@pytest.fixture(scope="module")
def runs(
    module_stage: Stage, paths: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Run]]:
    """Trace a program that mostly sleeps, again and again, from different moments of its sleep."""
    cgroup = module_stage.cgroup("attach")
    arguments = {"paths": [str(path) for path in paths], "pause": PAUSE_SECONDS}
    program = module_stage.start(
        "steps.py", json.dumps([["write_until_told", arguments]]), cgroups=[cgroup]
    )
    program.go()
    found = []
    for _ in range(4):
        with Trace(tmp_path_factory.mktemp("traces"), "--cgroup", cgroup) as trace:
            trace.wait_for("series", metric="write")
            found.append((trace.stop(), trace.hello["window_start_ns"]))
    program.go()
    program.wait_done()
    [done] = program.truth()["results"]
    yield [Run(report, start_ns, done["writes"], done["sleeps"]) for report, start_ns in found]


def test_a_sleep_is_not_taken_for_the_write_before_it(runs: list[Run]) -> None:
    for run in runs:
        slowest = max(entry["max_seconds"] for entry in run.report["filesystem.files"])
        assert slowest <= run.report["filesystem.write.max_seconds"] <= run.longest(run.writes)


def test_files_keep_their_paths(runs: list[Run], paths: list[Path]) -> None:
    for run in runs:
        found = {entry["path"] for entry in run.report["filesystem.files"]}
        assert found <= {os.fspath(path) for path in paths}
        assert found


def test_a_wait_counts_from_the_start_of_the_window(runs: list[Run]) -> None:
    for run in runs:
        seconds = run.report["window.seconds"]
        assert run.report["cpu.blocked_by_reason"].get("sleep", 0) <= seconds
        assert run.report["cpu.blocked.max_seconds"] <= run.longest(run.sleeps, run.writes)


def test_questions_under_way_at_the_start_are_no_timeouts(stage: Stage, tmp_path: Path) -> None:
    start_servers(stage, delay_ms=3)
    cgroup = stage.cgroup("attach-dns")
    look_up = ["look_up", {"server": DNS_ADDRESS, "name": "busy.test", "times": 20_000}]
    program = stage.start("steps.py", json.dumps([["gate", {}], look_up]), cgroups=[cgroup])
    program.go()
    with Trace(tmp_path, "--cgroup", cgroup) as trace:
        # Longer than a question may wait.
        time.sleep(6.5)
        report = trace.stop()
    dns = report["dns.latency"]["count"], report["dns.timeouts"], report["dns.pending"]
    assert report["dns.timeouts"] == 0
    assert report["dns.queries"] == sum(dns) > 100
