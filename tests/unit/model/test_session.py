"""A session: what the stream says is what the report says."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from factories import (
    SECOND,
    START_NS,
    Tick,
    encoded,
    end,
    error,
    event,
    hello,
    process,
    series,
    stream,
    target,
    tick,
)
from podtrace.model.session import KEPT_NOTABLE, Session
from podtrace.model.snapshot import Snapshot, to_tree
from podtrace.wire.ticks import SchemaMismatchError

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/report.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(
    SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)


def session(*parts: dict[str, Any] | Tick) -> Session:
    folded = Session()
    folded.feed(encoded(stream(*parts)))
    folded.finish()
    return folded


def report(*parts: dict[str, Any] | Tick) -> Snapshot:
    snapshot = session(*parts).snapshot()
    VALIDATOR.validate(to_tree(snapshot))
    return snapshot


def everything() -> list[dict[str, Any]]:
    """Return series of every metric, some with errors."""
    return [
        process(100, "app"),
        process(200, "worker", container="side"),
        series("dns", name="a.example", duration_ns=[SECOND // 1000] * 30, errors={"NXDOMAIN": 5}),
        series("dns_query", count=40, name="a.example"),
        series("dns_retry", count=2, name="a.example"),
        series("dns_timeout", count=3, name="b.example"),
        series("connect", peer="10.0.0.1:80", duration_ns=[2_000_000] * 16),
        series("connect", peer="10.0.0.2:81", count=0, errors={"ECONNREFUSED": 7}),
        series("connect", peer="[::1]:82", duration_ns=[3_000_000] * 4, process=200),
        series("connect_attempt", peer="10.0.0.1:80", count=16),
        series("connect_attempt", peer="10.0.0.2:81", count=7),
        series("connect_attempt", peer="[::1]:82", count=4, process=200),
        series("connection", peer="10.0.0.1:80", duration_ns=[SECOND // 2] * 12),
        series("accept", count=2),
        series("rtt", peer="10.0.0.1:80", duration_ns=[31_000_000] * 50),
        series("rtt_spike", peer="10.0.0.1:80", count=2),
        series("retransmit", peer="10.0.0.1:80", count=1),
        series("reset", peer="10.0.0.1:80", count=1),
        series("send", duration_ns=[9000] * 90, bytes=9000, wait_ns=50, again=4),
        series("receive", duration_ns=[8000] * 80, bytes=36_000, errors={"ECONNRESET": 1}),
        series("open", duration_ns=[7000] * 20),
        series("read", duration_ns=[1000] * 499 + [20_000_000], bytes=500, slow=1, process=200),
        series("write", duration_ns=[2000] * 70, bytes=7000, errors={"ENOSPC": 2}),
        series("fsync", duration_ns=[4_000_000] * 17, wait_ns=60_000_000),
        series("file", count=587, path="/data/log", bytes=7500, max_ns=20_000_000),
        series("pipe", count=300, bytes=600),
        series("socket", count=30, bytes=60),
        series("terminal", count=3, bytes=6),
        series("run_queue", duration_ns=[50_000] * 100),
        series("blocked", duration_ns=[SECOND // 10] * 5, reason="sleep"),
        series("blocked", duration_ns=[SECOND // 100] * 5, reason="disk"),
        series("cpu", count=0, sum_ns=SECOND // 2),
        series("cpu", count=0, sum_ns=SECOND // 4, process=200),
        series("throttled", count=3, sum_ns=SECOND // 50, process=0),
        series("exec", count=1),
        series("exit", count=1),
    ]


def test_report_carries_every_number_of_the_stream() -> None:
    found = report(hello(), tick(*everything()), tick(), end())
    dns, tcp, connections = found.dns, found.tcp, found.connections
    files, other, cpu = found.filesystem, found.io_other, found.cpu
    assert dns
    assert tcp
    assert connections
    assert files
    assert other
    assert cpu
    assert dns.latency
    assert (dns.latency.count, dns.latency.errors, dns.queries) == (30, 5, 40)
    assert (dns.errors, dns.timeouts, dns.retries) == ({"NXDOMAIN": 5}, 3, 2)
    assert dns.timeout_after_seconds == 5
    assert [(item.name, item.queries, item.count, item.timeouts) for item in dns.targets] == [
        ("a.example", 40, 30, 0),
        ("b.example", 0, 3, 3),
    ]
    assert dns.latency.p50_seconds == pytest.approx(0.001, rel=0.032)
    assert dns.latency.average_seconds == 0.001
    assert tcp.rtt
    assert tcp.send
    assert tcp.receive
    assert tcp.rtt.p50_seconds == pytest.approx(0.031, rel=0.032)
    assert (tcp.rtt_spikes, tcp.retransmits, tcp.resets) == (2, 1, 1)
    assert (tcp.send.bytes, tcp.send.would_block, tcp.send.errors) == (9000, 4, 0)
    assert (tcp.receive.count, tcp.receive.errors) == (80, 1)
    assert tcp.send.waiting_seconds == 50e-9
    assert tcp.peers[0].address == "10.0.0.1"
    assert tcp.peers[0].sent_bytes is None
    assert connections.latency
    assert connections.ipv4
    assert connections.ipv6
    assert connections.lifetime
    assert (connections.attempts, connections.failed, connections.accepted) == (27, 7, 2)
    assert connections.errors == {"ECONNREFUSED": 7}
    assert (connections.latency.count, connections.lifetime.count) == (20, 12)
    assert (connections.ipv4.attempts, connections.ipv4.failed) == (23, 7)
    assert (connections.ipv6.attempts, connections.ipv6.latency.count) == (4, 4)
    assert [(item.address, item.port, item.attempts) for item in connections.targets] == [
        ("10.0.0.1", 80, 16),
        ("10.0.0.2", 81, 7),
        ("::1", 82, 4),
    ]
    assert files.read
    assert files.write
    assert files.fsync
    assert (files.read.count, files.read.bytes, files.read.slow) == (500, 500, 1)
    assert (files.write.errors, files.fsync.count, files.fsync.bytes) == (2, 17, None)
    assert files.files[0].path == "/data/log"
    assert files.files[0].max_seconds == 0.02
    assert other.pipe
    assert (other.pipe.count, other.pipe.bytes) == (300, 600)
    assert cpu.run_queue
    assert cpu.blocked
    assert (cpu.run_queue.count, cpu.blocked.count, cpu.throttled_periods) == (100, 10, 3)
    assert cpu.blocked_by_reason == pytest.approx({"sleep": 0.5, "disk": 0.05})
    assert cpu.throttled_seconds == 0.02
    assert cpu.on_cpu_seconds == 0.75
    assert found.cpu_usage
    assert [
        (row.pid, row.host_pid, row.process, row.container, row.cpu_percent)
        for row in found.cpu_usage
    ] == [(1, 100, "app", "main", 25.0), (101, 200, "worker", "side", 12.5)]
    assert found.network_io
    assert found.network_io.send_receive_ratio == 0.25
    assert found.network_io.pattern == "mostly_receiving"
    assert found.network_io.peak_bytes_per_second == 45_000
    assert found.network_io.average_send_bytes == 100


def test_operations_of_the_sections_add_up_to_the_events() -> None:
    found = report(hello(), tick(*everything()), tick(*everything()[2:]), end())
    dns, tcp, connections, files = found.dns, found.tcp, found.connections, found.filesystem
    assert dns
    assert tcp
    assert connections
    assert files
    assert dns.latency
    assert tcp.send
    assert tcp.receive
    assert connections.latency
    of = found.summary.operations
    assert of.dns == dns.latency.count + (dns.timeouts or 0)
    assert of.tcp == sum(item.count + item.errors for item in (tcp.send, tcp.receive)) + (
        tcp.retransmits or 0
    )
    assert of.connections == connections.latency.count + (connections.failed or 0) + (
        connections.accepted or 0
    )
    blocks = [files.open, files.read, files.write, files.fsync]
    assert of.filesystem == sum(block.count + block.errors for block in blocks if block)
    assert of.processes == (found.summary.execs or 0) + (found.summary.exits or 0)
    sections = (of.dns, of.tcp, of.connections, of.filesystem, of.processes)
    assert found.summary.events == sum(count or 0 for count in sections)
    assert found.process_activity
    assert sum(row.events for row in found.process_activity) == found.summary.events
    assert sum(row.share_ratio for row in found.process_activity) == pytest.approx(1)
    assert sum(bucket.events or 0 for bucket in found.timeline.buckets) == found.summary.events
    assert found.target.members[0].events == found.summary.events
    assert sum(bucket.errors or 0 for bucket in found.timeline.buckets) == found.summary.errors


def test_measured_and_nothing_happened_is_zero() -> None:
    found = report(hello(), tick(), end())
    assert found.dns
    assert found.dns.latency
    assert found.cpu
    assert (found.summary.events, found.summary.errors) == (0, 0)
    assert (found.dns.queries, found.dns.timeouts, found.dns.latency.count) == (0, 0, 0)
    assert found.dns.latency.p50_seconds is None
    assert found.cpu.throttled_seconds == 0
    assert found.process_activity == ()
    assert found.verdict.status == "info"
    assert found.verdict.lines == (
        "Nothing happened in 1 s: it is idle, or it hangs.",
        "Threads that slept all the time are not seen.",
    )


def test_verdict_without_events_says_what_the_threads_did() -> None:
    busy = [
        series("cpu", count=0, sum_ns=SECOND // 4),
        series("blocked", duration_ns=[SECOND // 2], reason="lock"),
        series("blocked", duration_ns=[SECOND // 10], reason="disk"),
    ]
    found = report(hello(), tick(*busy), end())
    assert found.verdict.status == "info"
    assert found.verdict.lines[1] == (
        "Threads used the CPU for 250 ms and were blocked for 600 ms, most of it by lock. "
        "Threads that slept all the time are not seen."
    )


def test_trace_without_events_that_broke_off_is_incomplete() -> None:
    found = report(hello(), tick())
    assert found.verdict.status == "incomplete"


def test_blank_section_is_null_and_told() -> None:
    names = ["dns", "tcp", "connections", "filesystem", "io_other", "cpu", "cpu_usage"]
    found = report(hello(blank=[*names, "process_activity"]), tick(), end())
    assert [name for name in names if getattr(found, name) is not None] == []
    assert found.process_activity is None
    assert found.network_io is None
    assert found.connection_patterns is None
    assert found.summary.operations.dns is None
    assert found.summary.execs is None
    assert len(found.quality.degraded_sections) == 8
    assert found.quality.degraded_sections[0].reason == "no probe attached"


def test_metric_without_a_source_is_null_inside_its_section() -> None:
    found = report(hello(unmeasured=["throttled", "rtt"]), tick(), end())
    assert found.cpu
    assert found.tcp
    assert (found.cpu.throttled_seconds, found.cpu.throttled_periods) == (None, None)
    assert found.tcp.rtt is None
    assert found.cpu.run_queue is not None
    assert found.tcp.retransmits == 0


def test_gauges_are_those_of_the_last_tick() -> None:
    first = tick(gauges={"dns_pending": 7, "connects_in_progress": 3, "processes": 1})
    last = tick(gauges={"dns_pending": 2, "connects_in_progress": 1, "processes": 1})
    found = report(hello(), first, last, end())
    assert found.dns
    assert found.connections
    assert (found.dns.pending, found.connections.in_progress) == (2, 1)


@pytest.mark.parametrize(("attempts", "unknown"), [(9, 4), (5, 0), (2, 0)])
def test_attempts_without_any_outcome_are_told(attempts: int, unknown: int) -> None:
    connects = [
        series("connect_attempt", peer="10.0.0.1:80", count=attempts),
        series("connect", peer="10.0.0.1:80", duration_ns=[1000] * 3, errors={"ECONNREFUSED": 1}),
    ]
    found = report(hello(), tick(*connects, gauges={"connects_in_progress": 1}), end())
    assert found.connections
    assert found.connections.outcome_unknown == unknown


def test_window_is_that_of_hello_and_the_last_tick() -> None:
    found = report(hello(), tick(seconds=0.4), tick(), tick(seconds=0.1), end("signal"))
    window = found.window
    assert window.start == "2025-10-09T08:53:20.000Z"
    assert window.end == "2025-10-09T08:53:21.500Z"
    assert (window.seconds, window.measured_seconds, window.ticks) == (1.5, 1.5, 3)
    assert (window.complete, window.incomplete_reason, window.end_reason) == (True, None, "signal")


def test_exit_status_of_a_traced_command_is_kept() -> None:
    assert report(hello(), tick(), end("command_exited", exit_code=-9)).window.exit_code == -9


@pytest.mark.parametrize(
    ("code", "failure"),
    [(1, "the command ended with exit code 1"), (-9, "the command was killed by signal 9")],
)
def test_verdict_tells_that_the_traced_command_failed(code: int, failure: str) -> None:
    ended = end("command_exited", exit_code=code)
    quiet = report(hello(), tick(series("read", count=7)), ended).verdict
    assert quiet.status == "info"
    assert quiet.lines == (f"No problem found in 1 s of 7 events, but {failure}.",)
    remark = [series("connect", count=200, peer="10.0.0.1:80", duration_ns=[1000] * 200)]
    remark += [series("connect", count=0, peer="10.0.0.9:81", errors={"ECONNREFUSED": 5})]
    remarked = report(hello(), tick(*remark), ended).verdict
    assert remarked.lines[0] == f"No warning in 1 s of 205 events, but {failure}."
    assert remarked.lines[1].startswith("Remark: ")
    ill = report(hello(), tick(event("oom_kill")), ended).verdict
    assert (ill.status, ill.lines[1]) == ("critical", f"Also: {failure}.")
    blank = report(hello(), tick(), ended).verdict
    assert blank.lines[0] == f"Nothing happened in 1 s, but {failure}."


@pytest.mark.parametrize(
    ("reason", "code"), [("command_exited", 0), ("deadline", -2), ("signal", -15), ("deadline", 1)]
)
def test_verdict_blames_no_command_that_did_well_or_that_podtrace_ended(
    reason: str, code: int
) -> None:
    found = report(hello(), tick(series("read", count=7)), end(reason, exit_code=code)).verdict
    assert (found.status, found.lines) == ("healthy", ("No problem found in 1 s of 7 events.",))


def test_lost_tick_makes_rates_of_what_was_measured() -> None:
    lines = stream(hello(), *(tick(series("read", count=10)) for _ in range(4)), end())
    folded = Session()
    folded.fold([line for line in lines if line["seq"] != 4])
    folded.finish()
    found = folded.snapshot()
    assert found.summary.events == 30
    assert found.summary.events_per_second == 10
    assert found.window.measured_seconds == 3
    assert found.window.seconds == 4
    assert found.window.incomplete_reason == "1 of 4 ticks did not arrive whole"
    assert found.quality.stream.missing_lines == 1
    assert found.quality.stream.dropped_lines == 1
    assert found.quality.stream.incomplete_ticks == 1
    assert found.issues[0].id == "data_lost"
    assert "Do not rely on the counts" in found.verdict.lines[-1]


def test_tracer_that_dies_leaves_a_report_marked_incomplete() -> None:
    data = encoded(stream(hello(), tick(series("read", count=10)), tick(series("read", count=5))))
    folded = Session()
    folded.feed(data[:-30])
    folded.finish()
    found = folded.snapshot()
    VALIDATOR.validate(to_tree(found))
    assert found.summary.events == 10
    assert not found.window.complete
    assert found.window.incomplete_reason == "the tracer ended without its last line"
    assert found.verdict.status == "incomplete"
    assert found.quality.stream.damaged == {"not_json": 1}


def test_error_line_is_the_reason() -> None:
    found = report(error(message="no BTF at /sys/kernel/btf/vmlinux"))
    assert found.window.incomplete_reason is not None
    assert "no BTF at /sys/kernel/btf/vmlinux" in found.window.incomplete_reason
    assert found.summary.events is None


def test_empty_stream_gives_a_report_of_nulls() -> None:
    found = report()
    assert found.window.incomplete_reason == "nothing was received from the tracer"
    assert (found.window.start, found.window.seconds, found.summary.events) == (None, 0, None)
    assert found.dns is None
    assert found.target.name is None
    assert found.quality.lost_ratio is None


def test_only_hello_knows_the_target_and_no_events() -> None:
    found = report(hello())
    assert found.target.name == "demo"
    assert found.summary.events is None
    assert found.summary.events_per_second is None
    assert found.window.seconds == 0
    assert not found.window.complete


def test_stream_without_hello_measures_what_came() -> None:
    found = report(tick(series("dns", name="a", duration_ns=5)), end())
    assert found.dns
    assert found.dns.latency
    assert found.dns.latency.count == 1
    assert found.dns.timeouts is None
    assert found.filesystem is None
    assert found.target.type is None


def test_open_trace_is_no_cause_for_doubt() -> None:
    folded = Session()
    folded.feed(encoded(stream(hello(), tick(series("read", count=3)))))
    found = folded.snapshot(now_ns=START_NS + 5 * SECOND)
    assert found.window.incomplete_reason == "tracing goes on"
    assert found.window.seconds == 5
    assert found.verdict.status == "healthy"
    assert len(found.verdict.lines) == 1


def test_other_schema_raises() -> None:
    with pytest.raises(SchemaMismatchError):
        session(hello(schema="2.0"))


def test_several_targets_are_named_and_counted_apart() -> None:
    targets = [target(1, "one"), target(2, "two", pod="web-0", namespace="shop")]
    found = report(
        hello(targets=targets),
        tick(series("read", count=3, target=1), series("read", count=4, target=2)),
        end(),
    )
    assert found.target.name == "one, two"
    assert [(item.name, item.events) for item in found.target.members] == [("one", 3), ("two", 4)]


def test_work_of_no_known_process_has_rows_of_its_own() -> None:
    found = report(
        hello(),
        tick(*(series("read", count=5, process=number) for number in (0, -1, -2, 300))),
        end(),
    )
    assert found.process_activity
    assert {(row.process, row.pid, row.host_pid) for row in found.process_activity} == {
        ("(unknown)", None, None),
        ("(overflow)", None, None),
        ("(other processes)", None, None),
        ("(unnamed)", None, 300),
    }


def test_unknown_metrics_and_events_are_passed_over() -> None:
    found = session(
        hello(), tick(series("gpu", count=5), series("read", count=1), event("gpu_hang")), end()
    )
    assert found.snapshot().summary.events == 1
    assert found.ledger.unknown_metrics == {"gpu": 1}
    assert [item.event for item in found.notable] == ["gpu_hang"]


def test_notable_events_come_with_their_process_and_are_bounded() -> None:
    folded = Session()
    events = [event("connect_failed", peer="10.0.0.2:81", error="ECONNREFUSED")] * 300
    found = folded.feed(encoded(stream(hello(), tick(process(100, "app"), *events))))
    assert len(found) == 300
    assert len(folded.notable) == KEPT_NOTABLE
    assert (found[0].process, found[0].pid, found[0].host_pid) == ("app", 1, 100)
    assert (found[0].event, found[0].error) == ("connect_failed", "ECONNREFUSED")
    assert folded.feed(b"") == []


def test_any_chunking_and_repeats_give_the_same_report() -> None:
    lines = stream(hello(), tick(*everything()), tick(*everything()), end())
    whole = session(hello(), tick(*everything()), tick(*everything()), end())
    data = encoded(lines[:20]) + b"\xffgarbage\n" + encoded(lines[5:])
    folded = Session()
    for start in range(0, len(data), 777):
        folded.feed(data[start : start + 777])
    folded.finish()
    one, other = to_tree(whole.snapshot()), to_tree(folded.snapshot())
    assert other["quality"].pop("stream")["repeated_lines"] == 15
    assert one["quality"].pop("stream")["repeated_lines"] == 0
    assert one == other


def test_recent_is_of_the_last_seconds() -> None:
    old = [tick(series("read", count=100, duration_ns=SECOND)) for _ in range(10)]
    new = [
        tick(series("read", count=4, duration_ns=1_000_000, errors={"EIO": 1}, bytes=10)),
        tick(series("cpu", count=0, sum_ns=SECOND)),
    ]
    folded = Session()
    folded.feed(encoded(stream(hello(), *old, *new)))
    recent = folded.recent(2)
    assert (recent.seconds, recent.events, recent.events_per_second) == (2, 5, 2.5)
    assert recent.cpu_percent == 50
    read, cpu = recent.kinds
    assert (read.metric, read.count, read.errors) == ("read", 5, 1)
    assert (read.per_second, read.bytes_per_second) == (2.5, 5)
    assert read.p50_seconds == pytest.approx(0.001, rel=0.032)
    assert read.max_seconds == 0.001
    assert (cpu.metric, cpu.count, cpu.p50_seconds) == ("cpu", 0, None)


def test_recent_of_nothing_has_no_rate() -> None:
    recent = Session().recent()
    assert (recent.seconds, recent.events_per_second, recent.cpu_percent) == (0, None, None)
    assert recent.kinds == ()


def test_losses_of_the_tracer_are_added_up() -> None:
    found = report(
        hello(),
        tick(series("read", count=90), lost={"ring_full": 4, "dns_full": 0}, suppressed=2),
        tick(lost={"ring_full": 6}, overflow=3, tracer_rss_bytes=30 << 20),
        end(),
    )
    quality = found.quality
    assert quality.lost == {"dns_full": 0, "ring_full": 10}
    assert (quality.lost_total, quality.lost_ratio) == (10, 0.1)
    assert (quality.suppressed, quality.overflow) == (2, 3)
    assert quality.tracer_cpu_seconds == 0.002
    assert quality.tracer_cpu_percent == pytest.approx(0.1)
    assert quality.tracer_memory_bytes == 30 << 20
    assert quality.bpf_seconds_estimate is None
    assert quality.stream.lines == 5


def test_more_processes_than_rows_keep_the_sum() -> None:
    lines = [series("read", count=1, process=1000 + number) for number in range(1500)]
    found = report(hello(), tick(*lines), end())
    assert found.process_activity
    assert len(found.process_activity) == 1000
    assert found.process_activity[-1].process == "(other processes)"
    assert sum(row.events for row in found.process_activity) == 1500


def test_snapshot_of_a_hundred_busy_processes_is_quick() -> None:
    chance = random.Random(7)
    lines = [process(100 + number, f"worker-{number}") for number in range(100)]
    for number in range(100):
        durations = [chance.randrange(1000, 10_000_000) for _ in range(20)]
        lines += [
            series(metric, process=100 + number, duration_ns=durations)
            for metric in ("read", "write", "send", "receive", "run_queue", "blocked")
        ]
        lines.append(series("cpu", count=0, process=100 + number, sum_ns=1_000_000))
        lines.append(series("dns", name=f"{number}.example", duration_ns=durations))
        lines.append(series("connect", peer=f"10.0.0.{number}:80", duration_ns=durations))
    folded = session(hello(), *(tick(*lines) for _ in range(20)), end())
    times = []
    for _ in range(20):
        before = time.process_time()
        folded.snapshot(rows=15)
        times.append(time.process_time() - before)
    assert min(times) < 0.020
