"""From the kernel's cumulative counters to what happened since the last look.

Counters are kept and subtracted, never reset: an increment that races with a reset would be lost.
What belongs to an ended process is deleted two ticks later, when nothing can add to it any more.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from podtrace.wire.histogram import SLOTS, slot_upper
from podtracer import bpf
from podtracer.records import (
    ASPECT_AGAIN,
    ASPECT_ERROR,
    ASPECT_MASK,
    ASPECT_SLOW,
    METRICS,
    SERIES_KEY,
    SERIES_VALUE,
    THREAD_EXECUTED,
    THREAD_ON_CPU,
    THREAD_VALUE_BYTES,
    U32,
    U64,
    SeriesKey,
    SeriesValue,
)

CPU = METRICS.index("cpu")
_CHUNK = 64
_KEY_BYTES, _VALUE_BYTES = SERIES_KEY.size, SERIES_VALUE.size

GroupKey = tuple[int, int, int, int]
"""(metric number, process, target, label)"""


@dataclass
class Group:
    """What one metric of one process and label added in a tick; `errors` by number."""

    count: int = 0
    sum_ns: int = 0
    max_ns: int = 0
    bytes: int = 0
    wait_ns: int = 0
    again: int = 0
    slow: int = 0
    errors: dict[int, int] = field(default_factory=dict)
    slots: dict[int, int] = field(default_factory=dict)

    @property
    def operations(self) -> int:
        """Everything counted, to rank groups by."""
        return self.count + sum(self.errors.values()) + self.again

    def merge(self, other: Group) -> None:
        """Add another group's numbers to this one's."""
        self.count += other.count
        self.sum_ns += other.sum_ns
        self.max_ns = max(self.max_ns, other.max_ns)
        self.bytes += other.bytes
        self.wait_ns += other.wait_ns
        self.again += other.again
        self.slow += other.slow
        for number, count in other.errors.items():
            self.errors[number] = self.errors.get(number, 0) + count
        for slot, count in other.slots.items():
            self.slots[slot] = self.slots.get(slot, 0) + count

    def add_aspect(self, aspect: int, number: int, count: int, wait_ns: int = 0) -> None:
        """Add to what is counted beside the operations themselves.

        A call that gave up, or failed, after waiting has waited all the same.
        """
        self.wait_ns += wait_ns
        if aspect == ASPECT_ERROR:
            self.errors[number] = self.errors.get(number, 0) + count
        elif aspect == ASPECT_AGAIN:
            self.again += count
        elif aspect == ASPECT_SLOW:
            self.slow += count

    def add_slot(self, slot: int, before: SeriesValue, after: SeriesValue) -> None:
        """Add what one histogram slot gained."""
        count = after.operations - before.operations
        self.count += count
        self.sum_ns += after.sum_ns - before.sum_ns
        self.bytes += after.size - before.size
        self.wait_ns += after.wait_ns - before.wait_ns
        if after.max_ns > before.max_ns:
            highest = after.max_ns
        else:
            # Below the slot's maximum of earlier ticks; its upper edge is at most a 16th above.
            highest = min(after.max_ns, slot_upper(slot) - 1)
        self.max_ns = max(self.max_ns, highest)
        if count:
            self.slots[slot] = self.slots.get(slot, 0) + count


_NOTHING = SeriesValue(0, 0, 0, 0, 0)


def _nonzero(array: bpf.Map, value_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield (index, value) of an array's elements that are not all zero."""
    for keys, values, count in array.batches():
        # Most of the array is zero: look at many elements at once first.
        for start in range(0, count, _CHUNK):
            end = min(start + _CHUNK, count)
            chunk = bytes(values[start * value_bytes : end * value_bytes])
            if not any(chunk):
                continue
            for index in range(start, end):
                position = (index - start) * value_bytes
                raw = chunk[position : position + value_bytes]
                if any(raw):
                    yield U32.unpack_from(keys, index * U32.size)[0], raw


class SeriesTable:
    """Reads the `series` map and its overflow, and tells each tick's gains."""

    def __init__(self, series: bpf.Map, overflow: bpf.Map, overflow_aspects: bpf.Map) -> None:
        self._series = series
        self._overflow = overflow
        self._overflow_aspects = overflow_aspects
        self._before: dict[bytes, bytes] = {}
        self._of_process: dict[int, set[bytes]] = defaultdict(set)
        self._overflow_before: dict[int, SeriesValue] = {}
        self._aspects_before: dict[int, int] = {}

    def gains(self) -> dict[GroupKey, Group]:
        """Return what was added since the last call."""
        groups: dict[GroupKey, Group] = defaultdict(Group)
        before = self._before
        for keys, values, count in self._series.batches():
            all_keys = bytes(keys[: count * _KEY_BYTES])
            all_values = bytes(values[: count * _VALUE_BYTES])
            for index in range(count):
                key = all_keys[index * _KEY_BYTES : (index + 1) * _KEY_BYTES]
                value = all_values[index * _VALUE_BYTES : (index + 1) * _VALUE_BYTES]
                if before.get(key) != value:
                    self._gain(groups, key, value)
        return groups

    def _gain(self, groups: dict[GroupKey, Group], raw_key: bytes, raw_value: bytes) -> None:
        key = SeriesKey(*SERIES_KEY.unpack(raw_key))
        raw_before = self._before.get(raw_key)
        if raw_before is None:
            self._of_process[key.process].add(raw_key)
        before = SeriesValue(*SERIES_VALUE.unpack(raw_before)) if raw_before else _NOTHING
        self._before[raw_key] = raw_value
        after = SeriesValue(*SERIES_VALUE.unpack(raw_value))
        aspect = key.metric & ASPECT_MASK
        group = groups[key.metric & ~ASPECT_MASK, key.process, key.target, key.label]
        if aspect:
            waited_ns = after.wait_ns - before.wait_ns
            group.add_aspect(aspect, key.slot, after.operations - before.operations, waited_ns)
        else:
            group.add_slot(key.slot, before, after)

    def overflow_gains(self) -> dict[int, Group]:
        """Return, by metric, what was counted since the last call while the map was full."""
        groups: dict[int, Group] = defaultdict(Group)
        if not self._is_full():
            return groups
        for index, raw in _nonzero(self._overflow, _VALUE_BYTES):
            after = SeriesValue(*SERIES_VALUE.unpack(raw))
            before = self._overflow_before.get(index, _NOTHING)
            if after.operations != before.operations:
                metric, slot = divmod(index, SLOTS)
                groups[metric].add_slot(slot, before, after)
                self._overflow_before[index] = after
        for index, raw in _nonzero(self._overflow_aspects, U64.size):
            (count,) = U64.unpack(raw)
            gained = count - self._aspects_before.get(index, 0)
            if gained:
                groups[index & ~ASPECT_MASK].add_aspect(index & ASPECT_MASK, 0, gained)
                self._aspects_before[index] = count
        return groups

    @property
    def processes(self) -> Iterable[int]:
        """Processes that have counters."""
        return self._of_process.keys()

    def _is_full(self) -> bool:
        return len(self._before) >= self._series.entries or bool(self._overflow_before)

    def forget(self, process: int) -> dict[GroupKey, Group]:
        """Delete an ended process's counters; return what they gained since the last look."""
        groups: dict[GroupKey, Group] = defaultdict(Group)
        for key in self._of_process.pop(process, ()):
            value = self._series.lookup(key)
            if value is not None and value != self._before.get(key):
                self._gain(groups, key, value)
            self._series.delete(key)
            self._before.pop(key, None)
        self._of_process.pop(process, None)
        return groups


class OpenIntervals:
    """CPU time of the threads that are running at this moment, which no switch has closed yet.

    `executed_ns` tells the CPU time of a thread so far, None where the kernel does not: a switch
    that the tracepoint left out must not make a sleeping thread run.
    """

    def __init__(
        self, threads: bpf.Map, executed_ns: Callable[[int], int | None] | None = None
    ) -> None:
        self._threads = threads
        self._executed_ns = executed_ns or read_executed_ns
        self._before: dict[tuple[int, int], int] = {}

    def adjust(self, groups: dict[GroupKey, Group], now_ns: int) -> None:
        """Add to each process's CPU time what is open now, less what was open before."""
        open_ns: dict[tuple[int, int], int] = defaultdict(int)
        for tid, process, target, since_ns, executed_ns in self._running():
            if since_ns < now_ns:
                total_ns = self._executed_ns(tid)
                ran_ns = now_ns - since_ns
                if total_ns is not None:
                    ran_ns = min(ran_ns, max(total_ns - executed_ns, 0))
                open_ns[process, target] += ran_ns
        for identity in open_ns.keys() | self._before.keys():
            process, target = identity
            group = groups[CPU, process, target, 0]
            group.sum_ns += open_ns.get(identity, 0) - self._before.get(identity, 0)
        self._before = dict(open_ns)

    def carry(self, process: int, target: int, sum_ns: int) -> None:
        """Keep a sum below zero for the next tick: a switch came between two reads of this one."""
        identity = process, target
        self._before[identity] = self._before.get(identity, 0) - sum_ns

    def _running(self) -> Iterator[tuple[int, int, int, int, int]]:
        for keys, values, count in self._threads.batches():
            for index in range(count):
                start = index * THREAD_VALUE_BYTES
                since_ns, process, target = THREAD_ON_CPU.unpack_from(values, start)
                if since_ns:
                    (tid,) = U32.unpack_from(keys, index * U32.size)
                    (executed_ns,) = THREAD_EXECUTED.unpack_from(values, start)
                    yield tid, process, target, since_ns, executed_ns


def read_executed_ns(tid: int) -> int | None:
    """Return the CPU time of a thread of this machine, 0 where it is gone, None if not told.

    /proc/TID/schedstat: up to a clock tick behind while the thread runs.
    """
    try:
        with open(f"/proc/{tid}/schedstat", "rb") as file:
            return int(file.read().split()[0])
    except OSError:
        return 0 if os.path.exists("/proc/self/schedstat") else None
