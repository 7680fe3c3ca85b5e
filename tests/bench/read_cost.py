"""Added cost of a 1-byte read() of a regular file, in the target and in a neighbour.

usage: read_cost.py [ROUNDS]      7 by default; as root, with bpftrace and a C compiler

Each round measures, one after the other in the same minute of the machine's mood: no tracer,
podtrace, bpftrace, no tracer. bpftrace gets the same work: one cgroup, the same file test, a
histogram by process. The figure of a run is its median batch; that of a tracer is the median over
rounds of what it added to the round's runs without a tracer.
"""

from __future__ import annotations

import os
import select
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kernel.tracing import Trace
from workload.stage import Stage, compile_c

RUN_SECONDS = 0.7
TARGET_LIMIT = 0.4
NEIGHBOUR_LIMIT = 0.6
PLACES = ("target", "neighbour")
SCRIPT = """
BEGIN {{ printf("ready\\n"); }}
tracepoint:syscalls:sys_enter_read /cgroup == cgroupid("{cgroup}")/ {{
  $file = *(curtask->files->fdt->fd + args->fd);
  if (($file->f_inode->i_mode & 0xf000) == 0x8000) {{ @start[tid] = nsecs; }}
}}
tracepoint:syscalls:sys_exit_read /@start[tid]/ {{
  @ns[pid] = hist(nsecs - @start[tid]);
  delete(@start[tid]);
}}
"""


@contextmanager
def bpftrace(cgroup: Path) -> Iterator[None]:
    """Run the same measurement in bpftrace; its tracefs is mounted for it alone."""
    line = 'mount -t tracefs nodev /sys/kernel/tracing && exec bpftrace -B line -e "$0"'
    process = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", line, SCRIPT.format(cgroup=cgroup)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        deadline = time.monotonic() + 30
        seen = b""
        while b"ready\n" not in seen:
            if not select.select([process.stdout], [], [], deadline - time.monotonic())[0]:
                raise RuntimeError("bpftrace is not ready after 30 s")
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                raise RuntimeError(f"bpftrace ended with exit code {process.wait()}")
            seen += data
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


class Bench:
    """Two cgroups, a file in memory, and the reader."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.reader = compile_c("syscall_rate.c", stage.folder)
        self.file = stage.memory_file("data", size=1 << 20)
        self.cgroups = {place: stage.cgroup(place) for place in PLACES}

    def read_ns(self, place: str) -> float:
        """Return the nanoseconds of one read in the median batch."""
        cgroups = [self.cgroups[place]]
        program = self.stage.start(self.reader, self.file, RUN_SECONDS, cgroups=cgroups)
        program.go()
        program.wait_done()
        return float(program.truth()["median_ns"])

    def both(self) -> dict[str, float]:
        """Return the cost of a read in either place."""
        return {place: self.read_ns(place) for place in PLACES}

    def round(self) -> dict[str, dict[str, float]]:
        """Return what each tracer added in one round, and the base."""
        base = self.both()
        with Trace(self.stage.folder, "--cgroup", self.cgroups["target"]) as trace:
            traced = self.both()
            reads = trace.stop()["filesystem.read.count"]
        if not reads:
            raise RuntimeError("podtrace counted no reads: nothing was measured")
        with bpftrace(self.cgroups["target"]):
            compared = self.both()
        again = self.both()
        middle = {place: (base[place] + again[place]) / 2 for place in PLACES}
        return {
            "base": middle,
            "podtrace": {place: traced[place] - middle[place] for place in PLACES},
            "bpftrace": {place: compared[place] - middle[place] for place in PLACES},
        }


def main() -> None:
    """Run the rounds and print one table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    results = []
    with Stage() as stage:
        bench = Bench(stage)
        for number in range(rounds):
            results.append(bench.round())
            sys.stderr.write(f"round {number + 1} of {rounds}: {results[-1]}\n")
    print(f"1-byte read() of a regular file, {rounds} rounds, nanoseconds added (median)\n")
    print(f"{'':12}{'no tracer':>12}{'podtrace':>12}{'bpftrace':>12}{'ratio':>10}{'goal':>10}")
    for place, limit in zip(PLACES, (TARGET_LIMIT, NEIGHBOUR_LIMIT), strict=True):
        base, own, other = (
            statistics.median(result[what][place] for result in results)
            for what in ("base", "podtrace", "bpftrace")
        )
        ratio = own / other
        print(f"{place:12}{base:12.0f}{own:+12.0f}{other:+12.0f}{ratio:10.2f}{f'<= {limit}':>10}")


if __name__ == "__main__":
    main()
