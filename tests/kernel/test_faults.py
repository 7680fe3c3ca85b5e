"""Each fault, injected alone into a healthy load, is the first finding; a healthy run has none.

Where others keep the machine busy, or it stands still, more findings may be right: those that the
workload's own measurements bear out are left out before the comparison.

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
from podtrace.model.thresholds import Thresholds
from workload.stage import Stage, StageError

SECONDS = 7
LIMITS = Thresholds()
SLOW = {
    "dns_slow": ("dns", LIMITS.dns_slow_p95_seconds),
    "connects_slow": ("connect", LIMITS.connect_slow_p95_seconds),
    "rtt_spikes": ("round_trip", 0.1),
    "fsync_slow": ("fsync", LIMITS.fsync_slow_p95_seconds),
    "files_slow": ("file", LIMITS.file_slow_p95_seconds),
}
"""By finding: the operations that it is about, and from how many seconds on they are bad."""
MARGIN = 0.9
"""Percentiles of a report are a few per cent off."""
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
        server = stage.start(
            "tcp_server.py", "--listen", link.facts["near"], "--listen", "127.0.0.1"
        )
        setting.port = server.facts["port"]
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
        setting.join = limit(stage, cgroup, quota_us=10_000).join
    elif fault == "cpu_starved":
        stage.start("competitor.py", "--cpu", 0, "--processes", 4)
        setting.command = ["taskset", "-c", "0"]
    return setting


@dataclass
class Run:
    """A report, and what its workload did and met by its own measure."""

    report: Report
    truth: dict[str, Any]

    def met(self) -> set[str]:
        """Return the findings that would be right, whatever their cause."""
        found = {
            finding
            for finding, (kind, seconds) in SLOW.items()
            if _is_finding(sum(took >= MARGIN * seconds for took in self.truth["seconds"][kind]))
        }
        if _is_finding(self.truth["retransmits"]):
            found.add("retransmits")
        waited, used = self.truth["cpu_wait_ns"], self.truth["cpu_ns"]
        if waited >= MARGIN * LIMITS.run_queue_ratio * (waited + used):
            found.add("cpu_waiting")
        return found


def _is_finding(number: int) -> bool:
    return number >= LIMITS.least_count


def _run(folder: Path, faults: list[str]) -> dict[str, Run]:
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
        runs = {}
        for fault, trace in traces.items():
            trace.wait_tick()
            runs[fault] = Run(trace.stop(), programs[fault].truth())
        return runs


GROUPS = (
    ("dns_errors", "dns_slow", "connects_failing", "connects_slow"),
    ("rtt_spikes", "retransmits", "slow_fsync"),
    ("cpu_throttled",),
    ("cpu_starved",),
    ("healthy",),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Run]]:
    done: dict[str, Run] = {}

    def run(fault: str) -> Run:
        if fault not in done:
            [group] = [group for group in GROUPS if fault in group]
            done.update(_run(tmp_path_factory.mktemp("faults"), list(group)))
        return done[fault]

    yield run


@pytest.mark.parametrize("fault", FINDINGS)
def test_fault_is_the_first_finding(runs: Callable[[str], Run], fault: str) -> None:
    run = runs(fault)
    beside = run.met() - {FINDINGS[fault]}
    issues = [issue for issue in run.report["issues"] if issue["id"] not in beside]
    assert issues, "no finding at all"
    assert issues[0]["id"] == FINDINGS[fault], [issue["title"] for issue in issues]
    assert issues[0]["severity"] in ("warning", "critical")
    assert issues[0]["evidence"]
    assert issues[0]["next_step"]


def _above_info(report: Report) -> set[str]:
    return {issue["id"] for issue in report["issues"] if issue["severity"] != "info"}


@pytest.mark.parametrize("fault", FINDINGS)
def test_fault_is_the_only_finding_above_info(runs: Callable[[str], Run], fault: str) -> None:
    run = runs(fault)
    related = {FINDINGS[fault]}
    if fault == "cpu_throttled":
        related.add(FINDINGS["cpu_starved"])
    assert _above_info(run.report) - run.met() <= related


def test_a_healthy_run_has_no_finding_above_info(runs: Callable[[str], Run]) -> None:
    run = runs("healthy")
    assert run.report["summary.events"] > 10 * run.truth["rounds"]
    assert _above_info(run.report) - run.met() == set()
