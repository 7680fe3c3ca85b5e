"""Standard output, which may lose its reader at any time (`| head`) or fill a disk.

Nobody reading is no error: the run ends quietly, with the exit code that a shell gives a program
killed by SIGPIPE. Everything else that fails is an error that says so. What cannot be written on
standard error is given up.
"""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import sys
from collections.abc import Callable
from typing import TextIO

from podtrace.errors import OutputError

_NO_READER = (errno.EPIPE, errno.ECONNRESET, errno.EIO)


class OutputClosed(Exception):
    """Nobody reads standard output any more."""


class Output:
    """Writes to a stream and tells whether it still has a reader.

    Args:
        stream: where data goes; None where the program was started without a standard output.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream: TextIO = io.TextIOWrapper(io.BytesIO()) if stream is None else stream
        self._descriptor = _descriptor(self.stream)
        self._poll: select.poll | None = None
        self._is_closed = False
        if self._descriptor is not None and _has_reader(self._descriptor):
            self._poll = select.poll()
            # No events: the kernel reports an error or a hang-up always.
            self._poll.register(self._descriptor, 0)

    @property
    def is_terminal(self) -> bool:
        """Whether a user looks at it."""
        return self.stream.isatty()

    def check(self) -> None:
        """Find out whether the reader is gone, without writing.

        Raises:
            OutputClosed: it is.
        """
        if self._is_closed:
            raise OutputClosed
        if self._poll is None:
            return
        for _, events in self._poll.poll(0):
            if events & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
                self._give_up()
                raise OutputClosed

    def write_with(self, writer: Callable[[TextIO], object]) -> None:
        """Let a function write text to the stream, and flush it.

        Raises:
            OutputClosed: nobody reads any more.
            OutputError: writing failed for another reason.
        """
        try:
            writer(self.stream)
            self.stream.flush()
        except OSError as error:
            self._give_up()
            if error.errno in _NO_READER:
                raise OutputClosed from error
            raise OutputError(
                f"cannot write to standard output: {error.strerror}",
                "free some space, or send the output elsewhere",
            ) from error

    def write_bytes(self, data: bytes) -> None:
        """Write raw bytes.

        Raises:
            OutputClosed: nobody reads any more.
            OutputError: writing failed for another reason.
        """
        self.write_with(lambda stream: stream.buffer.write(data))

    def _give_up(self) -> None:
        """Keep the interpreter from complaining about the rest of its buffer when it exits."""
        self._is_closed = True
        if self._descriptor is None:
            return
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, self._descriptor)
        os.close(nowhere)


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _has_reader(descriptor: int) -> bool:
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def write_error(text: str) -> None:
    """Write a text on standard error, where there is one."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        return  # nobody is left to tell; the exit code says it
