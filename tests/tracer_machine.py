"""A tracer's tables over maps in memory, and its stream as a reader gets it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kernel_memory import Counters, MemoryMap
from podtrace.wire.codec import Decoder
from podtrace.wire.ticks import Tick, Ticks
from podtracer import records
from podtracer.drain import OpenIntervals, SeriesTable
from podtracer.emit import Stream
from podtracer.records import U32, U64
from podtracer.tables import DnsPending, FileTable, LabelTable, ProcessTable
from podtracer.tick import Tables

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
