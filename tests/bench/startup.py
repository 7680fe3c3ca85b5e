"""Time from the start of the command to attached probes, with a cold and a warm header cache.

usage: startup.py [TIMES]      5 by default; as root
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kernel.tracing import Trace
from workload.stage import Stage


def main() -> None:
    """Start again and again and print the medians."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds: dict[str, list[float]] = {"cold": [], "warm": []}
    with Stage() as stage:
        cgroup = stage.cgroup("startup")
        stage.start("steps.py", json.dumps([]), cgroups=[cgroup])
        for number in range(times):
            environment = {"XDG_CACHE_HOME": str(stage.folder / f"cache{number}")}
            for cache in ("cold", "warm"):
                folder = stage.folder / "traces"
                with Trace(folder, "--cgroup", cgroup, environment=environment) as trace:
                    waited_ns = trace.hello["window_start_ns"] - trace.started_ns
                    seconds[cache].append(waited_ns / 1e9)
                    trace.stop()
    print(f"start of the command -> all probes attached, {times} times each\n")
    print(f"{'header cache':16}{'median':>10}{'slowest':>10}")
    for cache, values in seconds.items():
        print(f"{cache:16}{statistics.median(values):8.2f} s{max(values):8.2f} s")


if __name__ == "__main__":
    main()
