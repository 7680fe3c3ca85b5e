"""The other scopes: a command, a container by its id, descendants, children of a cgroup."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from pathlib import Path

import pytest

from kernel.exact_checks import LEAST_SLEEP_RATIO, SLEEP_SECONDS, ExactChecks, ExactRun
from kernel.servers import start_servers
from kernel.tracing import Trace
from workload.stage import HERE, Stage, StageError, cgroup_mount

SYSTEM_PYTHON = "/usr/bin/python3"
STAY_SECONDS = 6
"""Longer than a DNS question may wait for its answer."""
START_UP_OPERATIONS = 200
"""Opens, or reads, that an interpreter makes while it starts; -S and -E keep them few."""


@pytest.fixture(scope="module")
def by_command(tmp_path_factory: pytest.TempPathFactory) -> ExactRun:
    with Stage() as stage:
        servers = start_servers(stage)
        data = stage.folder / "exact.data"
        data.write_bytes(bytes(1 << 20))
        argv = [
            *(SYSTEM_PYTHON, "-ES", HERE / "exact.py", *servers.exact_arguments(data)),
            *("--no-gate", "--stay", STAY_SECONDS),
        ]
        with Trace(tmp_path_factory.mktemp("command"), "--", *argv) as trace:
            report = trace.report()
            truth = json.loads(re.findall(r'\{"state": "truth".*\}', trace.stderr())[0])
        return ExactRun(report, truth, data, START_UP_OPERATIONS)


class TestCommand(ExactChecks):
    """`-- COMMAND`: the interpreter's start is inside the window too."""

    @pytest.fixture
    def run(self, by_command: ExactRun) -> ExactRun:
        return by_command

    def test_sleep_is_blocked_time_with_its_reason(self, run: ExactRun) -> None:
        slept = run.report["cpu.blocked_by_reason.sleep"]
        assert slept >= LEAST_SLEEP_RATIO * (SLEEP_SECONDS + STAY_SECONDS)
        assert slept <= (run.truth["sleep_ns"] + run.truth["stay_ns"]) / 1e9

    def test_cpu_time_of_the_process_is_within_three_percent(self, run: ExactRun) -> None:
        entry = run.report.entry("cpu_usage", host_pid=run.truth["pid"])
        assert entry["cpu_seconds"] == pytest.approx(run.truth["process_cpu_ns"] / 1e9, rel=0.03)

    def test_exit_code_of_the_command_is_in_the_report(self, run: ExactRun) -> None:
        assert run.report["window.end_reason"] == "command_exited"
        assert run.report["window.exit_code"] == 0


def test_command_gets_its_arguments_and_standard_input_as_they_are(tmp_path: Path) -> None:
    script = 'import sys; print("arguments", sys.argv[1:], file=sys.stderr); sys.exit(7)'
    argv = [SYSTEM_PYTHON, "-c", script, "--", "-o", "a b", "$HOME"]
    with Trace(tmp_path, "--", *argv) as trace:
        report = trace.report()
    assert "arguments ['--', '-o', 'a b', '$HOME']" in trace.stderr()
    assert report["window.exit_code"] == 7


def test_command_leaves_no_cgroup(tmp_path: Path) -> None:
    with Trace(tmp_path, "--", "/bin/sleep", "0.2") as trace:
        [target] = trace.hello["targets"]
        trace.report()
    assert target["cgroup"].startswith(str(cgroup_mount()))
    assert not Path(target["cgroup"]).exists()


def test_interrupt_stops_the_command_and_reports(tmp_path: Path) -> None:
    with Trace(tmp_path, "--", "/bin/sleep", "1000") as trace:
        process = trace.wait_for("process", name="sleep")["process"]
        trace.stop()
    assert not Path(f"/proc/{process}").exists()


CONTAINER = secrets.token_hex(32)
LAYOUTS = {
    "cgroupfs": ("kubepods", "burstable", "pod6c6b1d2e-aa00-4ef0-bd8c-000000000001", CONTAINER),
    "systemd": (
        "kubepods.slice",
        "kubepods-burstable.slice",
        "kubepods-burstable-pod6c6b1d2e_aa00_4ef0_bd8c_000000000001.slice",
        f"cri-containerd-{CONTAINER}.scope",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_container_is_found_by_its_id(stage: Stage, tmp_path: Path, layout: str) -> None:
    cgroup = stage.cgroup(layout)
    for part in LAYOUTS[layout]:
        cgroup = stage.cgroup(part, cgroup)
    sibling = stage.cgroup(secrets.token_hex(32), cgroup.parent)
    file = stage.folder / "data"
    reads = json.dumps([["write_file", {"path": str(file), "times": 30}]])
    inside = stage.start("steps.py", reads, cgroups=[cgroup])
    beside = stage.start("steps.py", reads, cgroups=[sibling])
    with Trace(tmp_path, "--container", CONTAINER) as trace:
        for program in (inside, beside):
            program.go()
            program.wait_done()
        trace.wait_tick()
        report = trace.stop()
    assert report["filesystem.write.count"] == 30
    assert {entry["host_pid"] for entry in report["process_activity"]} == {inside.pid}


def test_children_of_a_cgroup_belong_to_it(stage: Stage, tmp_path: Path) -> None:
    cgroup = stage.cgroup("parent")
    early = stage.cgroup("early", cgroup)
    steps = json.dumps([["write_file", {"path": str(stage.folder / "data"), "times": 10}]])
    programs = [stage.start("steps.py", steps, cgroups=[place]) for place in (cgroup, early)]
    with Trace(tmp_path, "--cgroup", cgroup) as trace:
        late = stage.cgroup("late", cgroup)
        programs.append(stage.start("steps.py", steps, cgroups=[late]))
        for program in programs:
            program.go()
            program.wait_done()
        trace.wait_tick()
        report = trace.stop()
    counts = {entry["host_pid"]: entry["operations"] for entry in report["process_activity"]}
    assert set(counts) >= {program.pid for program in programs}
    assert report["filesystem.write.count"] == 30


def test_descendants_of_a_process_belong_to_it(stage: Stage, tmp_path: Path) -> None:
    servers = start_servers(stage)
    data = stage.folder / "exact.data"
    arguments = [*servers.exact_arguments(data), "--fork", "--cpu-seconds", 0.3]
    program = stage.start("exact.py", *arguments, "--unanswered", 0)
    with Trace(tmp_path, "--pid", program.pid) as trace:
        program.go()
        program.wait_done()
        trace.wait_tick()
        report = trace.stop()
    truth = program.truth()
    assert truth["pid"] != program.pid
    assert report["dns.queries"] == truth["dns_queries"]
    assert report["connections.attempts"] == truth["connects"]
    assert report["filesystem.read.count"] >= truth["reads"]
    assert report.entry("process_activity", host_pid=truth["pid"])["events"] > 5000


def test_a_process_that_joins_the_cgroup_is_marked_as_entered(stage: Stage, tmp_path: Path) -> None:
    cgroup = stage.cgroup("target")
    holder = stage.start("steps.py", json.dumps([]), cgroups=[cgroup])
    with Trace(tmp_path, "--cgroup", cgroup) as trace:
        steps = json.dumps([["write_file", {"path": str(stage.folder / "data"), "times": 20}]])
        joined = stage.start("steps.py", steps)
        (cgroup / "cgroup.procs").write_text(str(joined.pid))
        joined.go()
        joined.wait_done()
        trace.wait_tick()
        report = trace.stop()
    entry = report.entry("process_activity", host_pid=joined.pid)
    assert entry["entered"] is True
    assert entry["operations"]["filesystem"] == 21
    holder.truth()


def namesakes(stage: Stage, controller: str) -> tuple[Path, Path]:
    """Make a cgroup in the usual hierarchy and one of a controller that have the same id."""
    places = [cgroup_mount(), cgroup_mount(controller)]
    names = [stage.cgroup("namesake", place) for place in places]
    for _ in range(20_000):
        ids = [name.stat().st_ino for name in names]
        if ids[0] == ids[1]:
            return names[0], names[1]
        # Ids only grow, in each hierarchy by its own step.
        behind = ids.index(min(ids))
        names[behind].rmdir()
        names[behind].mkdir()
    pytest.skip("no two cgroups with the same id could be made")


def test_a_move_in_another_hierarchy_is_no_move_into_the_target(
    stage: Stage, tmp_path: Path
) -> None:
    try:
        target, other = namesakes(stage, "freezer")
    except StageError as error:
        pytest.skip(str(error))
    steps = json.dumps([["write_file", {"path": str(stage.folder / "data"), "times": 10}]])
    inside = stage.start("steps.py", steps, cgroups=[target])
    moved = stage.start("steps.py", steps)
    with Trace(tmp_path, "--cgroup", target) as trace:
        (other / "cgroup.procs").write_text(str(moved.pid))
        for program in (inside, moved):
            program.go()
            program.wait_done()
        trace.wait_tick()
        report = trace.stop()
    assert report["filesystem.write.count"] == 10
    listed = {line["process"] for line in trace.lines() if line["kind"] == "process"}
    assert listed == {inside.pid}


def test_two_traces_at_once_are_both_right(stage: Stage, tmp_path: Path) -> None:
    programs, traces = [], []
    with contextlib.ExitStack() as stack:
        for number in (1, 2):
            cgroup = stage.cgroup(f"target{number}")
            steps = [["write_file", {"path": str(stage.folder / "data"), "times": 100 * number}]]
            programs.append(stage.start("steps.py", json.dumps(steps), cgroups=[cgroup]))
            trace = Trace(tmp_path / str(number), "--cgroup", cgroup, wait=False)
            traces.append(stack.enter_context(trace))
        for trace in traces:
            trace.wait_for("hello")
        for program in programs:
            program.go()
            program.wait_done()
        for trace in traces:
            trace.wait_tick()
        counts = [trace.stop()["filesystem.write.count"] for trace in traces]
    assert counts == [100, 200]
