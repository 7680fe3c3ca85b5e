"""Each fault, injected alone into a healthy load, is the first finding; a healthy run has none.

Faults of the network and of storage run four at a time, each traced on its own; those of the CPU,
and the healthy run, have the machine to themselves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kernel.quota import limit
from kernel.servers import DNS_ADDRESS, Servers, start_servers
from kernel.tracing import Report, Trace
from workload.stage import Stage, StageError

SECONDS = 7
BUSY_RATIO = 0.3
FINDINGS = {
    "dns_errors": "dns_errors",
    "dns_slow": "dns_slow",
    "connects_failing": "connects_failing",
    "connects_slow": "connects_slow",
    "rtt_spikes": "rtt_spikes",
    "retransmits": "retransmits",
    "slow_fsync": "fsync_slow",
    "cpu_throttled": "cpu_throttled",
    "cpu_starved": "cpu_waiting",
}
LINKS = {
    "connects_slow": ("--rtt-ms", 4, "--syn-delay-ms", 700),
    "rtt_spikes": ("--rtt-ms", 20, "--spike-every", 11, "--spike-ms", 140),
    "retransmits": ("--rtt-ms", 4, "--drop-every", 9),
}


@dataclass
class Setting:
    """Where one fault runs: its cgroup, the arguments and the wrapper of its workload."""

    join: tuple[Path, ...]
    file: Path
    port: int
    arguments: list[Any] = field(default_factory=list)
    command: list[str] = field(default_factory=list)


def _setting(stage: Stage, fault: str, servers: Servers) -> Setting:
    cgroup = stage.cgroup(fault)
    setting = Setting((cgroup,), stage.memory_file(f"{fault}.data"), servers.port)
    if fault in LINKS:
        link = stage.start("link.py", *LINKS[fault])
        stage.start(
            "tcp_server.py",
            *("--listen", link.facts["near"], "--listen", "127.0.0.1"),
            *("--port", servers.port + 1 + len(stage.programs)),
        )
        setting.port = stage.programs[-1].facts["port"]
        setting.arguments = ["--far", link.facts["far"]]
    elif fault == "slow_fsync":
        disk = stage.folder / "disk"
        disk.mkdir()
        try:
            stage.start("slow_disk.py", disk, "--fsync-ms", 80)
        except StageError:
            pytest.skip("no FUSE here")
        setting.file = disk / "fault.db"
    elif fault == "cpu_throttled":
        setting.join = limit(stage, cgroup, quota_us=15_000).join
    elif fault == "cpu_starved":
        stage.start("competitor.py", "--cpu", 0, "--processes", 4)
        setting.command = ["taskset", "-c", "0"]
    return setting


def _run(folder: Path, faults: list[str]) -> dict[str, Report]:
    with Stage() as stage, contextlib.ExitStack() as stack:
        servers = start_servers(stage, delay_ms=2)
        programs, traces = {}, {}
        for fault in faults:
            setting = _setting(stage, fault, servers)
            programs[fault] = stage.start(
                "fault.py",
                *(fault, "--seconds", SECONDS, "--dns", DNS_ADDRESS, "--tcp", "127.0.0.1"),
                *("--port", setting.port, "--refused-port", servers.refused_port),
                *("--file", setting.file, *setting.arguments),
                cgroups=setting.join,
                command=setting.command,
            )
            trace = Trace(folder / fault, "--cgroup", setting.join[0], wait=False)
            traces[fault] = stack.enter_context(trace)
        for trace in traces.values():
            trace.wait_for("hello")
        for program in programs.values():
            program.go()
        for program in programs.values():
            program.wait_done()
        reports = {}
        for fault, trace in traces.items():
            trace.wait_tick()
            reports[fault] = trace.stop()
        return reports


GROUPS = (
    ("dns_errors", "dns_slow", "connects_failing", "connects_slow"),
    ("rtt_spikes", "retransmits", "slow_fsync"),
    ("cpu_throttled",),
    ("cpu_starved",),
    ("healthy",),
)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Report]]:
    done: dict[str, Report] = {}

    def report(fault: str) -> Report:
        if fault not in done:
            [group] = [group for group in GROUPS if fault in group]
            done.update(_run(tmp_path_factory.mktemp("faults"), list(group)))
        return done[fault]

    yield report


@pytest.mark.parametrize("fault", FINDINGS)
def test_fault_is_the_first_finding(reports: Callable[[str], Report], fault: str) -> None:
    issues = reports(fault)["issues"]
    assert issues, "no finding at all"
    assert issues[0]["id"] == FINDINGS[fault], [issue["title"] for issue in issues]
    assert issues[0]["severity"] in ("warning", "critical")
    assert issues[0]["evidence"]
    assert issues[0]["next_step"]


def _above_info(report: Report) -> set[str]:
    """Return the findings above info, but not that CPUs are short where that is so.

    Several traced workloads, or another program, fill this machine: then that finding is right.
    """
    above = {issue["id"] for issue in report["issues"] if issue["severity"] != "info"}
    if report["cpu.run_queue_ratio"] and _pressure_ratio() > BUSY_RATIO:
        above.discard(FINDINGS["cpu_starved"])
    return above


def _pressure_ratio() -> float:
    """Return the share of the last minute in which some task of the machine waited for a CPU."""
    try:
        line = Path("/proc/pressure/cpu").read_text().splitlines()[0]
    except OSError:
        return 0.0
    return float(line.split("avg60=")[1].split()[0]) / 100


@pytest.mark.parametrize("fault", FINDINGS)
def test_fault_is_the_only_finding_above_info(reports: Callable[[str], Report], fault: str) -> None:
    related = {FINDINGS[fault]}
    if fault == "cpu_throttled":
        related.add(FINDINGS["cpu_starved"])
    if fault == "retransmits":  # a lost answer makes the round trip of its question a spike
        related.add(FINDINGS["rtt_spikes"])
    assert _above_info(reports(fault)) <= related


def test_a_healthy_run_has_no_finding_above_info(reports: Callable[[str], Report]) -> None:
    report = reports("healthy")
    assert report["summary.events"] > 500
    assert _above_info(report) == set()
