"""What a report on exact.py must say, figure by figure, whatever the scope of the trace was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kernel.servers import DNS_DELAY_SECONDS
from kernel.tracing import Report
from kernel.truths import assert_between_truths
from workload.stage import SLOWNESS

OWN_FILE_OPERATIONS = 5
"""The interpreter's own; an exec'd workload's are more and are told apart by their path."""
CPU_RATIO = 0.03 * SLOWNESS
"""What a program does behind its own look at its CPU time takes an emulated machine longer."""
SLEEP_SECONDS = 0.7
LEAST_SLEEP_RATIO = 0.97
"""Of a sleep; a thread that is about to fall asleep may have to wait for a CPU to do so."""


@dataclass
class ExactRun:
    """A finished run: what was reported, what was done, what the servers saw."""

    report: Report
    truth: dict[str, Any]
    file: Path
    own_operations: int = OWN_FILE_OPERATIONS
    neighbour: dict[str, Any] | None = None


class ExactChecks:
    """The asserts. A test class inherits them and gives the fixture `run`."""

    def test_dns_queries_are_counted_by_outcome(self, run: ExactRun) -> None:
        truth = run.truth
        assert run.report["dns.queries"] == truth["dns_queries"] == 41
        assert run.report["dns.latency.count"] == truth["dns_queries"] - truth["dns_unanswered"]
        assert run.report["dns.errors"] == {"NXDOMAIN": truth["dns_nxdomain"]}
        assert run.report["dns.timeouts"] == truth["dns_unanswered"] == 3
        assert run.report["dns.pending"] == 0
        assert run.report["dns.retries"] == 0

    def test_dns_names_are_counted_each(self, run: ExactRun) -> None:
        counts = {entry["name"]: entry["count"] for entry in run.report["dns.targets"]}
        expected = {f"name{number}.exact.test": 8 for number in range(4)}
        expected["name0.exact.test"] = 9
        expected |= {f"nx{number}.exact.test": 1 for number in range(5)}
        expected |= {f"silent{number}.exact.test": 1 for number in range(3)}
        assert counts == expected

    def test_dns_delay_is_the_injected_one(self, run: ExactRun) -> None:
        latency, measured = run.report["dns.latency"], run.truth["dns_seconds"]
        assert latency["count"] == len(measured)
        assert_between_truths(latency, DNS_DELAY_SECONDS, measured)

    def test_connects_are_counted_by_outcome(self, run: ExactRun) -> None:
        truth = run.truth
        assert run.report["connections.attempts"] == truth["connects"] == 23
        assert run.report["connections.failed"] == truth["connects_refused"] == 7
        assert run.report["connections.errors"] == {"ECONNREFUSED": 7}
        assert run.report["connections.latency.count"] == truth["connects_established"]
        assert run.report["connections.in_progress"] == 0
        assert run.report["connections.outcome_unknown"] == 0
        assert run.report["connections.accepted"] == 0

    @pytest.mark.parametrize("version", ["ipv4", "ipv6"])
    def test_connects_are_told_apart_by_ip_version(self, run: ExactRun, version: str) -> None:
        assert run.report[f"connections.{version}.attempts"] == run.truth[f"connects_{version}"]
        assert run.report[f"connections.{version}.failed"] == run.truth[f"refused_{version}"]

    def test_tcp_calls_and_bytes_are_counted(self, run: ExactRun) -> None:
        truth = run.truth
        for call, kind in (("sends", "send"), ("receives", "receive")):
            assert run.report[f"tcp.{kind}.count"] == truth[call]
            assert run.report[f"tcp.{kind}.bytes"] == truth["tcp_bytes_each_way"]
            assert run.report[f"tcp.{kind}.errors"] == 0

    def test_a_receive_that_would_block_is_neither_event_nor_error(self, run: ExactRun) -> None:
        assert run.report["tcp.receive.would_block"] == run.truth["receives_again"] == 16

    @pytest.mark.parametrize(
        ("kind", "count"), [("open", 29), ("read", 5000), ("write", 701), ("fsync", 17)]
    )
    def test_file_operations_are_counted(self, run: ExactRun, kind: str, count: int) -> None:
        assert run.truth[f"{kind}s"] == count
        counted = run.report[f"filesystem.{kind}.count"]
        own = run.own_operations if kind in ("open", "read") else OWN_FILE_OPERATIONS
        assert count <= counted <= count + own

    def test_operations_and_bytes_of_a_file_are_exact(self, run: ExactRun) -> None:
        entry = run.report.entry("filesystem.files", path=str(run.file))
        truth = run.truth
        assert entry["operations"] == truth["reads"] + truth["writes"] + truth["fsyncs"]
        assert entry["bytes"] == truth["read_bytes"] + truth["write_bytes"]

    def test_pipe_reads_are_not_file_reads(self, run: ExactRun) -> None:
        done = run.truth["pipe_reads"] + run.truth["pipe_writes"]
        gate_calls = 4
        assert done <= run.report["io_other.pipe.count"] <= done + gate_calls

    def test_cpu_time_of_the_process_is_within_three_percent(self, run: ExactRun) -> None:
        entry = run.report.entry("cpu_usage", host_pid=run.truth["pid"])
        assert entry["cpu_seconds"] == pytest.approx(run.truth["cpu_ns"] / 1e9, rel=CPU_RATIO)

    def test_sleep_is_blocked_time_with_its_reason(self, run: ExactRun) -> None:
        slept = run.report["cpu.blocked_by_reason.sleep"]
        assert slept >= LEAST_SLEEP_RATIO * SLEEP_SECONDS
        assert slept <= run.truth["sleep_ns"] / 1e9

    def test_sections_add_up_to_the_summary(self, run: ExactRun) -> None:
        operations = run.report["summary.operations"]
        assert run.report["summary.events"] == sum(operations.values())
        assert operations["dns"] == 41
        assert operations["connections"] == 23
        # A machine that stands still for a while sends again, on loopback too.
        calls = operations["tcp"] - run.report["tcp.retransmits"]
        assert calls == run.truth["sends"] + run.truth["receives"]

    def test_nothing_is_lost(self, run: ExactRun) -> None:
        assert run.report["quality.lost_total"] == 0
        assert run.report["quality.overflow"] == 0
        assert run.report["quality.stream.missing_lines"] == 0
        assert run.report["window.complete"] is True
