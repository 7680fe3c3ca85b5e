"""Too small maps and rings lose nothing unseen: offered = received + lost, from kernel counters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kernel.servers import DNS_ADDRESS, start_servers
from kernel.tracing import Report, Trace
from workload.stage import Stage


def _trace(
    stage: Stage, folder: Path, steps: list[Any], **sizes: Any
) -> tuple[Report, list[dict[str, Any]]]:
    cgroup = stage.cgroup("loss")
    program = stage.start("steps.py", json.dumps(steps), cgroups=[cgroup])
    with Trace(folder, "--cgroup", cgroup, environment=sizes) as trace:
        program.go()
        program.wait_done()
        trace.wait_tick()
        report = trace.stop()
        program.truth()
        return report, trace.lines()


def test_a_full_series_map_counts_under_overflow(stage: Stage, tmp_path: Path) -> None:
    """Fourteen processes write in a map that has room for few (process, metric) pairs."""
    path = str(stage.folder / "data")
    write = "import os; f = os.open({!r}, os.O_RDWR); [os.write(f, b'1') for _ in range(100)]"
    Path(path).touch()
    argv = ["/usr/bin/python3", "-ESc", write.format(path)]
    steps = [
        ["execute", {"argv": argv, "times": 14}],
        ["write_file", {"path": path, "times": 600}],
    ]
    sizes = {"PODTRACE_MAP_ENTRIES": json.dumps({"series": 16})}
    report, _ = _trace(stage, tmp_path, steps, **sizes)
    lost = report["quality.lost"].get("series_full", 0)
    assert report["filesystem.write.count"] + lost == 2000
    assert report["quality.overflow"] > 0


def test_a_full_ring_counts_every_event_that_it_drops(stage: Stage, tmp_path: Path) -> None:
    """Each refused connect is an event line; in a burst a ring of one page cannot hold them."""
    servers = start_servers(stage)
    refused = {"address": "127.0.0.1", "port": servers.refused_port, "times": 3000}
    sizes = {"PODTRACE_RING_BYTES": "4096"}
    report, lines = _trace(stage, tmp_path, [["connect", refused]], **sizes)
    received = sum(line.get("event") == "connect_failed" for line in lines)
    dropped = report["quality.lost"].get("ring_full", 0) + report["quality.suppressed"]
    assert received + dropped == 3000
    assert report["quality.lost"]["ring_full"] > 0
    assert report["connections.failed"] == 3000


@pytest.mark.parametrize("place", ["dns", "sockets"])
def test_a_full_table_of_things_in_flight_is_counted(
    stage: Stage, tmp_path: Path, place: str
) -> None:
    servers = start_servers(stage)
    steps: list[Any]
    if place == "dns":
        names = ["flight.d300.test"] * 64
        steps = [["look_up_at_once", {"server": DNS_ADDRESS, "names": names}]]
    else:
        connect = {"address": "127.0.0.1", "port": servers.port}
        steps = [["connect", {**connect, "keep": f"kept{number}"}] for number in range(64)]
    sizes = {"PODTRACE_MAP_ENTRIES": json.dumps({place: 16})}
    report, _ = _trace(stage, tmp_path, steps, **sizes)
    lost = report["quality.lost"][f"{place}_full"]
    assert lost > 0
    if place == "dns":
        assert report["dns.latency.count"] + lost == 64
    else:
        assert report["connections.latency.count"] + lost == 64
    assert any(issue["id"] == "data_lost" for issue in report["issues"])


def test_a_full_table_of_names_keeps_the_totals(stage: Stage, tmp_path: Path) -> None:
    start_servers(stage, delay_ms=0)
    names = [f"n{number}.test" for number in range(120)]
    steps = [["look_up_at_once", {"server": DNS_ADDRESS, "names": names}]]
    sizes = {"PODTRACE_MAP_ENTRIES": json.dumps({"labels": 16})}
    report, _ = _trace(stage, tmp_path, steps, **sizes)
    assert report["dns.queries"] == 120
    assert report["dns.latency.count"] == 120
    assert sum(entry["count"] for entry in report["dns.targets"]) == 120
