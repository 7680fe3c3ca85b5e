"""Files: regular ones only, slow ones by path and size, hostile names, and what is no file."""

from __future__ import annotations

import json
import os
import subprocess
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kernel.exact_checks import OWN_FILE_OPERATIONS
from kernel.tracing import PATIENCE_SECONDS, Report, Trace, command
from kernel.truths import ALLOWANCE_SECONDS, assert_between_truths
from workload.stage import Stage, StageError

SLOW_FSYNC_MS = 45.0
SLOW_READ_MS = 15.0
SLOW_SECONDS = 0.010
OTHERS = 50
HOSTILE = ["new\nline", "esc\x1b[31m", "rtl\u202e", "sep\u2028", "bad\udcff\udcfe", "x" * 255]


@dataclass
class Run:
    report: Report
    lines: list[dict[str, Any]]
    text: str
    folder: Path
    disk: Path
    truth: dict[str, Any]
    results: list[Any]

    def measured(self, kind: str) -> list[float]:
        """Return how long each operation of a kind was for the workload itself."""
        timed = [result for result in self.results if isinstance(result, dict)]
        return [seconds for result in timed for seconds in result.get(kind, ())]

    def met_slow(self, kind: str) -> int:
        """Return how many the workload found slow: those meant to be, or of a busy machine."""
        return sum(seconds >= SLOW_SECONDS for seconds in self.measured(kind))

    def file(self, path: Path) -> dict[str, Any]:
        return self.report.entry("filesystem.files", path=str(path))


@pytest.fixture(scope="module")
def run(module_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    stage = module_stage
    disk = stage.folder / "disk"
    disk.mkdir()
    try:
        slow = ("--fsync-ms", SLOW_FSYNC_MS, "--read-ms", SLOW_READ_MS)
        server = stage.start("slow_disk.py", disk, *slow)
    except StageError:
        pytest.skip("no FUSE here")
    folder = stage.folder / "plain"
    folder.mkdir()
    (folder / "link").symlink_to(folder / "target.data")
    long_path = folder
    while len(str(long_path)) < 3000:
        long_path = long_path / ("d" * 200)
    long_path.mkdir(parents=True)
    steps: list[list[Any]] = [
        ["write_file", {"path": f"{folder}/target.data", "times": 40, "size": 1000}],
        ["read_file", {"path": f"{folder}/link", "times": 30, "size": 1000}],
        ["write_file", {"path": f"{disk}/slow.db", "times": 6, "size": 4000, "fsync": True}],
        ["read_file", {"path": f"{disk}/slow.db", "times": 4, "size": 4000}],
        ["write_file", {"path": f"{long_path}/deep.data", "times": 3, "size": 10}],
        *[["write_file", {"path": f"{folder}/{name}", "times": 2, "size": 7}] for name in HOSTILE],
        ["use_others", {"times": OTHERS}],
        ["open_each", {"paths": [str(folder)] * 5, "directory": True}],
        ["fail_reads", {"path": f"{folder}/target.data", "times": 8}],
    ]
    cgroup = stage.cgroup("files")
    program = stage.start("steps.py", json.dumps(steps), cgroups=[cgroup])
    with Trace(tmp_path_factory.mktemp("files"), "--cgroup", cgroup) as trace:
        program.go()
        program.wait_done()
        trace.wait_tick()
        report = trace.stop()
        text = subprocess.run(
            command("replay", trace.recording), capture_output=True, timeout=PATIENCE_SECONDS
        ).stdout.decode()
        lines = trace.lines()
    results = program.truth()["results"]
    yield Run(report, lines, text, folder, disk, server.truth(), results)


def _within_own(counted: int, done: int) -> bool:
    return done <= counted <= done + OWN_FILE_OPERATIONS


def test_operations_on_regular_files_are_counted(run: Run) -> None:
    writes = 40 + 6 + 3 + 2 * len(HOSTILE)
    assert _within_own(run.report["filesystem.write.count"], writes)
    assert _within_own(run.report["filesystem.read.count"], 30 + 4)
    assert run.report["filesystem.fsync.count"] == 6
    opens = 1 + 1 + 1 + 1 + 1 + len(HOSTILE) + 1
    assert _within_own(run.report["filesystem.open.count"], opens)


def test_bytes_are_those_that_the_calls_returned(run: Run) -> None:
    written = 40_000 + 24_000 + 30 + 14 * len(HOSTILE)
    assert run.report["filesystem.write.bytes"] == written
    assert run.report["filesystem.read.bytes"] >= 30_000 + 16_000


def test_failed_reads_of_a_file_are_errors(run: Run) -> None:
    assert run.report["filesystem.read.errors"] in (0, 8, 16)


def test_a_file_is_known_by_its_real_path(run: Run) -> None:
    assert run.file(run.folder / "target.data")["operations"] == 70
    assert run.file(run.folder / "target.data")["bytes"] == 70_000


def test_slow_operations_are_counted_apart(run: Run) -> None:
    assert run.truth["slow_fsyncs"] == run.report["filesystem.fsync.slow"] == 6
    assert run.truth["slow_reads"] == 4
    assert 4 <= run.report["filesystem.read.slow"] <= run.met_slow("read")
    assert run.report["filesystem.write.slow"] <= run.met_slow("write")


def test_slow_duration_is_the_injected_one(run: Run) -> None:
    fsync = run.report["filesystem.fsync"]
    assert_between_truths(fsync, SLOW_FSYNC_MS / 1000, run.measured("fsync"))
    slowest = run.report["filesystem.read.max_seconds"]
    assert SLOW_READ_MS / 1000 <= slowest <= max(run.measured("read")) + ALLOWANCE_SECONDS


def test_slow_operations_are_events_with_path_and_bytes(run: Run) -> None:
    slow = [line for line in run.lines if line.get("event") == "slow_file"]
    meant = [line for line in slow if "slow.db" in line["path"] and line["operation"] != "write"]
    assert sorted(line["operation"] for line in meant) == ["fsync"] * 6 + ["read"] * 4
    assert {line["bytes"] for line in meant if line["operation"] == "read"} == {4000}
    assert len(slow) <= sum(run.met_slow(kind) for kind in ("read", "write", "fsync"))


def test_waiting_is_told_apart_from_the_whole_duration(run: Run) -> None:
    """Little of an fsync is work: it is the other side that is slow."""
    waited = run.report["filesystem.fsync.waiting_seconds"]
    assert 0.85 * 6 * SLOW_FSYNC_MS / 1000 <= waited <= sum(run.measured("fsync"))


@pytest.mark.parametrize(("kind", "size"), [("pipe", 5), ("socket", 3)])
def test_pipes_and_sockets_are_apart(run: Run, kind: str, size: int) -> None:
    use = run.report[f"io_other.{kind}"]
    assert 2 * OTHERS <= use["count"] <= 2 * OTHERS + 4
    assert 2 * OTHERS * size <= use["bytes"] <= 2 * OTHERS * size + 100


def test_terminals_are_apart(run: Run) -> None:
    assert run.report["io_other.terminal.count"] == 2 * OTHERS


def test_hostile_names_reach_the_report_unharmed(run: Run) -> None:
    paths = [entry["path"] for entry in run.report["filesystem.files"]]
    assert f"{run.folder}/new\nline" in paths or any("new" in path for path in paths)
    assert any(path.endswith("x" * 255) for path in paths)


def test_text_report_has_no_control_characters(run: Run) -> None:
    bad = {c for c in run.text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert bad == {"\n"}
    assert "File System Statistics" in run.text


def test_a_long_path_keeps_its_end(run: Run) -> None:
    [path] = [e["path"] for e in run.report["filesystem.files"] if e["path"].endswith("deep.data")]
    assert path.endswith("/" + "d" * 200 + "/deep.data")
    assert os.sep in path


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Yield a folder and a file whose content lies elsewhere, as volumes of a pod do."""
    behind = tmp_path / "volumes/data"
    behind.mkdir(parents=True)
    (behind / "hosts").write_text("127.0.0.1 localhost\n")
    folder, file = tmp_path / "data", tmp_path / "hosts"
    folder.mkdir()
    file.touch()
    mounts = [(behind, folder), (behind / "hosts", file)]
    for source, target in mounts:
        subprocess.run(["mount", "--bind", source, target], check=True)
    yield folder, file
    for _, target in mounts:
        subprocess.run(["umount", target], check=True)


def test_a_file_of_a_bind_mount_has_the_path_that_its_program_uses(
    bound: tuple[Path, Path], stage: Stage, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, file = bound
    steps = [
        ["write_file", {"path": f"{folder}/orders.log", "times": 3, "size": 7}],
        ["read_file", {"path": str(file), "times": 2, "size": 20}],
    ]
    cgroup = stage.cgroup("bound")
    program = stage.start("steps.py", json.dumps(steps), cgroups=[cgroup])
    with Trace(tmp_path_factory.mktemp("bound"), "--cgroup", cgroup) as trace:
        program.go()
        program.wait_done()
        trace.wait_tick()
        report = trace.stop()
    program.truth()
    assert report.entry("filesystem.files", path=f"{folder}/orders.log")["operations"] == 3
    assert report.entry("filesystem.files", path=str(file))["operations"] == 2
