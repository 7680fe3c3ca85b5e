from __future__ import annotations

import errno
from typing import Any

from kernel_memory import (
    dns_value,
    dns_wire,
    event_value,
    file_key,
    file_value,
    peer_value,
    process_value,
)
from podtracer import records
from tracer_machine import WALL_OFFSET_NS, Line, Machine


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
