from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from podtracer import bpf
from podtracer.cost import OwnCost, RunTime, resident_bytes
from podtracer.probes import WITHIN_ITSELF

SECOND = 1_000_000_000
SAMPLE = 50_000_000


class Kernel:
    """Two programs that take time, a clock, and the switch of the kernel's statistics."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 10 * SECOND
        self.run_time_ns = {7: 1000, 8: 500}
        self.misses = {7: 2, 8: 1}
        self.refuses = False
        self.switches: list[int] = []
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.now_ns)
        monkeypatch.setattr(bpf, "enable_run_time_statistics", self._enable)
        monkeypatch.setattr(
            bpf,
            "program_info",
            lambda fd: bpf.ProgramInfo(self.run_time_ns[fd], 1, self.misses[fd]),
        )

    def _enable(self) -> int:
        if self.refuses:
            raise bpf.BpfError(errno.EPERM, "enable statistics")
        self.switches.append(os.open("/dev/null", os.O_RDONLY))
        return self.switches[-1]

    @property
    def on(self) -> bool:
        return any(os.path.exists(f"/proc/self/fd/{fd}") for fd in self.switches)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@pytest.fixture
def run_time(kernel: Kernel) -> Iterator[RunTime]:
    run_time = RunTime({"one": 7, "other": 8})
    yield run_time
    run_time.close()


def sample(run_time: RunTime, kernel: Kernel, spent_ns: int, took_ns: int = SAMPLE) -> None:
    kernel.now_ns = max(kernel.now_ns, run_time.wake_ns())
    run_time.step(kernel.now_ns)
    assert kernel.on
    kernel.run_time_ns[7] += spent_ns - 100
    kernel.run_time_ns[8] += 100
    kernel.now_ns += took_ns
    run_time.step(kernel.now_ns)
    assert not kernel.on


def test_there_is_no_estimate_before_the_first_sample(run_time: RunTime, kernel: Kernel) -> None:
    assert run_time.estimate_ns(SECOND) is None
    run_time.step(kernel.now_ns)
    assert run_time.estimate_ns(SECOND) is None


def test_estimate_is_the_share_of_the_samples(run_time: RunTime, kernel: Kernel) -> None:
    sample(run_time, kernel, 1_000_000)
    assert run_time.estimate_ns(SECOND) == 20_000_000
    assert run_time.estimate_ns(SECOND // 2) == 10_000_000
    sample(run_time, kernel, 4_000_000, took_ns=2 * SAMPLE)
    assert run_time.estimate_ns(SECOND) == 5_000_000 * SECOND // (3 * SAMPLE)


def test_a_sample_goes_on_until_its_time_has_come(run_time: RunTime, kernel: Kernel) -> None:
    run_time.step(kernel.now_ns)
    assert run_time.wake_ns() == kernel.now_ns + SAMPLE
    run_time.step(kernel.now_ns + SAMPLE - 1)
    assert kernel.on
    assert len(kernel.switches) == 1


def test_statistics_are_on_for_a_small_part_of_the_time(run_time: RunTime, kernel: Kernel) -> None:
    pauses = set()
    for _ in range(50):
        sample(run_time, kernel, 1_000)
        pauses.add(run_time.wake_ns() - kernel.now_ns)
        run_time.step(kernel.now_ns + 1)
        assert not kernel.on
    assert SECOND < min(pauses) <= max(pauses) < 4 * SECOND
    assert len(pauses) > 40


def test_a_kernel_that_refuses_statistics_is_asked_once_and_wakes_nobody(
    run_time: RunTime, kernel: Kernel
) -> None:
    kernel.refuses = True
    run_time.step(kernel.now_ns)
    kernel.refuses = False
    assert run_time.wake_ns() > kernel.now_ns + 3600 * SECOND
    run_time.step(kernel.now_ns + SECOND)
    assert not kernel.on
    assert run_time.estimate_ns(SECOND) is None


def test_closing_ends_a_sample(run_time: RunTime, kernel: Kernel) -> None:
    run_time.step(kernel.now_ns)
    run_time.close()
    run_time.close()
    assert not kernel.on


def test_skipped_runs_are_told_once(run_time: RunTime, kernel: Kernel) -> None:
    assert run_time.recursion_misses(0) == 3
    kernel.misses[8] = 6
    assert run_time.recursion_misses(0) == 5
    assert run_time.recursion_misses(0) == 0


def test_skipped_runs_that_were_taken_over_are_none(run_time: RunTime, kernel: Kernel) -> None:
    run_time.recursion_misses(0)
    kernel.misses[8] += 4
    assert run_time.recursion_misses(3) == 1
    # The look at the programs comes a moment after that at the table.
    assert run_time.recursion_misses(1) == 0
    kernel.misses[8] += 1
    assert run_time.recursion_misses(0) == 0
    kernel.misses[8] += 1
    assert run_time.recursion_misses(0) == 1


def test_the_program_that_takes_over_is_skipped_for_nothing(kernel: Kernel) -> None:
    run_time = RunTime({"one": 7, WITHIN_ITSELF: 8})
    kernel.misses[8] = 100
    assert run_time.recursion_misses(0) == kernel.misses[7]


def test_own_cost_is_what_was_spent_since_the_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((100, 350, 360))
    monkeypatch.setattr(time, "process_time_ns", lambda: next(times))
    cost = OwnCost()
    assert [cost.fields()["tracer_cpu_ns"] for _ in range(2)] == [250, 10]


def test_resident_memory_is_that_of_this_process() -> None:
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    assert resident_bytes() == pytest.approx(int(line.split()[1]) * 1024, rel=0.2)


def test_memory_of_the_own_cgroup_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "memory.current"
    cost = OwnCost(str(file))
    assert cost.fields()["tracer_cgroup_bytes"] is None
    file.write_text("4096\n")
    assert cost.fields()["tracer_cgroup_bytes"] == 4096
    assert OwnCost().fields()["tracer_cgroup_bytes"] is None
