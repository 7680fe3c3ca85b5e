"""Wrong targets and commands: one clear error, the next step, exit code, nothing left behind."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel import leavings
from kernel.neighbours import left_after
from kernel.tracing import PATIENCE_SECONDS, ROOT, Trace, command
from workload.stage import Stage, cgroup_mount

NO_PROCESS = 4_190_000
CLEARED_SECONDS = 3.0
CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 21, 38, 39
PR_CAPBSET_DROP = 24


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    programs, links = leavings.programs(), leavings.links()
    yield
    assert left_after(CLEARED_SECONDS, leavings.orphans, programs, links) == []
    assert left_after(CLEARED_SECONDS, leavings.abandoned_cgroups) == []


def _drop_capabilities() -> None:
    """Take the rights to trace away, for root too: what exec gives is bounded by this set."""
    libc = ctypes.CDLL(None)
    for capability in (CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def _run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    result: subprocess.CompletedProcess[str] = subprocess.run(
        command("--local", "--diagnose", "1s", *arguments),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        stdin=subprocess.DEVNULL,
        **options,
    )
    return result


def _is_clear_error(
    result: subprocess.CompletedProcess[str], *names: object, code: int = 1
) -> None:
    lines = result.stderr.strip().splitlines()
    assert result.returncode == code, result.stderr
    assert lines[0].startswith("error: ")
    for name in names:
        assert str(name) in result.stderr
    assert len(lines) >= 2, "no next step"
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_no_such_cgroup() -> None:
    _is_clear_error(_run("--cgroup", "/sys/fs/cgroup/none-such"), "/sys/fs/cgroup/none-such")


def test_a_folder_that_is_no_cgroup(tmp_path: Path) -> None:
    _is_clear_error(_run("--cgroup", tmp_path), tmp_path)


def test_a_root_cgroup_is_refused_with_the_number_of_its_processes() -> None:
    result = _run("--cgroup", cgroup_mount())
    _is_clear_error(result, cgroup_mount())
    assert any(word.replace(",", "").isdigit() for word in result.stderr.split())


def test_no_such_process() -> None:
    _is_clear_error(_run("--pid", NO_PROCESS), NO_PROCESS)


def test_no_such_container() -> None:
    _is_clear_error(_run("--container", "f" * 64), "f" * 12)


def test_command_that_does_not_exist() -> None:
    _is_clear_error(_run("--", "/none/such"), "/none/such")


def test_command_that_is_not_executable(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    _is_clear_error(_run("--", script), script)


def test_a_user_without_rights_is_told_so() -> None:
    result = _run("--pid", os.getpid(), preexec_fn=_drop_capabilities)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "root" in result.stderr or "sudo" in result.stderr


def test_a_python_without_bcc_names_the_package(tmp_path: Path) -> None:
    environment = {**os.environ, "PODTRACE_PYTHON": sys.executable}
    result = _run("--pid", os.getpid(), env=environment)
    _is_clear_error(result, "python3-bpfcc")


@pytest.mark.parametrize("duration", ["20", "0s", "-5s", "abc", "25h"])
def test_durations_that_are_none(duration: str) -> None:
    result = subprocess.run(
        command("--local", "--pid", os.getpid(), "--diagnose", duration),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert duration in result.stderr


def test_a_process_that_dies_ends_the_trace_with_a_report(stage: Stage, tmp_path: Path) -> None:
    steps = [["write_file", {"path": str(stage.folder / "data"), "times": 25}]]
    program = stage.start("steps.py", json.dumps(steps))
    with Trace(tmp_path, "--pid", program.pid) as trace:
        program.go()
        program.wait_done()
        program.process.kill()
        program.process.wait()
        report = trace.report()
    assert report["filesystem.write.count"] == 25
    assert report["window.end_reason"] == "target_gone"
    assert trace.process.returncode == 0


def test_a_cgroup_that_goes_ends_the_trace_with_a_report(stage: Stage, tmp_path: Path) -> None:
    cgroup = stage.cgroup("going")
    steps = [["write_file", {"path": str(stage.folder / "data"), "times": 25}]]
    program = stage.start("steps.py", json.dumps(steps), cgroups=[cgroup])
    with Trace(tmp_path, "--cgroup", cgroup) as trace:
        program.go()
        program.wait_done()
        program.truth()
        trace.wait_tick()
        cgroup.rmdir()
        report = trace.report()
    assert report["filesystem.write.count"] == 25
    assert report["window.end_reason"] == "target_gone"


def test_a_killed_tracer_leaves_an_incomplete_report(stage: Stage, tmp_path: Path) -> None:
    cgroup = stage.cgroup("killed")
    steps = [["write_file", {"path": str(stage.folder / "data"), "times": 25}]]
    program = stage.start("steps.py", json.dumps(steps), cgroups=[cgroup])
    with Trace(tmp_path, "--cgroup", cgroup) as trace:
        program.go()
        program.wait_done()
        trace.wait_tick()
        os.kill(trace.tracer_pid(), signal.SIGKILL)
        report = trace.report()
    assert report["filesystem.write.count"] == 25
    assert report["window.complete"] is False
    assert trace.process.returncode == 1
    assert "SIGKILL" in trace.stderr()


def test_a_reader_that_goes_away_ends_the_trace(stage: Stage) -> None:
    cgroup = stage.cgroup("head")
    stage.start("steps.py", json.dumps([["sleep", {"seconds": 30}]]), cgroups=[cgroup])
    line = " ".join(command("--local", "--cgroup", cgroup, "-o", "json"))
    result = subprocess.run(
        ["bash", "-c", f"{line} | head -n 3"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        cwd=ROOT,
    )
    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == ""
