"""Readers of a log, in a folder that stands for /proc."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from podtracer.listeners import FIRST_NS, LOOK_NS, Listeners

SECOND = 1_000_000_000
LOG = re.compile("/tools_podtrace-x_u1/.*\\.log")
PATH = "/var/log/pods/tools_podtrace-x_u1/tracer/0.log"
RUNTIME, KUBELET = 300, 400
POD_UID = "6c6b1d2e-aa00-4ef0-bd8c-000000000001"


class Proc:
    """Processes with open files; the flags are those of fdinfo."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cgroup("self", "/kubepods/podother/x")

    def open(self, pid: int, number: int, path: str, flags: int) -> None:
        for name in ("fd", "fdinfo"):
            (self.folder / str(pid) / name).mkdir(parents=True, exist_ok=True)
        (self.folder / str(pid) / "fd" / str(number)).symlink_to(path)
        info = self.folder / str(pid) / "fdinfo" / str(number)
        info.write_text(f"pos:\t0\nflags:\t0{flags | os.O_CLOEXEC:o}\nmnt_id:\t29\n")

    def close(self, pid: int, number: int) -> None:
        (self.folder / str(pid) / "fd" / str(number)).unlink()

    def cgroup(self, pid: int | str, path: str) -> None:
        (self.folder / str(pid)).mkdir(parents=True, exist_ok=True)
        (self.folder / str(pid) / "cgroup").write_text(f"0::{path}\n")

    def listeners(self, patience_seconds: float = 30) -> Listeners:
        listeners = Listeners(LOG, patience_seconds, str(self.folder))
        listeners.check()
        listeners.begin(0)
        return listeners


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    proc = Proc(tmp_path)
    proc.open(RUNTIME, 7, PATH, os.O_WRONLY | os.O_APPEND)
    proc.open(RUNTIME, 8, "pipe:[77]", os.O_RDONLY)
    proc.open(200, 3, "/var/log/pods/tools_podtrace-y_u2/tracer/0.log", os.O_RDONLY)
    return proc


def scraped(patience_seconds: float, *seconds: int, proc: Proc) -> Listeners:
    """Return listeners of which one reads the metrics at these seconds, and none the log."""
    now = [0]

    def scraped_ns() -> int | None:
        return max((s * SECOND for s in seconds if s <= now[0]), default=None)

    listeners = Listeners(LOG, patience_seconds, str(proc.folder), scraped_ns)
    listeners.check()
    listeners.begin(0)
    unheard = listeners.unheard

    def look(now_ns: int) -> bool:
        now[0] = now_ns // SECOND
        return unheard(now_ns)

    listeners.unheard = look  # type: ignore[method-assign]
    return listeners


@pytest.mark.parametrize(
    ("seconds", "end"), [((), 30), ((25,), 145), ((1,), 125), ((0, 100, 200), 320)]
)
def test_who_reads_the_metrics_is_a_listener_for_two_minutes(
    proc: Proc, seconds: tuple[int, ...], end: int
) -> None:
    assert unheard_at(scraped(30, *seconds, proc=proc), 1000) == end


def unheard_at(listeners: Listeners, until: int) -> int | None:
    """Look every second and return the second at which nobody has listened for too long."""
    return next((s for s in range(until) if listeners.unheard(s * SECOND)), None)


def test_log_that_nobody_reads_is_unheard_after_a_while(proc: Proc) -> None:
    assert unheard_at(proc.listeners(), 200) == FIRST_NS // SECOND


def test_log_that_is_read_is_heard(proc: Proc) -> None:
    proc.open(KUBELET, 9, PATH, os.O_RDONLY)
    assert unheard_at(proc.listeners(), 200) is None


@pytest.mark.parametrize(
    "path", [PATH + ".20240102-030405", PATH + " (deleted)", PATH.replace("0.log", "3.log")]
)
def test_rotated_and_deleted_logs_are_read_too(proc: Proc, path: str) -> None:
    proc.open(KUBELET, 9, path, os.O_RDONLY)
    assert unheard_at(proc.listeners(), 200) is None


def test_log_is_unheard_when_the_reader_has_gone_for_too_long(proc: Proc) -> None:
    proc.open(KUBELET, 9, PATH, os.O_RDONLY)
    listeners = proc.listeners(30)
    assert unheard_at(listeners, 100) is None
    proc.close(KUBELET, 9)
    late = next(s for s in range(100, 200) if listeners.unheard(s * SECOND))
    assert 100 + 30 - LOOK_NS // SECOND <= late <= 100 + 30 + LOOK_NS // SECOND


def test_another_reader_in_time_is_as_good(proc: Proc) -> None:
    proc.open(KUBELET, 9, PATH, os.O_RDONLY)
    listeners = proc.listeners()
    assert unheard_at(listeners, 50) is None
    proc.close(KUBELET, 9)
    assert not any(listeners.unheard(s * SECOND) for s in range(50, 70))
    proc.open(500, 4, PATH, os.O_RDONLY)
    assert not any(listeners.unheard(s * SECOND) for s in range(70, 200))


def test_process_that_writes_the_log_is_no_reader(proc: Proc) -> None:
    proc.open(RUNTIME, 9, PATH, os.O_RDONLY)
    assert unheard_at(proc.listeners(), 100) == FIRST_NS // SECOND


def test_collector_in_a_pod_is_no_reader(proc: Proc) -> None:
    proc.open(500, 4, PATH, os.O_RDONLY)
    proc.cgroup(500, f"/../../burstable/pod{POD_UID}/abc")
    assert unheard_at(proc.listeners(), 100) == FIRST_NS // SECOND


def test_node_that_is_itself_in_a_pod_has_readers(proc: Proc) -> None:
    proc.open(KUBELET, 9, PATH, os.O_RDONLY)
    proc.cgroup(KUBELET, f"/kubepods/pod{POD_UID}/node/kubelet.service")
    proc.cgroup("self", f"/kubepods/pod{POD_UID}/node/kubepods/pod{POD_UID[:-1]}2/x")
    assert unheard_at(proc.listeners(), 200) is None


def test_reader_is_asked_first_and_seldom(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    proc.open(KUBELET, 9, PATH, os.O_RDONLY)
    listeners = proc.listeners()
    assert unheard_at(listeners, 6) is None
    asked: list[str] = []
    real = os.listdir
    monkeypatch.setattr("os.listdir", lambda folder: asked.append(str(folder)) or real(folder))
    assert not any(listeners.unheard(s * SECOND) for s in range(6, 26))
    assert asked == [f"{proc.folder}/{KUBELET}/fd"] * 4


def test_without_a_writer_readers_cannot_be_told(tmp_path: Path) -> None:
    proc = Proc(tmp_path)
    proc.open(KUBELET, 9, PATH, os.O_RDONLY)
    listeners = proc.listeners(0)
    assert not listeners.possible
    assert "open for writing" in str(listeners.reason)
    assert unheard_at(listeners, 100) is None


def test_without_a_name_there_is_no_log_to_look_for(tmp_path: Path) -> None:
    listeners = Listeners(None, 0, str(tmp_path))
    listeners.check()
    assert listeners.reason == "the tracer does not know which pod it is"
    assert not listeners.unheard(10**12)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A real log file, at the place where its writer, a process in the folder, sees it."""
    folder = tmp_path / "300/root/var/log/pods/tools_podtrace-x_u1/tracer"
    folder.mkdir(parents=True)
    log = folder / "0.log"
    log.write_text("")
    return log


def test_reader_that_does_not_come_again_has_gone(proc: Proc, log: Path) -> None:
    listeners = proc.listeners(30)
    proc.open(KUBELET, 9, PATH, os.O_RDONLY)
    log.read_text()
    assert unheard_at(listeners, 100) in range(30, 45)


def test_reader_that_comes_again_and_again_is_heard(proc: Proc, log: Path) -> None:
    listeners = proc.listeners(30)
    proc.open(KUBELET, 9, PATH, os.O_RDONLY)
    for second in range(200):
        if second % 10 == 0:
            log.read_text()
        assert not listeners.unheard(second * SECOND)


def test_collector_that_opens_the_log_is_no_reader_without_a_descriptor(
    proc: Proc, log: Path
) -> None:
    listeners = proc.listeners(30)
    for second in range(FIRST_NS // SECOND):
        log.read_text()
        assert not listeners.unheard(second * SECOND)
    assert listeners.unheard(FIRST_NS)
