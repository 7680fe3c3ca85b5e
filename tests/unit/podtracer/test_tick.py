from __future__ import annotations

import errno
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kernel_memory import (
    Counters,
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
from podtrace.wire.codec import Decoder
from podtrace.wire.histogram import slot_of
from podtrace.wire.schema import MAX_EVENTS_PER_SECOND
from podtrace.wire.ticks import Tick, Ticks
from podtracer import records
from podtracer.drain import OpenIntervals, SeriesTable
from podtracer.emit import Stream
from podtracer.records import ASPECT_AGAIN, ASPECT_ERROR, ASPECT_SLOW, METRICS, U32, U64
from podtracer.tables import DNS_TIMEOUT_NS, DnsPending, FileTable, LabelTable, ProcessTable
from podtracer.tick import (
    MOST_FILE_LINES,
    MOST_PROCESS_LINES,
    MOST_SERIES_LINES,
    MOST_UNSENT_PROCESSES,
    Tables,
    error_name,
)

Line = dict[str, Any]
WALL_OFFSET_NS = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


class Machine:
    """All maps in memory, and the tables and the stream that read them."""

    def __init__(self, output: Path, series_entries: int = 8192) -> None:
        self.counters = Counters(series_entries)
        self.threads = MemoryMap(4, records.THREAD_VALUE_BYTES)
        self.processes = MemoryMap(4, records.PROCESS_VALUE.size)
        self.labels = MemoryMap(8, records.LABEL_VALUE.size)
        self.files = MemoryMap(records.FILE_KEY.size, records.FILE_VALUE.size)
        self.dns = MemoryMap(records.DNS_KEY_BYTES, records.DNS_VALUE.size)
        self.tables = Tables(
            SeriesTable(
                self.counters.series, self.counters.overflow, self.counters.overflow_aspects
            ),
            OpenIntervals(self.threads, lambda tid: None),
            ProcessTable(self.processes),
            LabelTable(self.labels),
            FileTable(self.files),
            DnsPending(self.dns, records.DNS_KEY_BYTES),
            {7: "web"}.get,
            WALL_OFFSET_NS,
        )
        self._output = output
        self.stream = Stream(os.open(output, os.O_WRONLY | os.O_CREAT))
        self._decoder, self._ticks = Decoder(), Ticks()
        self._read = 0

    def label(self, number: int, value: bytes) -> None:
        self.labels.update(U64.pack(number), value)

    def process(self, number: int, value: bytes) -> None:
        self.processes.update(U32.pack(number), value)

    def tick(
        self,
        now_ns: int = SECOND,
        throttled: Mapping[int, tuple[int, int]] | None = None,
        events: Iterable[bytes] = (),
        began_ns: int = 0,
    ) -> Tick:
        """Collect and write a tick; return it as a reader gets it, without damage."""
        self.tables.collect(self.stream, now_ns, dict(throttled or {}))
        self.tables.add_events(self.stream, events, began_ns)
        health = {"interval_ns": SECOND, "lost": {"lines_dropped": 0}, "suppressed": 0}
        self.stream.end_tick(
            {**health, "overflow": self.tables.overflowed, "gauges": self.tables.gauges},
            now_ns + WALL_OFFSET_NS,
        )
        written = self._output.read_bytes()
        lines = self._decoder.feed(written[self._read :])
        self._read = len(written)
        ticks = [tick for line in lines for tick in self._ticks.feed(line)]
        assert (self._decoder.damage, self._ticks.damage, self._ticks.unknown) == ({}, {}, {})
        assert self._ticks.sequence.missing == 0
        (tick,) = ticks
        return tick

    def lines(self, kind: str, tick: Tick | None = None, **arguments: Any) -> list[Line]:
        """Return the lines of a kind of one tick, without their places in the stream."""
        places = ("kind", "seq", "tick", "time_ns")
        return [
            {key: value for key, value in line.items() if key not in places}
            for line in (tick or self.tick(**arguments)).lines
            if line["kind"] == kind
        ]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "stream")
    yield machine
    os.close(machine.stream.fd)


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
    machine.files.update(file_key(1), file_value(b"a", operations=3, size=6))
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


def totals(lines: Iterable[Line]) -> Counter[tuple[str, str]]:
    """Add up all numbers of series lines by metric."""
    sums: Counter[tuple[str, str]] = Counter()
    for line in lines:
        for field in ("count", "sum_ns", "bytes", "wait_ns", "again", "slow"):
            sums[line["metric"], field] += line.get(field, 0)
        for error, count in line.get("errors", {}).items():
            sums[line["metric"], error] += count
        for slot, count in line.get("slots", []):
            sums[line["metric"], f"slot {slot}"] += count
    return sums


def test_too_many_groups_are_folded_and_keep_their_sums(machine: Machine) -> None:
    counters = machine.counters
    processes = range(1000, 1000 + MOST_SERIES_LINES)
    for number in processes:
        counters.record("read", 1000 + number, process=number, size=3, wait_ns=2)
        counters.record("blocked", 500, process=number, label=1 + number % 2)
        counters.tally("send", slot=32, aspect=ASPECT_ERROR, process=number)
        counters.tally("send", aspect=ASPECT_AGAIN, process=number)
        counters.tally("cpu", process=number, ns=7)
        counters.tally("connect_attempt", process=number, label=number)
    busiest = 1234
    counters.record("read", *[5000] * 9, process=busiest)
    lines = machine.lines("series")
    assert len(lines) <= MOST_SERIES_LINES
    shown = Counter(line["process"] for line in lines)
    assert shown[busiest] == 5
    assert -2 in shown
    assert {line["peer"] for line in lines if line["process"] == -2 and "peer" in line} == {
        "(overflow)"
    }
    sums = totals(lines)
    count = len(processes)
    assert sums["read", "count"] == count + 9
    assert sums["read", "sum_ns"] == sum(1000 + number for number in processes) + 9 * 5000
    assert sums["read", "bytes"] == 3 * count
    assert sums["read", "wait_ns"] == 2 * count
    for slot, number in Counter(slot_of(1000 + number) for number in processes).items():
        assert sums["read", f"slot {slot}"] == number + 9 * (slot == slot_of(5000))
    assert sums["send", "EPIPE"] == sums["send", "again"] == count
    assert sums["cpu", "sum_ns"] == 7 * count
    assert sums["connect_attempt", "count"] == count
    blocked = Counter[str]()
    for line in lines:
        if line["metric"] == "blocked":
            blocked[line["reason"]] += line["count"]
    assert blocked == {records.REASONS[1]: count // 2, records.REASONS[2]: count // 2}


def test_folding_takes_nothing_from_the_next_tick(machine: Machine) -> None:
    for number in range(MOST_SERIES_LINES + 1):
        machine.counters.tally("exec", process=1000 + number)
    machine.tick()
    machine.counters.tally("exec", process=1003)
    assert machine.lines("series", now_ns=2 * SECOND) == [
        {"metric": "exec", "process": 1003, "target": 1, "count": 1}
    ]


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


def event(machine: Machine, name: str, **fields: Any) -> Line:
    """Return the line of one event, without what every line of an event has."""
    tick = machine.tick(events=[event_value(name, **fields)])
    (line,) = machine.lines("event", tick)
    assert (line.pop("event"), line.pop("process"), line.pop("target")) == (name, 100, 1)
    return line


def test_an_event_has_the_time_when_it_happened(machine: Machine) -> None:
    tick = machine.tick(events=[event_value("reset", time_ns=77)])
    assert [line["time_ns"] for line in tick.lines] == [WALL_OFFSET_NS + 77]


def test_connection_events_name_the_peer_and_the_error(machine: Machine) -> None:
    machine.label(70, peer_value("10.0.0.1", 80))
    peer = {"peer": "10.0.0.1:80"}
    assert event(machine, "connect", label=70, duration_ns=5) == {**peer, "duration_ns": 5}
    assert event(machine, "rtt_spike", label=70, duration_ns=6) == {**peer, "duration_ns": 6}
    assert event(machine, "retransmit", label=70) == peer
    assert event(machine, "reset", label=70) == peer
    refused = event(machine, "connect_failed", label=70, duration_ns=7, code=errno.ECONNREFUSED)
    assert refused == {**peer, "duration_ns": 7, "error": "ECONNREFUSED"}
    given_up = event(machine, "connect_failed", code=records.GIVEN_UP)
    assert given_up == {"error": "GIVEN_UP"}


def test_dns_events_have_the_name_and_the_code_of_the_answer(machine: Machine) -> None:
    machine.label(71, dns_value(dns_wire(b"db")))
    assert event(machine, "dns", label=71, duration_ns=5) == {"name": "db", "duration_ns": 5}
    failed = event(machine, "dns_error", label=71, duration_ns=5, code=3)
    assert failed == {"name": "db", "duration_ns": 5, "error": "NXDOMAIN"}


def test_slow_file_events_have_path_operation_and_bytes(machine: Machine) -> None:
    machine.files.update(file_key(5), file_value(b"data", b"wal", operations=0))
    slow = event(machine, "slow_file", file=file_key(5), call=3, size=4096, duration_ns=9)
    assert slow == {
        "path": "/data/wal",
        "operation": "fsync",
        "bytes": 4096,
        "duration_ns": 9,
    }
    unknown = event(machine, "slow_file", file=file_key(6), call=1, duration_ns=9)
    assert unknown == {"operation": "read", "bytes": 0, "duration_ns": 9}


def test_long_block_events_have_the_reason_and_what_file_there_was(machine: Machine) -> None:
    machine.files.update(file_key(5), file_value(b"wal", operations=0))
    lock = records.REASONS.index("lock")
    disk = records.REASONS.index("disk")
    assert event(machine, "long_block", duration_ns=9, reason=lock, call=9) == {
        "reason": "lock",
        "duration_ns": 9,
    }
    assert event(machine, "long_block", duration_ns=9, reason=disk, call=2, file=file_key(5)) == {
        "reason": "disk",
        "operation": "write",
        "path": "/wal",
        "duration_ns": 9,
    }


def test_process_events_have_name_and_end(machine: Machine) -> None:
    machine.process(100, process_value(b"worker"))
    assert event(machine, "exec") == {"detail": "worker"}
    assert event(machine, "exit", code=3 << 8) == {"detail": "worker", "exit_code": 3}
    assert event(machine, "exit", code=9) == {"detail": "worker", "exit_code": -9}
    assert event(machine, "oom_kill") == {"detail": "worker"}


def test_events_of_a_process_that_is_not_known_have_no_name(machine: Machine) -> None:
    assert event(machine, "exec") == {}
