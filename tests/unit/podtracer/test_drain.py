from __future__ import annotations

import threading
import time
from collections import defaultdict

import pytest

from kernel_memory import Counters, MemoryMap, series_key, thread_value
from podtrace.wire.histogram import SLOTS, slot_lower, slot_of, slot_upper
from podtracer.drain import (
    CPU,
    Group,
    GroupKey,
    OpenIntervals,
    SeriesTable,
    read_executed_ns,
)
from podtracer.records import (
    ASPECT_AGAIN,
    ASPECT_ERROR,
    ASPECT_SLOW,
    METRICS,
    SERIES_VALUE,
    THREAD_VALUE_BYTES,
    U32,
)

READ, SEND, CONNECT = (METRICS.index(name) for name in ("read", "send", "connect"))


@pytest.fixture
def counters() -> Counters:
    return Counters()


def table(counters: Counters) -> SeriesTable:
    return SeriesTable(counters.series, counters.overflow, counters.overflow_aspects)


def test_first_gains_are_all_that_was_counted(counters: Counters) -> None:
    counters.record("read", 1000, 1000, 70_000, size=512, wait_ns=40)
    assert table(counters).gains() == {
        (READ, 100, 1, 0): Group(
            count=3,
            sum_ns=72_000,
            max_ns=70_000,
            bytes=1536,
            wait_ns=120,
            slots={slot_of(1000): 2, slot_of(70_000): 1},
        )
    }


def test_gains_are_what_was_added_since_the_last_look(counters: Counters) -> None:
    series = table(counters)
    counters.record("read", 1000, size=100, wait_ns=7)
    series.gains()
    counters.record("read", 1000, 90_000, size=10, wait_ns=1)
    assert series.gains() == {
        (READ, 100, 1, 0): Group(
            count=2,
            sum_ns=91_000,
            max_ns=90_000,
            bytes=20,
            wait_ns=2,
            slots={slot_of(1000): 1, slot_of(90_000): 1},
        )
    }
    assert series.gains() == {}


def test_groups_are_told_apart_by_metric_process_target_and_label(counters: Counters) -> None:
    counters.record("read", 50)
    counters.record("write", 50)
    counters.record("read", 50, process=101)
    counters.record("read", 50, target=2)
    counters.record("read", 50, label=2**64 - 1)
    write = METRICS.index("write")
    assert sorted(table(counters).gains()) == [
        (READ, 100, 1, 0),
        (READ, 100, 1, 2**64 - 1),
        (READ, 100, 2, 0),
        (READ, 101, 1, 0),
        (write, 100, 1, 0),
    ]


def test_longest_of_a_tick_is_exact_when_its_slot_never_had_a_longer_one(
    counters: Counters,
) -> None:
    series = table(counters)
    low = slot_lower(slot_of(1_000_000))
    counters.record("read", low + 5)
    series.gains()
    counters.record("read", low + 9)
    assert series.gains()[READ, 100, 1, 0].max_ns == low + 9


def test_longest_of_a_tick_is_not_that_of_an_earlier_one(counters: Counters) -> None:
    series = table(counters)
    slow, quick = 10_000_000, 1_000
    counters.record("read", slow, quick + 7)
    series.gains()
    counters.record("read", quick)
    # The slot's maximum stands for the tick: less than a sixteenth above what is true.
    assert series.gains()[READ, 100, 1, 0].max_ns == quick + 7
    assert quick + 7 < slot_upper(slot_of(quick))


def test_longest_stays_within_its_slot(counters: Counters) -> None:
    series = table(counters)
    key = series_key("read", slot=slot_of(1000))
    counters.series.update(key, SERIES_VALUE.pack(1, 1000, 5000, 0, 0))
    series.gains()
    counters.series.update(key, SERIES_VALUE.pack(2, 2000, 5000, 0, 0))
    assert series.gains()[READ, 100, 1, 0].max_ns == slot_upper(slot_of(1000)) - 1


def test_aspects_stand_beside_the_operations(counters: Counters) -> None:
    counters.record("send", 300)
    counters.tally("send", 2, slot=32, aspect=ASPECT_ERROR)
    counters.tally("send", 3, slot=104, aspect=ASPECT_ERROR)
    counters.tally("send", 4, aspect=ASPECT_AGAIN)
    counters.tally("send", 5, aspect=ASPECT_SLOW)
    (group,) = table(counters).gains().values()
    assert group == Group(
        count=1,
        sum_ns=300,
        max_ns=300,
        again=4,
        slow=5,
        errors={32: 2, 104: 3},
        slots={slot_of(300): 1},
    )
    assert group.operations == 1 + 2 + 3 + 4


def test_aspects_are_gains_too(counters: Counters) -> None:
    series = table(counters)
    counters.tally("send", 2, slot=32, aspect=ASPECT_ERROR)
    series.gains()
    counters.tally("send", 1, slot=32, aspect=ASPECT_ERROR)
    assert series.gains() == {(SEND, 100, 1, 0): Group(errors={32: 1})}


def test_merged_groups_add_up_and_keep_the_longest() -> None:
    merged = Group(1, 10, 10, 1, 1, 1, 1, {32: 1}, {5: 1})
    merged.merge(Group(2, 20, 7, 2, 3, 4, 5, {32: 6, 104: 7}, {5: 8, 6: 9}))
    assert merged == Group(3, 30, 10, 3, 4, 5, 6, {32: 7, 104: 7}, {5: 9, 6: 9})


def test_what_a_full_map_turned_away_is_told_by_metric() -> None:
    counters = Counters(entries=2)
    series = table(counters)
    counters.record("read", 1000)
    counters.record("write", 1000)
    counters.record("connect", 500, 800_000, process=101)
    counters.tally("connect", 3, slot=111, aspect=ASPECT_ERROR)
    counters.tally("send", 2, aspect=ASPECT_AGAIN)
    series.gains()
    assert series.overflow_gains() == {
        CONNECT: Group(
            count=2,
            sum_ns=800_500,
            max_ns=800_000,
            errors={0: 3},
            slots={slot_of(500): 1, slot_of(800_000): 1},
        ),
        SEND: Group(again=2),
    }
    assert series.overflow_gains() == {}
    counters.record("connect", 500, process=101)
    counters.tally("send", 1, aspect=ASPECT_AGAIN)
    assert series.overflow_gains() == {
        CONNECT: Group(count=1, sum_ns=500, max_ns=500, slots={slot_of(500): 1}),
        SEND: Group(again=1),
    }


def test_overflow_is_not_read_while_the_map_has_room(counters: Counters) -> None:
    counters.record("read", 1000)
    series = table(counters)
    series.gains()
    assert series.overflow_gains() == {}
    assert (counters.overflow.reads, counters.overflow_aspects.reads) == (0, 0)
    assert (counters.overflow.lookups, counters.overflow_aspects.lookups) == (0, 0)


def test_overflow_is_still_read_after_the_map_got_room_again() -> None:
    counters = Counters(entries=1)
    series = table(counters)
    counters.record("read", 1000)
    counters.record("write", 2000)
    series.gains()
    series.overflow_gains()
    index = U32.pack(METRICS.index("write") * SLOTS + slot_of(2000))
    counters.overflow.update(index, SERIES_VALUE.pack(2, 4000, 2000, 0, 0))
    series.forget(100)
    assert series.overflow_gains()[METRICS.index("write")].count == 1


def test_every_place_of_the_overflow_is_read() -> None:
    counters = Counters(entries=0)
    series = table(counters)
    counters.tally("dns_query")
    counters.record("read", *(slot_lower(slot) for slot in (0, 63, 64, 99, 100, SLOTS - 1)))
    counters.record("exit", 2**64 - 1)
    counters.tally("dns", aspect=ASPECT_AGAIN)
    counters.tally("exit", aspect=ASPECT_SLOW)
    series.gains()
    gains = series.overflow_gains()
    assert {METRICS[metric]: list(group.slots) for metric, group in gains.items()} == {
        "dns_query": [0],
        "read": [0, 63, 64, 99, 100, SLOTS - 1],
        "exit": [SLOTS - 1],
        "dns": [],
    }
    assert (gains[METRICS.index("dns")].again, gains[METRICS.index("exit")].slow) == (1, 1)


def test_processes_with_counters_are_known_until_they_are_forgotten(counters: Counters) -> None:
    series = table(counters)
    counters.record("read", 1000)
    counters.record("read", 1000, process=101)
    series.gains()
    assert sorted(series.processes) == [100, 101]
    series.forget(100)
    assert sorted(series.processes) == [101]


def test_forgetting_deletes_the_process_and_returns_what_it_gained_last(
    counters: Counters,
) -> None:
    series = table(counters)
    counters.record("read", 1000)
    counters.record("send", 2000)
    counters.record("read", 1000, process=101)
    series.gains()
    counters.record("read", 1000)
    assert series.forget(100) == {
        (READ, 100, 1, 0): Group(count=1, sum_ns=1000, max_ns=1000, slots={slot_of(1000): 1})
    }
    assert list(counters.series.items) == [series_key("read", 101, slot_of(1000))]
    assert series.forget(100) == {}


def test_a_process_number_that_is_used_again_begins_at_nothing(counters: Counters) -> None:
    series = table(counters)
    counters.record("read", 1000, 1000)
    series.gains()
    series.forget(100)
    counters.record("read", 1000)
    assert series.gains()[READ, 100, 1, 0].count == 1
    assert series.forget(100) == {}
    assert counters.series.items == {}


@pytest.fixture
def threads() -> MemoryMap:
    return MemoryMap(4, THREAD_VALUE_BYTES)


def run(threads: MemoryMap, tid: int, value: bytes) -> None:
    threads.update(U32.pack(tid), value)


def cpu_of(running: OpenIntervals, now_ns: int, **closed_ns: int) -> dict[tuple[int, int], int]:
    """Return (process, target) -> CPU time of the tick; `closed_ns` by "pN", process N."""
    groups: defaultdict[GroupKey, Group] = defaultdict(Group)
    for name, ns in closed_ns.items():
        groups[CPU, int(name[1:]), 1, 0].sum_ns = ns
    running.adjust(groups, now_ns)
    return {(process, target): group.sum_ns for (_, process, target, _), group in groups.items()}


def test_cpu_time_that_no_switch_has_closed_is_counted(threads: MemoryMap) -> None:
    running = OpenIntervals(threads, lambda tid: None)
    run(threads, 7, thread_value(100, on_cpu_ns=1_000))
    run(threads, 8, thread_value(100, on_cpu_ns=1_500))
    run(threads, 9, thread_value(101, target=2, on_cpu_ns=1_900))
    run(threads, 10, thread_value(102))
    assert cpu_of(running, 2_000) == {(100, 1): 1_500, (101, 2): 100}


def test_open_time_is_counted_once_when_it_is_closed_later(threads: MemoryMap) -> None:
    running = OpenIntervals(threads, lambda tid: None)
    run(threads, 7, thread_value(100, on_cpu_ns=1_000))
    total = cpu_of(running, 2_000)[100, 1]
    total += cpu_of(running, 3_000)[100, 1]
    # Switched off at 3,400 and on again at 3,900: 2,400 closed.
    run(threads, 7, thread_value(100, on_cpu_ns=3_900))
    total += cpu_of(running, 4_000, p100=2_400)[100, 1]
    run(threads, 7, thread_value(100))
    total += cpu_of(running, 5_000, p100=200)[100, 1]
    assert total == 2_400 + 200
    assert cpu_of(running, 6_000) == {}


def test_a_switch_after_the_tick_began_to_be_read_is_of_the_next_one(threads: MemoryMap) -> None:
    running = OpenIntervals(threads, lambda tid: None)
    run(threads, 7, thread_value(100, on_cpu_ns=2_500))
    assert cpu_of(running, 2_000) == {}


def test_a_sum_below_zero_is_carried_into_the_next_tick(threads: MemoryMap) -> None:
    running = OpenIntervals(threads, lambda tid: None)
    run(threads, 7, thread_value(100, on_cpu_ns=1_000))
    assert cpu_of(running, 2_000) == {(100, 1): 1_000}
    # The switch that closed 1,050 came after the counters were read and before the threads were.
    run(threads, 7, thread_value(100))
    missed = cpu_of(running, 2_100)[100, 1]
    assert missed == -1_000
    running.carry(100, 1, missed)
    assert cpu_of(running, 3_000, p100=1_050) == {(100, 1): 50}
    assert cpu_of(running, 4_000) == {}


def test_a_thread_whose_switch_off_was_not_seen_does_not_go_on_running(
    threads: MemoryMap,
) -> None:
    run(threads, 7, thread_value(100, on_cpu_ns=1_000))
    running = OpenIntervals(threads, {7: 300}.get)
    assert cpu_of(running, 2_000) == {(100, 1): 300}
    assert cpu_of(running, 9_000) == {(100, 1): 0}


def test_the_kernel_tells_the_cpu_time_of_a_thread() -> None:
    own = threading.get_native_id()
    before_ns = read_executed_ns(own)
    time.sleep(0.01)
    after_ns = read_executed_ns(own)
    assert before_ns is not None
    assert after_ns is not None
    assert 0 < before_ns <= after_ns <= time.thread_time_ns()
    assert read_executed_ns(4_190_000) == 0


@pytest.mark.parametrize(
    ("executed_ns", "told_ns", "open_ns"),
    [
        (5_000, None, 1_000),  # the kernel does not tell
        (5_000, 5_600, 600),  # it slept, and the switch was not seen
        (5_000, 7_000, 1_000),  # it ran before it was seen
        (5_000, 4_000, 0),  # up to a clock tick behind
        (5_000, 0, 0),  # it is gone
    ],
)
def test_a_thread_has_not_run_longer_than_the_kernel_says(
    threads: MemoryMap, executed_ns: int, told_ns: int | None, open_ns: int
) -> None:
    run(threads, 7, thread_value(100, on_cpu_ns=1_000, executed_ns=executed_ns))
    run(threads, 8, thread_value(101))
    told: dict[int, int | None] = {7: told_ns}
    running = OpenIntervals(threads, told.__getitem__)
    assert cpu_of(running, 2_000) == {(100, 1): open_ns}


def test_calls_that_gave_up_waited_all_the_same(counters: Counters) -> None:
    series = table(counters)
    counters.tally("receive", 2, aspect=ASPECT_AGAIN, wait_ns=30)
    counters.tally("receive", slot=104, aspect=ASPECT_ERROR, wait_ns=5)
    series.gains()
    counters.tally("receive", aspect=ASPECT_AGAIN, wait_ns=7)
    receive = METRICS.index("receive")
    assert series.gains() == {(receive, 100, 1, 0): Group(wait_ns=7, again=1)}
