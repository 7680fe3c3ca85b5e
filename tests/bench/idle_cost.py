"""Cost of tracing an idle target beside a busy neighbour: tracer process and BPF programs together.

usage: idle_cost.py [SECONDS]      20 by default; as root

The kernel's own BPF run-time statistics are on during the measurement only. The neighbour is the
load of a busy small service: look-ups, connects, reads, fsyncs and CPU work, four times over.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kernel import leavings
from kernel.tracing import Trace
from workload.stage import Stage

STATISTICS = Path("/proc/sys/kernel/bpf_stats_enabled")
GOAL_PERCENT = 0.5
DNS_ADDRESS = f"127.78.{os.getpid() % 250}.53"
NEIGHBOURS = 4


def _program_ns(pid: int) -> tuple[int, int]:
    """Return run time and run count of the programs that a process holds, links included."""
    held = set()
    for entry in (Path("/proc") / str(pid) / "fdinfo").iterdir():
        held |= {
            int(number) for number in re.findall(r"^prog_id:\t(\d+)$", entry.read_text(), re.M)
        }
    totals = [leavings.run_time(number) for number in held]
    return sum(ns for ns, _ in totals), sum(count for _, count in totals)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure once and print the parts."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    was_on = STATISTICS.read_text()
    with Stage() as stage:
        dns = stage.start("dns_server.py", "--address", DNS_ADDRESS, "--delay-ms", 1)
        server = stage.start("tcp_server.py", "--listen", "127.0.0.1", "--refuse", "127.0.0.1")
        idle, busy = stage.cgroup("idle"), stage.cgroup("busy")
        stage.start("steps.py", json.dumps([]), cgroups=[idle])
        neighbours = [
            stage.start(
                *("fault.py", "healthy", "--seconds", seconds + 10, "--dns", DNS_ADDRESS),
                *("--tcp", "127.0.0.1", "--port", server.facts["port"]),
                *("--file", stage.folder / f"data{number}"),
                cgroups=[busy],
            )
            for number in range(NEIGHBOURS)
        ]
        with Trace(stage.folder / "traces", "--cgroup", idle) as trace:
            tracer = trace.tracer_pid()
            for neighbour in neighbours:
                neighbour.go()
            time.sleep(2)
            try:
                STATISTICS.write_text("1")
                begun, cpu, (ns, count) = (
                    time.monotonic(),
                    _cpu_seconds(tracer),
                    _program_ns(tracer),
                )
                time.sleep(seconds)
                lasted = time.monotonic() - begun
                cpu = _cpu_seconds(tracer) - cpu
                after_ns, after_count = _program_ns(tracer)
            finally:
                STATISTICS.write_text(was_on)
            trace.stop()
        del dns
    user, kernel = 100 * cpu / lasted, 100 * (after_ns - ns) / 1e9 / lasted
    print(f"idle target, busy neighbour, {lasted:.0f} s; percent of one core\n")
    print(f"tracer process   {user:6.2f} %")
    print(
        f"BPF programs     {kernel:6.2f} %   ({(after_count - count) / lasted:,.0f} runs a second)"
    )
    print(f"together         {user + kernel:6.2f} %   (goal <= {GOAL_PERCENT} %)")


if __name__ == "__main__":
    main()
