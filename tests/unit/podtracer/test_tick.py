from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_memory import (
    MemoryMap,
    dns_pending_value,
    dns_value,
    dns_wire,
    event_value,
    file_key,
    file_value,
    peer_value,
    process_value,
    thread_value,
)
from podtrace.wire.histogram import slot_of
from podtrace.wire.schema import MAX_EVENTS_PER_SECOND
from podtracer import records
from podtracer.records import ASPECT_AGAIN, ASPECT_ERROR, ASPECT_SLOW, METRICS, U32
from podtracer.tables import DNS_TIMEOUT_NS
from podtracer.tick import MOST_FILE_LINES, MOST_PROCESS_LINES, MOST_UNSENT_PROCESSES, error_name
from tracer_machine import SECOND, WALL_OFFSET_NS, Machine


def test_a_timed_metric_has_its_histogram(machine: Machine) -> None:
    machine.counters.record("write", 70_000, 1000, 1000, size=512, wait_ns=40)
    machine.counters.tally("write", 2, slot=errno.ENOSPC, aspect=ASPECT_ERROR)
    machine.counters.tally("write", 1, aspect=ASPECT_SLOW)
    assert machine.lines("series") == [
        {
            "metric": "write",
            "process": 100,
            "target": 1,
            "count": 3,
            "sum_ns": 72_000,
            "max_ns": 70_000,
            "slots": [[slot_of(1000), 2], [slot_of(70_000), 1]],
            "bytes": 1536,
            "wait_ns": 120,
            "slow": 1,
            "errors": {"ENOSPC": 2},
        }
    ]


def test_a_counted_metric_has_its_count_alone(machine: Machine) -> None:
    machine.counters.tally("exec", 3)
    machine.counters.tally("pipe", 2, size=100)
    assert machine.lines("series") == [
        {"metric": "exec", "process": 100, "target": 1, "count": 3},
        {"metric": "pipe", "process": 100, "target": 1, "count": 2, "bytes": 200},
    ]


def test_calls_that_only_failed_still_have_a_line(machine: Machine) -> None:
    machine.counters.tally("receive", 5, aspect=ASPECT_AGAIN)
    machine.counters.tally("receive", 2, slot=errno.ECONNRESET, aspect=ASPECT_ERROR)
    (line,) = machine.lines("series")
    assert line == {
        "metric": "receive",
        "process": 100,
        "target": 1,
        "count": 0,
        "sum_ns": 0,
        "max_ns": 0,
        "slots": [],
        "again": 5,
        "errors": {"ECONNRESET": 2},
    }


def test_a_quiet_tick_is_its_health_line_alone(machine: Machine) -> None:
    machine.counters.record("read", 1000)
    machine.process(100, process_value())
    machine.tick()
    assert machine.tick(2 * SECOND).lines == []


def test_labels_stand_under_the_field_of_their_metric(machine: Machine) -> None:
    machine.label(70, peer_value("10.0.0.1", 5432))
    machine.label(71, dns_value(dns_wire(b"db", b"svc")))
    for metric in ("connect", "connect_attempt", "connection", "rtt", "rtt_spike", "retransmit"):
        machine.counters.tally(metric, label=70)
    machine.counters.tally("reset", label=70)
    for metric in ("dns", "dns_query", "dns_retry", "dns_timeout"):
        machine.counters.tally(metric, label=71)
    machine.counters.tally("blocked", label=records.REASONS.index("lock"))
    machine.counters.tally("accept")
    labels = {
        line["metric"]: {
            key: line[key] for key in ("peer", "name", "reason", "path") if key in line
        }
        for line in machine.lines("series")
    }
    peer, name = {"peer": "10.0.0.1:5432"}, {"name": "db.svc"}
    assert labels == {
        "connect": peer,
        "connect_attempt": peer,
        "connection": peer,
        "rtt": peer,
        "rtt_spike": peer,
        "retransmit": peer,
        "reset": peer,
        "dns": name,
        "dns_query": name,
        "dns_retry": name,
        "dns_timeout": name,
        "blocked": {"reason": "lock"},
        "accept": {},
    }


@pytest.mark.parametrize(
    ("metric", "number", "name"),
    [
        ("connect", errno.ECONNREFUSED, "ECONNREFUSED"),
        ("connect", errno.ETIMEDOUT, "ETIMEDOUT"),
        ("connect", records.GIVEN_UP, "GIVEN_UP"),
        ("open", errno.ENOENT, "ENOENT"),
        ("open", 3999, "E3999"),
        ("dns", 2, "SERVFAIL"),
        ("dns", 3, "NXDOMAIN"),
        ("dns", 5, "REFUSED"),
        ("dns", 15, "RCODE15"),
    ],
)
def test_errors_have_the_names_of_their_kind(metric: str, number: int, name: str) -> None:
    assert error_name(METRICS.index(metric), number) == name


def test_cpu_time_is_what_was_closed_and_what_is_open(machine: Machine) -> None:
    machine.counters.tally("cpu", ns=300)
    machine.threads.update(U32.pack(5), thread_value(100, on_cpu_ns=SECOND - 50))
    machine.threads.update(U32.pack(6), thread_value(101, on_cpu_ns=SECOND - 20))
    assert {line["process"]: line["sum_ns"] for line in machine.lines("series")} == {
        100: 350,
        101: 20,
    }


def test_cpu_time_below_zero_is_taken_off_the_next_tick(machine: Machine) -> None:
    machine.threads.update(U32.pack(5), thread_value(100, on_cpu_ns=SECOND - 50))
    assert [line["sum_ns"] for line in machine.lines("series")] == [50]
    machine.threads.update(U32.pack(5), thread_value(100))
    assert machine.lines("series", now_ns=2 * SECOND) == []
    machine.counters.tally("cpu", ns=60)
    assert [line["sum_ns"] for line in machine.lines("series", now_ns=3 * SECOND)] == [10]


def test_command_does_not_come_from_outside(machine: Machine) -> None:
    machine.process(100, process_value(b"app", parent=os.getpid(), entered=True))
    machine.process(101, process_value(b"sh", parent=os.getpid() + 1, entered=True))
    assert [line["entered"] for line in machine.lines("process")] == [False, True]


def test_a_process_line_has_wall_clock_times_and_its_container(machine: Machine) -> None:
    machine.process(100, process_value(b"app", pid=11, parent=40, target=2, entered=True))
    machine.process(
        101,
        process_value(b"\xff", start_ns=5, exit_ns=9, container_cgroup=8, exit_status=3 << 8),
    )
    assert machine.lines("process") == [
        {
            "process": 100,
            "pid": 11,
            "parent": 40,
            "name": "app",
            "container": "web",
            "target": 2,
            "start_ns": None,
            "exit_ns": None,
            "exit_code": None,
            "entered": True,
        },
        {
            "process": 101,
            "pid": 11,
            "parent": 1,
            "name": "\\xff",
            "container": None,
            "target": 1,
            "start_ns": WALL_OFFSET_NS + 5,
            "exit_ns": WALL_OFFSET_NS + 9,
            "exit_code": 3,
            "entered": False,
        },
    ]


def test_processes_beyond_the_lines_of_a_tick_are_told_in_the_next_ones(machine: Machine) -> None:
    for number in range(MOST_PROCESS_LINES + 7):
        machine.process(1000 + number, process_value())
    first = machine.lines("process")
    machine.process(1000, process_value(b"renamed"))
    machine.process(1000 + MOST_PROCESS_LINES, process_value(b"waiting"))
    second = machine.lines("process", now_ns=2 * SECOND)
    assert machine.lines("process", now_ns=3 * SECOND) == []
    assert [line["process"] for line in first] == list(range(1000, 1000 + MOST_PROCESS_LINES))
    late = range(1000 + MOST_PROCESS_LINES, 1000 + MOST_PROCESS_LINES + 7)
    assert {line["process"]: line["name"] for line in second} == {
        **dict.fromkeys(late, "app"),
        1000 + MOST_PROCESS_LINES: "waiting",
        1000: "renamed",
    }
    assert machine.tables.unlisted == 0


def test_processes_that_no_tick_has_room_for_are_counted(machine: Machine) -> None:
    for number in range(MOST_PROCESS_LINES + MOST_UNSENT_PROCESSES + 3):
        machine.process(1000 + number, process_value())
    machine.tick()
    assert machine.tables.unlisted == 3
    machine.tick(2 * SECOND)
    assert machine.tables.unlisted == 0


def test_what_came_before_the_beginning_is_left_out(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic_ns", lambda: SECOND)
    machine.counters.record("read", 1000, 1000)
    machine.threads.update(U32.pack(5), thread_value(100, on_cpu_ns=SECOND - 50))
    machine.files.update(file_key(1), file_value(b"a", operations=2, size=5))
    machine.process(100, process_value())
    assert machine.tables.baseline() == SECOND
    machine.counters.record("read", 1000)
    # The table of files is emptied, and a probe enters the file anew.
    assert machine.files.lookup(file_key(1)) is None
    machine.files.update(file_key(1), file_value(b"a", operations=1, size=1))
    events = [event_value("exec", time_ns=SECOND - 1), event_value("exit", time_ns=SECOND)]
    tick = machine.tick(SECOND, events=events, began_ns=SECOND)
    assert [(line["metric"], line["count"]) for line in machine.lines("series", tick)] == [
        ("read", 1),
        ("file", 1),
    ]
    assert [line["event"] for line in machine.lines("event", tick)] == ["exit"]
    assert [line["process"] for line in machine.lines("process", tick)] == [100]


def test_what_an_ended_process_gained_last_is_not_lost(machine: Machine) -> None:
    class LateGain(MemoryMap):
        """The map of counters, added to after the tick has read it."""

        def batches(self) -> Iterator[tuple[memoryview, memoryview, int]]:
            yield from super().batches()
            machine.counters.record("read", 1000)

    machine.counters.record("read", 1000)
    machine.process(100, process_value(exit_ns=9))
    assert [line["count"] for line in machine.lines("series")] == [1]
    machine.tick(2 * SECOND)
    machine.counters.series.__class__ = LateGain
    assert [line["count"] for line in machine.lines("series", now_ns=3 * SECOND)] == [1]
    assert machine.counters.series.items == {}


def test_what_a_full_map_turned_away_is_of_the_overflow_process(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "full", series_entries=1)
    machine.counters.tally("exec")
    machine.counters.record("read", 1000, 2000)
    machine.counters.record("blocked", 500, label=1)
    machine.counters.tally("connect", 2, slot=111, aspect=ASPECT_ERROR)
    tick = machine.tick()
    lines = {line["metric"]: line for line in machine.lines("series", tick)}
    os.close(machine.stream.fd)
    assert {metric: line["process"] for metric, line in lines.items()} == {
        "exec": 100,
        "read": -1,
        "blocked": -1,
        "connect": -1,
    }
    assert lines["read"]["count"] == 2
    assert lines["blocked"]["reason"] == "other"
    assert (lines["connect"]["peer"], lines["connect"]["errors"]) == ("(overflow)", {"E0": 2})
    assert tick.health["overflow"] == 2 + 1 + 2


def test_files_are_told_by_path_busiest_first(machine: Machine) -> None:
    machine.files.update(file_key(1), file_value(b"a", operations=1, size=5, max_ns=9))
    machine.files.update(file_key(2, target=2), file_value(b"b", operations=4, size=6, max_ns=8))
    file = {"metric": "file", "process": 0}
    assert machine.lines("series") == [
        {**file, "target": 2, "path": "/b", "count": 4, "bytes": 6, "max_ns": 8},
        {**file, "target": 1, "path": "/a", "count": 1, "bytes": 5, "max_ns": 9},
    ]


def test_files_beyond_the_lines_of_a_tick_are_put_together(machine: Machine) -> None:
    for inode in range(1, MOST_FILE_LINES + 4):
        target = 2 if inode == 1 else 1
        name = str(inode).encode()
        machine.files.update(
            file_key(inode, target=target),
            file_value(name, operations=inode, size=10 * inode, max_ns=inode),
        )
    lines = machine.lines("series")
    assert len(lines) == MOST_FILE_LINES + 2
    file = {"metric": "file", "process": 0, "path": "(overflow)"}
    assert lines[MOST_FILE_LINES:] == [
        {**file, "target": 1, "count": 3 + 2, "bytes": 50, "max_ns": 3},
        {**file, "target": 2, "count": 1, "bytes": 10, "max_ns": 1},
    ]


def test_throttling_is_told_by_target(machine: Machine) -> None:
    assert machine.lines("series", throttled={1: (3, 5000), 4: (1, 70)}) == [
        {"metric": "throttled", "process": 0, "target": 1, "count": 3, "sum_ns": 5000},
        {"metric": "throttled", "process": 0, "target": 4, "count": 1, "sum_ns": 70},
    ]


def test_a_query_that_timed_out_is_counted_and_an_event(machine: Machine) -> None:
    machine.label(71, dns_value(dns_wire(b"db", b"svc")))
    machine.dns.update(bytes(16), dns_pending_value(1000, 71, process=100, target=2))
    machine.dns.update(b"\1" * 16, dns_pending_value(9000, 71, process=100, target=2))
    now = 1001 + DNS_TIMEOUT_NS
    tick = machine.tick(now)
    assert machine.lines("series", tick) == [
        {"metric": "dns_timeout", "process": 100, "target": 2, "name": "db.svc", "count": 1}
    ]
    assert machine.lines("event", tick) == [
        {
            "event": "dns_timeout",
            "process": 100,
            "target": 2,
            "duration_ns": DNS_TIMEOUT_NS + 1,
            "name": "db.svc",
        }
    ]
    assert tick.health["gauges"] == {"dns_pending": 1, "processes": 0}


def test_timeouts_beyond_the_budget_of_events_are_counted_as_suppressed(machine: Machine) -> None:
    for number in range(MAX_EVENTS_PER_SECOND + 3):
        machine.dns.update(number.to_bytes(16, "little"), dns_pending_value(1, 71))
    tick = machine.tick(2 + DNS_TIMEOUT_NS)
    assert len(machine.lines("event", tick)) == MAX_EVENTS_PER_SECOND
    assert tick.health["suppressed"] == 3
    assert [line["count"] for line in machine.lines("series", tick)] == [MAX_EVENTS_PER_SECOND + 3]


def test_processes_are_sent_again_when_their_container_gets_a_name(machine: Machine) -> None:
    machine.process(100, process_value(b"app", container_cgroup=7))
    machine.process(101, process_value(b"app", container_cgroup=8))
    machine.process(102, process_value(b"gone", container_cgroup=7, exit_ns=5))
    assert len(machine.lines("process")) == 3
    assert machine.lines("process") == []
    machine.tables.resend(lambda cgroup: cgroup == 7)
    assert [line["process"] for line in machine.lines("process")] == [100, 102]
