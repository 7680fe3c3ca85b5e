"""What the tracer itself costs: CPU time, memory, and an estimate of the probes' own time."""

from __future__ import annotations

import os
import random
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podtracer import bpf
from podtracer.probes import WITHIN_ITSELF

_SAMPLE_NS = 50_000_000
_PAUSE_NS = (1_500_000_000, 3_500_000_000)
_NEVER_NS = 1 << 63


def resident_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


class OwnCost:
    """Own CPU time since the last look, and memory now.

    `memory_file` holds what the own cgroup is charged, the probes' tables included; None where the
    tracer shares its cgroup with others.
    """

    def __init__(self, memory_file: str | None = None) -> None:
        self._before_ns = time.process_time_ns()
        self._memory_file = memory_file

    def fields(self) -> dict[str, Any]:
        """Return the fields of the health line."""
        now_ns = time.process_time_ns()
        spent = now_ns - self._before_ns
        self._before_ns = now_ns
        return {
            "tracer_cpu_ns": spent,
            "tracer_rss_bytes": resident_bytes(),
            "tracer_cgroup_bytes": self._cgroup_bytes(),
        }

    def _cgroup_bytes(self) -> int | None:
        if self._memory_file is None:
            return None
        try:
            return int(Path(self._memory_file).read_text())
        except (OSError, ValueError):
            return None


class RunTime:
    """Estimate of the time that the probes take, from samples.

    The kernel's statistics are global and cost every BPF program of the node, so they are on for
    50 ms now and then, a fiftieth of the time, and the rest is extrapolated. The pauses between are
    of random length, so that work with a beat of its own is not met at the same beat always.
    """

    def __init__(self, programs: Mapping[str, int]) -> None:
        self._programs = programs
        self._switch: int | None = None
        self._began_ns = 0
        self._began_total = 0
        self._next_ns = 0
        self._spent_ns = 0
        self._sampled_ns = 0
        self._misses = 0
        self._taken_over = 0

    def wake_ns(self) -> int:
        """When `step` has something to do next, in monotonic nanoseconds."""
        return self._began_ns + _SAMPLE_NS if self._switch is not None else self._next_ns

    def step(self, now_ns: int) -> None:
        """Begin or end a sample when its time has come."""
        if now_ns < self.wake_ns():
            return
        if self._switch is None:
            try:
                self._switch = bpf.enable_run_time_statistics()
            except OSError:
                self._next_ns = _NEVER_NS
                return
            self._began_ns = time.monotonic_ns()
            self._began_total = self._total()
            return
        spent = self._total() - self._began_total
        elapsed = time.monotonic_ns() - self._began_ns
        self.close()
        self._spent_ns += spent
        self._sampled_ns += elapsed
        self._next_ns = now_ns + random.randint(*_PAUSE_NS)

    def estimate_ns(self, interval_ns: int) -> int | None:
        """Estimated time of all programs in an interval, None before the first sample."""
        if not self._sampled_ns:
            return None
        return self._spent_ns * interval_ns // self._sampled_ns

    def _total(self) -> int:
        return sum(bpf.program_info(fd).run_time_ns for fd in self._programs.values())

    def recursion_misses(self, taken_over: int) -> int:
        """Runs that the kernel skipped since the last call because the program was running.

        Without those that another program took over since then; that one is skipped itself only
        where there is nothing for it to do, or where the other was, too.
        """
        self._taken_over += taken_over
        total = sum(
            bpf.program_info(fd).recursion_misses
            for name, fd in self._programs.items()
            if name != WITHIN_ITSELF
        )
        # A skipped run may be seen one look later than that it was taken over.
        missed = max(total - self._taken_over - self._misses, 0)
        self._misses += missed
        return missed

    def close(self) -> None:
        """End a sample that is under way."""
        if self._switch is not None:
            os.close(self._switch)
            self._switch = None
