"""Lines to standard output, numbered, whole ticks at a time.

The tracer never waits for a slow reader of a log, but standard output may be a pipe to a plugin:
closed means that nobody wants the stream any more.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import Any

from podtrace.wire.codec import LineTooLongError, encode
from podtrace.wire.schema import END, ERROR, EVENT, HEALTH, HELLO, MAX_LINE_BYTES


class StreamClosed(Exception):
    """The reader of the stream has gone."""


class Stream:
    """Writes the stream to a descriptor; gives each line its `seq`, `tick` and `time_ns`."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._seq = 0
        self._tick = 0
        self._waiting: list[dict[str, Any]] = []
        self.lost: Counter[str] = Counter()
        self.suppressed = 0
        self.lines_dropped = 0
        self.suppressed_now = 0

    @property
    def lines_waiting(self) -> int:
        """Lines in the tick that is being collected."""
        return len(self._waiting)

    def events(self) -> list[dict[str, Any]]:
        """Return the events in the tick that is being collected."""
        return [line for line in self._waiting if line["kind"] == EVENT]

    def hello(self, fields: dict[str, Any]) -> None:
        """Write the first line."""
        self._write([_shortened({"kind": HELLO, "tick": 0, **fields})])

    def add(self, kind: str, fields: dict[str, Any], time_ns: int | None = None) -> None:
        """Collect a line of the tick."""
        line = {"kind": kind, **fields}
        if time_ns is not None:
            line["time_ns"] = time_ns
        self._waiting.append(line)

    def end_tick(self, health: dict[str, Any], time_ns: int) -> None:
        """Close the tick with its health line and write it as a whole.

        A line that is too long in spite of all care is dropped and counted in `lost`.
        """
        self._tick += 1
        lines = []
        for line in self._waiting:
            lines += self._fitting(line)
        self._waiting = []
        health["lost"]["lines_dropped"] += self.lines_dropped
        self.lines_dropped = 0
        self.lost.update(health["lost"])
        health["suppressed"] += self.suppressed_now
        self.suppressed_now = 0
        self.suppressed += health["suppressed"]
        lines.append({"kind": HEALTH, "lines": len(lines) + 1, **health})
        for line in lines:
            line["tick"] = self._tick
            line.setdefault("time_ns", time_ns)
        self._write(lines)

    def _fitting(self, line: dict[str, Any]) -> list[dict[str, Any]]:
        """Split a line whose histogram is too long for one."""
        try:
            encode({**line, **_LONGEST})
        except LineTooLongError:
            slots = line.get("slots")
            if not slots or len(slots) < 2:
                self.lines_dropped += 1
                return []
            half = len(slots) // 2
            first = sum(count for _, count in slots[:half])
            rest = {
                **{key: line[key] for key in line if key in _IDENTITY},
                "count": line["count"] - first,
                "sum_ns": 0,
                "max_ns": 0,
                "slots": slots[half:],
            }
            head = {**line, "count": first, "slots": slots[:half]}
            return self._fitting(head) + self._fitting(rest)
        return [line]

    def end(self, fields: dict[str, Any]) -> None:
        """Write the last line, with the totals that let the reader prove that it has all."""
        totals = {
            "lines": self._seq + 1,
            "ticks": self._tick,
            "lost": {place: count for place, count in self.lost.items() if count},
            "suppressed": self.suppressed,
        }
        self._write([{"kind": END, "tick": self._tick, "totals": totals, **fields}])

    def error(self, fields: dict[str, str]) -> None:
        """Write why there is no stream, or no more of it."""
        self._write([_shortened({"kind": ERROR, "tick": self._tick, **fields})])

    def _write(self, lines: list[dict[str, Any]]) -> None:
        now = time.time_ns()
        encoded = bytearray()
        for line in lines:
            self._seq += 1
            line["seq"] = self._seq
            line.setdefault("time_ns", now)
            encoded += encode(line)
        rest = memoryview(encoded)
        try:
            while rest:
                rest = rest[os.write(self.fd, rest) :]
        except BrokenPipeError as error:
            raise StreamClosed from error


# `stream` is added by the plugin where it merges several.
_LONGEST = {"seq": 1 << 62, "tick": 1 << 31, "time_ns": 1 << 62, "stream": 1 << 31}
_IDENTITY = frozenset(
    {"kind", "metric", "process", "target", "peer", "name", "path", "reason", "time_ns"}
)


def _shortened(line: dict[str, Any]) -> dict[str, Any]:
    """Cut the longest texts of a line that must be written until it fits.

    The kernel's reasons for refusing each of twenty probes are longer than a line together.
    """
    most = MAX_LINE_BYTES
    while most:
        try:
            encode({**line, **_LONGEST})
            break
        except LineTooLongError:
            most //= 2
            line = _cut(line, most)
    return line


def _cut(value: Any, most: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= most else value[: max(most - 1, 0)] + "…"
    if isinstance(value, dict):
        return {key: _cut(item, most) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut(item, most) for item in value]
    return value
