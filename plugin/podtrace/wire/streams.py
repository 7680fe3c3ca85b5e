"""Several tracers in one stream of lines, told apart by the field `stream`.

Each tracer numbers its lines and ticks for itself, so each has its own sequence, hello and end. A
line without the field belongs to stream 0.
"""

from __future__ import annotations

from collections import Counter

from podtrace.wire.ticks import PENDING_LINES, Line, Tick, Ticks

MOST_STREAMS = 1000
"""Greatest number that a stream may have, and so the number of tracers in one trace."""


class Streams(dict[int, Ticks]):
    """The tracers by the number of their stream, from the first line of each on.

    `damage` counts lines that belong to none. What is kept of unfinished ticks is bounded by
    PENDING_LINES for all streams together.
    """

    def __init__(self) -> None:
        super().__init__()
        self.damage: Counter[str] = Counter()
        self._pending_lines = 0

    def feed(self, line: Line) -> list[Tick]:
        """Take one line as the decoder gives it; return the tick that it completes, if any.

        Raises:
            SchemaMismatchError: It is a hello line of another major version.
        """
        number = line.get("stream") or 0
        ticks = self.get(number)
        if ticks is None:
            if number > MOST_STREAMS:
                self.damage["stream_out_of_range"] += 1
                return []
            ticks = self[number] = Ticks(number)
        before = ticks.pending_lines
        whole = ticks.feed(line)
        self._pending_lines += ticks.pending_lines - before
        while self._pending_lines > PENDING_LINES:
            fullest = max(self.values(), key=_pending_lines)
            self._pending_lines -= fullest.pending_lines
            fullest.give_up_oldest()
            self._pending_lines += fullest.pending_lines
        return whole

    def flush(self) -> None:
        """Give up the ticks that are not whole; call at the end of all streams."""
        for ticks in self.values():
            ticks.flush()
        self._pending_lines = 0


def _pending_lines(ticks: Ticks) -> int:
    return ticks.pending_lines
