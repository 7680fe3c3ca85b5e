"""What the page of metrics costs: latency of scrapes, CPU time at rest, memory after many names.

usage: metrics_cost.py [SHORT]      as root; SHORT is the number of short-lived processes (100000)
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tracer-image"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugin"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kernel.metered import MeteredTrace
from metrics_page import Page
from workload.stage import Stage

RESIDENTS = 100
PARALLEL = 20
ROUNDS = 20
SETTLE_SECONDS = 12
REST_SECONDS = 30
DNS_ADDRESS = f"127.79.{os.getpid() % 250}.53"
GOAL_MILLISECONDS = 50
GOAL_PERCENT = 1.0
_REQUEST = b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n"
_AS_PROMETHEUS = b"Accept-Encoding: gzip\r\n"


def _scrape(host: str, port: int, field: bytes = _AS_PROMETHEUS) -> tuple[float, int]:
    """Return seconds and bytes of one scrape, from the connect to the last byte."""
    buffer, size = bytearray(1 << 20), 0
    began = time.perf_counter()
    with socket.create_connection((host, port), timeout=60) as sock:
        sock.sendall(_REQUEST + field + b"\r\n")
        while count := sock.recv_into(buffer):
            size += count
    return time.perf_counter() - began, size


def _parallel(trace: MeteredTrace, field: bytes) -> tuple[list[float], int]:
    """Scrape from PARALLEL processes at the same moments; return all latencies, and the size."""
    start = time.time() + 2
    children = []
    for _ in range(PARALLEL):
        reading, writing = os.pipe()
        if os.fork() == 0:
            results = []
            for number in range(ROUNDS):
                # Another phase of the tick each time.
                time.sleep(max(start + number * 1.05 - time.time(), 0))
                results.append(_scrape(trace.host, trace.port, field))
            os.write(writing, json.dumps(results).encode())
            os._exit(0)
        os.close(writing)
        children.append(reading)
    found: list[tuple[float, int]] = []
    for reading in children:
        with os.fdopen(reading) as file:
            found += json.load(file)
        os.wait()
    return sorted(seconds for seconds, _ in found), max(size for _, size in found)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _percent(trace: MeteredTrace, seconds: float, every: float | None) -> float:
    """Return the tracer's share of a core while it is scraped so often."""
    pid, began, before = trace.process.pid, time.monotonic(), _cpu_seconds(trace.process.pid)
    while (left := began + seconds - time.monotonic()) > 0:
        if every is not None:
            _scrape(trace.host, trace.port)
        time.sleep(min(left, every or left))
    return 100 * (_cpu_seconds(pid) - before) / (time.monotonic() - began)


@contextmanager
def _traced(stage: Stage, name: str) -> Iterator[tuple[MeteredTrace, Path]]:
    cgroup = stage.cgroup(name)
    with MeteredTrace(stage.folder, "--cgroup", cgroup) as trace:
        yield trace, cgroup


def _at_rest(stage: Stage) -> None:
    cgroup = stage.cgroup("idle")
    stage.start("steps.py", json.dumps([]), cgroups=[cgroup])
    with MeteredTrace(stage.folder, "--cgroup", cgroup) as trace:
        time.sleep(3)
        print(f"idle target, {REST_SECONDS} s each; the tracer's percent of one core")
        for every, words in ((None, "not scraped"), (15.0, "every 15 s"), (1.0, "every second")):
            print(f"  {words:24}{_percent(trace, REST_SECONDS, every):6.2f} %")
        print(f"  goal                      <= {GOAL_PERCENT} %")
        print(f"  resident memory         {_resident_mib(trace.process.pid):6.1f} MiB\n")


def _busy(stage: Stage) -> None:
    server = stage.start("tcp_server.py", "--listen", "127.0.0.1")
    stage.start("dns_server.py", "--address", DNS_ADDRESS)
    with _traced(stage, "residents") as (trace, cgroup):
        where = ("--dns", DNS_ADDRESS, "--tcp", "127.0.0.1", "--port", server.facts["port"])
        residents = stage.start(
            *("names.py", "live", RESIDENTS, *where, "--folder", stage.folder), cgroups=[cgroup]
        )
        residents.go()
        time.sleep(SETTLE_SECONDS)
        page = trace.page()
        print(f"{RESIDENTS} processes, each family in use: {_lines(page):,} lines")
        print(f"  not scraped             {_percent(trace, 15, None):6.2f} % of a core")
        print(f"  every second            {_percent(trace, 15, 1.0):6.2f} % of a core")
        for words, field in (("as Prometheus asks", _AS_PROMETHEUS), ("not compressed", b"")):
            seconds, size = _parallel(trace, field)
            p50, p99 = statistics.median(seconds), seconds[int(len(seconds) * 0.99)]
            print(f"  {PARALLEL} scrapes at once, {ROUNDS} times, {words}: {size:,} bytes each")
            print(f"    p50                   {1000 * p50:6.1f} ms")
            print(f"    p99                   {1000 * p99:6.1f} ms  (goal <= {GOAL_MILLISECONDS})")
        print(f"  lost                    {_lost(trace.page())!s:>6}")
        print(f"  resident memory         {_resident_mib(trace.process.pid):6.1f} MiB\n")


def _lines(page: Page) -> int:
    return sum(not line.startswith("#") for line in page.text.splitlines())


def _lost(page: Page) -> dict[str, float]:
    samples = page.samples["podtrace_lost_total"].items()
    return {dict(labels)["place"]: count for labels, count in samples if count}


def _many_names(stage: Stage, count: int) -> None:
    name = "podtrace_operations_total"
    with _traced(stage, "brief") as (trace, cgroup):
        program = stage.start("names.py", "pass", count, cgroups=[cgroup])
        before = _resident_mib(trace.process.pid)
        program.go()
        began, totals, most_series = time.monotonic(), [0.0], 0
        while time.monotonic() - began < 600:
            page = trace.page()
            totals.append(page.total(name))
            most_series = max(most_series, _lines(page))
            if page.total(name, type="exit") >= count:
                break
        lasted = time.monotonic() - began
        page = trace.page()
        listed = {labels["process_name"] for labels in page.labels_of(name)}
        print(f"{count:,} processes of as many names, one after the other, {lasted:.0f} s")
        print(f"  exits counted           {page.total(name, type='exit'):10,.0f}")
        print(f"  lost                    {_lost(page)!s:>10}")
        print(f"  names, other included   {len(listed):10,}")
        print(f"  lines at most           {most_series:10,}")
        print(f"  sums fell               {totals != sorted(totals)!s:>10}")
        after = _resident_mib(trace.process.pid)
        print(f"  resident memory         {before:10.1f} MiB before, {after:.1f} MiB after")


def main() -> None:
    """Measure all three and print them."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with Stage() as stage:
        _at_rest(stage)
        _busy(stage)
        _many_names(stage, count)


if __name__ == "__main__":
    main()
