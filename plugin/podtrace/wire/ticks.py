"""From single lines to whole ticks: repeats dropped, gaps counted, halves held back.

A tick is applied as a whole or not at all, because half a tick gives rates and shares that never
were. Lines may come late: a log that is read again after a cut repeats old lines and may bring
missing ones, so a tick with gaps waits until PENDING_TICKS newer ones have begun.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from podtrace.wire import schema

Line = dict[str, Any]

PENDING_TICKS = 64
PENDING_LINES = 100_000
LONGEST_JUMP = 10_000_000
"""A `seq` this far ahead of the last one is taken for damage, not for a gap."""
MAX_GAPS = 1000


class SchemaMismatchError(ValueError):
    """The stream has another major version of the schema than this reader."""

    def __init__(self, found: str) -> None:
        self.found = found
        self.supported = "{}.{}".format(*schema.SCHEMA)
        super().__init__(
            f"the stream has schema {found}, but this podtrace reads schema {self.supported}: "
            "use a plugin and a tracer image of the same release"
        )


@dataclass
class Tick:
    """All lines of one tick; `health` is its last line, `lines` the others in order of `seq`."""

    number: int
    lines: list[Line]
    health: Line
    stream: int = 0


@dataclass
class _Pending:
    lines: list[Line] = field(default_factory=list)
    health: Line | None = None

    def complete(self) -> bool:
        return self.health is not None and len(self.lines) + 1 == self.health["lines"]


class Sequence:
    """Tells new lines from repeated ones by `seq`, and knows how many are missing.

    A line that comes late, but was never seen, fills its gap.
    """

    def __init__(self) -> None:
        self.repeated = 0
        self._given_up = 0
        self._next = 1
        self._started = False
        self._gaps: list[tuple[int, int]] = []

    @property
    def missing(self) -> int:
        """Number of lines below the highest `seq` that never came."""
        return self._given_up + sum(stop - start for start, stop in self._gaps)

    def accepts(self, seq: int) -> bool | None:
        """Return True for a new line, False for a repeated one, None for an absurd number."""
        if seq >= self._next:
            if self._started and seq - self._next > LONGEST_JUMP:
                return None
            if seq > self._next:
                self._add_gap(self._next, seq)
            self._next = seq + 1
            self._started = True
            return True
        for index, (start, stop) in enumerate(self._gaps):
            if start <= seq < stop:
                parts = [part for part in ((start, seq), (seq + 1, stop)) if part[0] < part[1]]
                self._gaps[index : index + 1] = parts
                return True
        self.repeated += 1
        return False

    def _add_gap(self, start: int, stop: int) -> None:
        self._gaps.append((start, stop))
        if len(self._gaps) > MAX_GAPS:
            oldest = self._gaps.pop(0)
            self._given_up += oldest[1] - oldest[0]


class Ticks:
    """Collects lines and gives ticks as they become whole.

    `hello`, `end` and `error` are kept as attributes when they come; `unknown` counts lines of
    kinds that this version does not know, by kind. `incomplete` counts ticks that were given up,
    `dropped` their lines. `damage` counts lines that could be read, but not be true. `stream` is
    the number that the ticks get; `pending_lines` are held back for ticks that are not whole yet.
    """

    def __init__(self, stream: int = 0) -> None:
        self.stream = stream
        self.hello: Line | None = None
        self.end: Line | None = None
        self.error: Line | None = None
        self.sequence = Sequence()
        self.unknown: Counter[str] = Counter()
        self.damage: Counter[str] = Counter()
        self.incomplete = 0
        self.dropped = 0
        self.pending_lines = 0
        self._pending: dict[int, _Pending] = {}

    def feed(self, line: Line) -> list[Tick]:
        """Take one line as the decoder gives it; return the tick that it completes, if any.

        Raises:
            SchemaMismatchError: It is a hello line of another major version.
        """
        kind = line["kind"]
        if kind == schema.HELLO:
            _check_version(line["schema"])
        accepted = self.sequence.accepts(line["seq"])
        if accepted is None:
            self.damage["seq_out_of_range"] += 1
        if not accepted:
            return []
        if kind == schema.HELLO:
            self.hello = line
        elif kind == schema.END:
            self.end = line
        elif kind == schema.ERROR:
            self.error = line
        elif kind in schema.KINDS:
            return self._collect(line)
        else:
            self.unknown[kind] += 1
            if type(line.get("tick")) is int and line["tick"] > 0:
                return self._collect(line)
        return []

    def flush(self) -> None:
        """Give up the ticks that are not whole; call at the end of the stream."""
        for number in list(self._pending):
            self._give_up(number)

    def give_up_oldest(self) -> None:
        """Give up the oldest of the ticks that are not whole."""
        if self._pending:
            self._give_up(min(self._pending))

    def _collect(self, line: Line) -> list[Tick]:
        number = line["tick"]
        pending = self._pending.get(number)
        if pending is None:
            pending = self._pending[number] = _Pending()
        if line["kind"] == schema.HEALTH and pending.health is None:
            pending.health = line
        else:
            pending.lines.append(line)
        self.pending_lines += 1
        if pending.complete():
            self.pending_lines -= len(pending.lines) + 1
            del self._pending[number]
            assert pending.health is not None
            pending.lines.sort(key=_seq)
            return [Tick(number, pending.lines, pending.health, self.stream)]
        while len(self._pending) > PENDING_TICKS or self.pending_lines > PENDING_LINES:
            self.give_up_oldest()
        return []

    def _give_up(self, number: int) -> None:
        pending = self._pending.pop(number)
        lines = len(pending.lines) + (pending.health is not None)
        self.pending_lines -= lines
        self.incomplete += 1
        self.dropped += lines


def _seq(line: Line) -> int:
    return int(line["seq"])


def _check_version(version: str) -> None:
    major = version.partition(".")[0]
    if major != str(schema.SCHEMA[0]):
        raise SchemaMismatchError(version)
