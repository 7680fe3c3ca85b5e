"""The line source: all that differs between a local tracer, a pod's log and a recorded file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from podtrace.errors import PodtraceError

CHUNK_BYTES = 65536
PATIENCE_SECONDS = 60.0
"""Enough for a slow machine to compile the probes."""
IDLE_SECONDS = 0.25
"""A source with nothing to deliver yields an empty chunk about this often."""


class LineSource(Protocol):
    """Where the stream comes from: an iterable of chunks of bytes, cut anywhere.

    An empty chunk says that nothing arrived for a moment, so that the reader can redraw, and notice
    a tracer that fell silent. The iteration ends where the stream does.

    Attributes:
        patience_seconds: how long a source may say nothing before its first line. Infinite where
            the source itself notices a tracer that hangs, at the start and later.
    """

    patience_seconds: float

    def __iter__(self) -> Iterator[bytes]:
        """Start delivering; called once."""

    def stop(self) -> None:
        """Ask for the end of the trace: the rest of the stream, up to its last line, still comes.

        Called from a signal handler: it neither blocks nor raises.
        """

    def close(self) -> None:
        """Leave at once and release everything; safe to call at any time and again."""

    def trouble(self) -> PodtraceError | None:
        """Return why the stream ended, where it ended before its last line and the source knows."""

    def troubles(self) -> Sequence[PodtraceError]:
        """Return what went wrong although the stream has its last line, such as a missing part."""
