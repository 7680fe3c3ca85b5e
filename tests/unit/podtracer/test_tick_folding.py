from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from podtrace.wire.histogram import slot_of
from podtracer import records
from podtracer.records import ASPECT_AGAIN, ASPECT_ERROR
from podtracer.tick import MOST_SERIES_LINES
from tracer_machine import SECOND, Line, Machine


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
