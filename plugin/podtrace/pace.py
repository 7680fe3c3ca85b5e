"""A recording at the speed of the run that it recorded."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence

from podtrace.errors import PodtraceError
from podtrace.source import IDLE_SECONDS, LineSource
from podtrace.wire import schema
from podtrace.wire.streams import MOST_STREAMS

_LONGEST_PAUSE_SECONDS = 5.0
_HEALTH_MARK = b'"' + schema.HEALTH.encode() + b'"'


class PacedSource:
    """Delivers another source's stream tick by tick, a tick's length apart.

    Gaps, and times that make no sense, are shortened to a few seconds.
    """

    def __init__(
        self,
        source: LineSource,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source = source
        self.patience_seconds = source.patience_seconds
        self._clock = clock
        self._sleep = sleep
        self._stopped = False

    def __iter__(self) -> Iterator[bytes]:
        """Yield the stream in chunks that end with a tick."""
        started = self._clock()
        due = 0.0
        # Tracers of several nodes run beside each other, each by its own clock.
        latest: dict[int, tuple[int, float]] = {}
        for line in self._lines():
            yield line
            tick = _tick_of(line)
            if tick is None:
                continue
            stream, end_ns = tick
            before_ns, passed = latest.get(stream, (end_ns, due))
            passed += min(max((end_ns - before_ns) / 1e9, 0.0), _LONGEST_PAUSE_SECONDS)
            latest[stream] = (end_ns, passed)
            due = max(due, passed)
            while not self._stopped and (left := started + due - self._clock()) > 0:
                self._sleep(min(left, IDLE_SECONDS))
                yield b""

    def stop(self) -> None:
        """End the replay where it is."""
        self._stopped = True
        self._source.stop()

    def close(self) -> None:
        """Close the source."""
        self._stopped = True
        self._source.close()

    def troubles(self) -> Sequence[PodtraceError]:
        """Return the other source's."""
        return self._source.troubles()

    def trouble(self) -> PodtraceError | None:
        """Return what the source says."""
        return self._source.trouble()

    def _lines(self) -> Iterator[bytes]:
        rest = b""
        for chunk in self._source:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if self._stopped:
                    return
                yield line + b"\n"
        if rest:
            yield rest


def _tick_of(line: bytes) -> tuple[int, int] | None:
    """Return the stream and the end of the tick that a health line closes, else None."""
    if _HEALTH_MARK not in line or len(line) > schema.MAX_LINE_BYTES:
        return None
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    if not isinstance(fields, dict) or fields.get("kind") != schema.HEALTH:
        return None
    stream, time_ns = fields.get("stream", 0), fields.get("time_ns")
    if not isinstance(stream, int) or not isinstance(time_ns, int) or stream > MOST_STREAMS:
        return None
    return stream, time_ns
