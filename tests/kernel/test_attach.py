"""What is under way when the probes are attached is not taken for something else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel.servers import DNS_ADDRESS, start_servers
from kernel.tracing import Report, Trace
from workload.stage import Stage

PAUSE_SECONDS = 0.07
PROGRAM = f"""
import os, sys, time
first, second = (os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND) for path in sys.argv[1:])
while True:
    os.write(first, b"x")
    os.write(second, b"x")
    time.sleep({PAUSE_SECONDS})
"""


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    return [folder / "first.log", folder / "second.log"]


@pytest.fixture(scope="module")
def reports(
    module_stage: Stage, paths: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Report]]:
    """Trace a program that mostly sleeps, again and again, from different moments of its sleep."""
    cgroup = module_stage.cgroup("attach")
    program = subprocess.Popen([sys.executable, "-c", PROGRAM, *paths])
    try:
        Path(cgroup, "cgroup.procs").write_text(str(program.pid))
        found = []
        for _ in range(4):
            with Trace(tmp_path_factory.mktemp("traces"), "--cgroup", cgroup) as trace:
                trace.wait_tick()
                found.append(trace.stop())
        yield found
    finally:
        program.kill()
        program.wait()


def test_a_sleep_is_not_taken_for_the_write_before_it(reports: list[Report]) -> None:
    for report in reports:
        slowest = max(entry["max_seconds"] for entry in report["filesystem.files"])
        assert slowest <= report["filesystem.write.max_seconds"] < PAUSE_SECONDS / 2


def test_files_keep_their_paths(reports: list[Report], paths: list[Path]) -> None:
    for report in reports:
        found = {entry["path"] for entry in report["filesystem.files"]}
        assert found <= {os.fspath(path) for path in paths}
        assert found


def test_a_wait_counts_from_the_start_of_the_window(reports: list[Report]) -> None:
    for report in reports:
        seconds = report["window.seconds"]
        assert report["cpu.blocked_by_reason"]["sleep"] <= seconds
        assert report["cpu.blocked.max_seconds"] < PAUSE_SECONDS + 0.05


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
    assert report["dns.queries"] == sum(dns) > 1000
