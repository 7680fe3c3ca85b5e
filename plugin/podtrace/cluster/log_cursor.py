"""What was read of a tracer's log so far: each line passes once, however often the log repeats it.

Lines are told apart by their `seq`. What is no line of the stream (a container's log holds standard
error too) does not pass; its end is kept for the user to see when the tracer fails.
"""

from __future__ import annotations

import re
from collections import deque

from podtrace.wire.schema import MAX_LINE_BYTES

KEPT_LINES = 8
_KEPT_BYTES = 500
_SEQ = re.compile(rb'"seq":(\d{1,18})[,}]')
# Quotes inside a text are escaped, so that no text can look like these.
_LAST = (b'"kind":"end"', b'"kind":"error"')


class MissingLinesError(Exception):
    """A part of the log that was asked for begins behind the line that is expected next."""


class LogCursor:
    """A place in the stream of one tracer."""

    def __init__(self) -> None:
        self.last_seq = 0
        self.last_line = b""
        self._rest = b""
        self._is_too_long = False
        self._is_partial = False
        self._others: deque[str] = deque(maxlen=KEPT_LINES)

    @property
    def other_lines(self) -> list[str]:
        """The last lines that were none of the stream."""
        return list(self._others)

    @property
    def is_complete(self) -> bool:
        """The last line of the trace was read."""
        return any(mark in self.last_line for mark in _LAST)

    def restart(self, is_partial: bool) -> None:
        """Begin anew at a line's beginning.

        Args:
            is_partial: not the whole log was asked for, so that a gap may be of our own making.
        """
        self._rest = b""
        self._is_too_long = False
        self._is_partial = is_partial
        self._others.clear()

    def take(self, chunk: bytes) -> bytes:
        """Return the whole new lines that the chunk completes.

        Raises:
            MissingLinesError: a part of the log begins too late; nothing of it was taken.
        """
        *whole, rest = chunk.split(b"\n")
        taken = []
        for piece in whole:
            line, self._rest = self._rest + piece, b""
            if self._is_too_long:
                self._is_too_long = False
            elif self._is_new(line):
                taken.append(line + b"\n")
        if not self._is_too_long:
            self._rest += rest
            if len(self._rest) > 2 * MAX_LINE_BYTES:
                self._rest, self._is_too_long = b"", True
        return b"".join(taken)

    def _is_new(self, line: bytes) -> bool:
        match = _SEQ.search(line) if line.startswith(b"{") else None
        if match is None:
            text = line[:_KEPT_BYTES].decode("utf-8", "replace").strip()
            if text:
                self._others.append(text)
            return False
        seq = int(match.group(1))
        if self._is_partial and seq > self.last_seq + 1:
            raise MissingLinesError
        self._is_partial = False
        if seq <= self.last_seq:
            return False
        self.last_seq, self.last_line = seq, line
        return True
