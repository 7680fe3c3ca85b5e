"""The highest rates that this machine offers: at least 95 % received, the rest counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernel.servers import DNS_ADDRESS
from kernel.tracing import Report, Trace
from workload.stage import Program, Stage, StageError

SECONDS = 3
LEAST_RECEIVED = 0.95


def _run(folder: Path, cgroup: Path, program: Program) -> tuple[Report, dict[str, Any]]:
    with Trace(folder, "--cgroup", cgroup) as trace:
        program.go()
        program.wait_done()
        trace.wait_tick()
        report = trace.stop()
        return report, program.truth()


def _lost(report: Report) -> int:
    return int(report["quality.lost_total"])


def test_reads_by_every_cpu(stage: Stage, tmp_path: Path, compiled: Path) -> None:
    data = stage.folder / "data"
    data.write_bytes(bytes(1 << 20))
    cgroup = stage.cgroup("reads")
    program = stage.start(compiled / "syscall_rate", data, SECONDS, 2, cgroups=[cgroup])
    report, truth = _run(tmp_path, cgroup, program)
    received = report["filesystem.read.count"]
    assert received >= LEAST_RECEIVED * truth["reads"]
    assert truth["reads"] <= received + _lost(report) <= truth["reads"] + 50
    assert report["filesystem.read.bytes"] >= 0.99 * LEAST_RECEIVED * truth["reads"]


@pytest.mark.parametrize("per_second", [20_000])
def test_connect_storm(stage: Stage, tmp_path: Path, compiled: Path, per_second: int) -> None:
    server = stage.start(compiled / "network_rate", "accept", "127.0.0.1", 0)
    cgroup = stage.cgroup("connects")
    program = stage.start(
        compiled / "network_rate",
        *("connect", "127.0.0.1", server.facts["port"], SECONDS, per_second),
        cgroups=[cgroup],
    )
    report, truth = _run(tmp_path, cgroup, program)
    received = report["connections.latency.count"] + report["connections.failed"]
    assert received >= LEAST_RECEIVED * truth["connects"]
    assert received + _lost(report) >= truth["connects"]
    assert report["connections.latency.count"] <= truth["established"]


@pytest.mark.parametrize("per_second", [20_000])
def test_dns_storm(stage: Stage, tmp_path: Path, compiled: Path, per_second: int) -> None:
    try:
        stage.start(compiled / "network_rate", "answer", DNS_ADDRESS, 53)
    except StageError:
        pytest.skip(f"port 53 of {DNS_ADDRESS} is taken")
    cgroup = stage.cgroup("queries")
    program = stage.start(
        compiled / "network_rate",
        *("dns", DNS_ADDRESS, 53, SECONDS, per_second),
        cgroups=[cgroup],
    )
    report, truth = _run(tmp_path, cgroup, program)
    assert report["dns.queries"] + _lost(report) >= truth["queries"]
    assert report["dns.latency.count"] >= LEAST_RECEIVED * truth["answers"]
    assert report["dns.latency.count"] + report["dns.pending"] <= truth["queries"]
