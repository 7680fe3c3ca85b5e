"""The kernel's side of the maps, in memory: what the probes would have written, without probes.

`MemoryMap` stands for podtracer.bpf.Map. `Counters` adds to the three maps of counters as add_count
in bpf/podtrace.h does. The other functions build values of the other maps.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from podtrace.wire.histogram import SLOTS, slot_of
from podtracer import bpf, records
from podtracer.records import METRICS

NO_FILE = bytes(records.FILE_KEY.size)


class MemoryMap(bpf.Map):
    """A map whose batches come two entries at a time in buffers that are used again."""

    _BATCH = 2

    def __init__(self, key_bytes: int, value_bytes: int, entries: int = 1024) -> None:
        self.entries = entries
        self.items: dict[bytes, bytes] = {}
        self.lookups = 0
        self.reads = 0
        self._sizes = key_bytes, value_bytes

    def lookup(self, key: bytes) -> bytes | None:
        self.lookups += 1
        return self.items.get(key)

    def update(self, key: bytes, value: bytes) -> None:
        assert (len(key), len(value)) == self._sizes
        self.items[key] = value

    def delete(self, key: bytes) -> bool:
        return self.items.pop(key, None) is not None

    def batches(self) -> Iterator[tuple[memoryview, memoryview, int]]:
        self.reads += 1
        keys, values = (bytearray(size * self._BATCH) for size in self._sizes)
        waiting = self._entries()
        for start in range(0, len(waiting), self._BATCH):
            part = waiting[start : start + self._BATCH]
            for index, (key, value) in enumerate(part):
                keys[index * len(key) : (index + 1) * len(key)] = key
                values[index * len(value) : (index + 1) * len(value)] = value
            yield memoryview(keys), memoryview(values), len(part)

    def _entries(self) -> list[tuple[bytes, bytes]]:
        return list(self.items.items())


class MemoryArray(MemoryMap):
    """An array: every index has a value, zeros at first."""

    _BATCH = 100

    def __init__(self, value_bytes: int, entries: int) -> None:
        super().__init__(records.U32.size, value_bytes, entries)

    def _entries(self) -> list[tuple[bytes, bytes]]:
        zeros = bytes(self._sizes[1])
        keys = map(records.U32.pack, range(self.entries))
        return [(key, self.items.get(key, zeros)) for key in keys]


def series_key(
    metric: str, process: int = 100, slot: int = 0, target: int = 1, label: int = 0, aspect: int = 0
) -> bytes:
    number = METRICS.index(metric) | aspect
    return records.SERIES_KEY.pack(label, process, slot, number, target)


class Counters:
    """The maps `series`, `overflow` and `overflow_aspects`, and who adds to them."""

    def __init__(self, entries: int = 1024) -> None:
        self.series = MemoryMap(records.SERIES_KEY.size, records.SERIES_VALUE.size, entries)
        self.overflow = MemoryArray(records.SERIES_VALUE.size, SLOTS * len(METRICS))
        self.overflow_aspects = MemoryArray(8, 256)

    def record(
        self,
        metric: str,
        *durations_ns: int,
        process: int = 100,
        target: int = 1,
        label: int = 0,
        size: int = 0,
        wait_ns: int = 0,
    ) -> None:
        """Add one timed operation of each duration."""
        for ns in durations_ns:
            key = series_key(metric, process, slot_of(ns), target, label)
            self._add(key, ns, size, wait_ns)

    def tally(
        self,
        metric: str,
        count: int = 1,
        *,
        process: int = 100,
        target: int = 1,
        label: int = 0,
        slot: int = 0,
        ns: int = 0,
        size: int = 0,
        wait_ns: int = 0,
        aspect: int = 0,
    ) -> None:
        """Add operations without a histogram; `slot` is the error number of ASPECT_ERROR."""
        for _ in range(count):
            self._add(series_key(metric, process, slot, target, label, aspect), ns, size, wait_ns)

    def _add(self, key: bytes, ns: int, size: int, wait_ns: int) -> None:
        table, place = self.series, key
        if key not in table.items and len(table.items) >= table.entries:
            _, _, slot, metric, _ = records.SERIES_KEY.unpack(key)
            if metric >= records.ASPECT_AGAIN:
                place = records.U32.pack(metric)
                (count,) = records.U64.unpack(self.overflow_aspects.items.get(place, bytes(8)))
                self.overflow_aspects.update(place, records.U64.pack(count + 1))
                return
            table, place = self.overflow, records.U32.pack(metric * SLOTS + slot)
        old = table.items.get(place, bytes(records.SERIES_VALUE.size))
        count, sum_ns, max_ns, total, waited = records.SERIES_VALUE.unpack(old)
        new = (count + 1, sum_ns + ns, max(max_ns, ns), total + size, waited + wait_ns)
        table.update(place, records.SERIES_VALUE.pack(*new))


def thread_value(process: int, target: int = 1, on_cpu_ns: int = 0, executed_ns: int = 0) -> bytes:
    value = bytearray(records.THREAD_VALUE_BYTES)
    # A format's padding is written as zeros: the longer one first.
    records.THREAD_EXECUTED.pack_into(value, 0, executed_ns)
    records.THREAD_ON_CPU.pack_into(value, 0, on_cpu_ns, process, target)
    return bytes(value)


def process_value(
    name: bytes = b"app",
    *,
    start_ns: int = 0,
    exit_ns: int = 0,
    container_cgroup: int = 7,
    parent: int = 1,
    pid: int = 11,
    exit_status: int = 0,
    target: int = 1,
    entered: bool = False,
) -> bytes:
    return records.PROCESS_VALUE.pack(
        start_ns, exit_ns, container_cgroup, parent, pid, exit_status, target, entered, name
    )


def peer_value(address: str, port: int = 0) -> bytes:
    family = 6 if ":" in address else 4
    raw = socket.inet_pton(socket.AF_INET6 if family == 6 else socket.AF_INET, address)
    return records.LABEL_VALUE.pack(
        1, family, 18, 0, raw.ljust(16, b"\0") + struct.pack("=H", port)
    )


def dns_value(wire: bytes, cut: bool = False) -> bytes:
    """Return the label of a name as on the wire; zeros follow it up to the label's end."""
    return records.LABEL_VALUE.pack(2, 0, 0, cut, wire)


def dns_wire(*labels: bytes) -> bytes:
    """Return a name as on the wire, without the zero length that ends it."""
    return b"".join(bytes([len(label)]) + label for label in labels)


def file_key(inode: int, device: int = 2, generation: int = 3, target: int = 1) -> bytes:
    return records.FILE_KEY.pack(inode, device, generation, target)


def file_value(
    *names: bytes, operations: int = 1, size: int = 0, max_ns: int = 0, complete: bool = True
) -> bytes:
    """Return a file with the names of its path, outermost first."""
    data = b"".join(name + b"\0" for name in reversed(names))
    return records.FILE_VALUE.pack(operations, size, max_ns, len(data), complete, data)


def dns_pending_value(
    start_ns: int, label: int, process: int = 100, target: int = 1, server: int = 0
) -> bytes:
    return records.DNS_VALUE.pack(start_ns, label, server, process, target)


def event_value(
    name: str,
    *,
    time_ns: int = 5_000_000_000,
    duration_ns: int = 0,
    label: int = 0,
    size: int = 0,
    file: bytes = NO_FILE,
    process: int = 100,
    code: int = 0,
    target: int = 1,
    call: int = 0,
    reason: int = 0,
) -> bytes:
    number = records.EVENTS.index(name)
    return records.EVENT.pack(
        time_ns, duration_ns, label, size, file, process, code, number, target, call, reason
    )
