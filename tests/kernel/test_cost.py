"""What the tracer costs: time to the first count, memory, work while nothing happens."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path

from kernel.neighbours import Neighbours
from kernel.tracing import Trace
from workload.stage import Stage

READY_SECONDS = 2.5
RESIDENT_BYTES = 40 << 20
IDLE_SECONDS = 6.0
IDLE_SHARE_OF_A_CORE = 0.005
TRIES = 5


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process that is not within one of its threads' ends."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def test_counts_soon_after_start_with_a_cold_cache(stage: Stage, tmp_path: Path) -> None:
    """The best of some tries: other programs of the machine may be in the way of one."""
    cgroup = stage.cgroup("start")
    steps = [["write_file", {"path": str(stage.folder / "data"), "times": 10}]]
    waits = []
    for number in range(TRIES):
        program = stage.start("steps.py", json.dumps(steps), cgroups=[cgroup])
        cache = tmp_path / f"cache{number}"
        environment = {"XDG_CACHE_HOME": str(cache)}
        neighbours = Neighbours()
        with Trace(tmp_path, "--cgroup", cgroup, environment=environment) as trace:
            waits.append((trace.hello["window_start_ns"] - trace.started_ns) / 1e9)
            program.go()
            program.wait_done()
            trace.wait_tick()
            assert trace.stop()["filesystem.write.count"] == 10
        program.truth()
        if waits[-1] <= neighbours.limit(READY_SECONDS):
            return
    raise AssertionError(f"attached after {waits} s")


def test_tracer_is_small_and_rests_when_the_target_does(stage: Stage, tmp_path: Path) -> None:
    cgroup = stage.cgroup("idle")
    target = stage.start("steps.py", json.dumps([]), cgroups=[cgroup])
    with Trace(tmp_path, "--cgroup", cgroup) as trace:
        trace.wait_tick()
        tracer = trace.tracer_pid()
        assert _resident_bytes(tracer) <= RESIDENT_BYTES
        neighbours = Neighbours()
        before, begun = _cpu_seconds(tracer), time.monotonic()
        time.sleep(IDLE_SECONDS)
        used = _cpu_seconds(tracer) - before
        share = used / (time.monotonic() - begun)
        # The same work takes more CPU time on a core that others use too.
        most = neighbours.limit(IDLE_SHARE_OF_A_CORE)
        resident = _resident_bytes(tracer)
        report = trace.stop()
    target.truth()
    assert share <= most
    assert resident <= RESIDENT_BYTES
    assert report["quality.tracer_memory_bytes"] <= RESIDENT_BYTES
    assert report["quality.map_bytes"] <= 32 << 20
