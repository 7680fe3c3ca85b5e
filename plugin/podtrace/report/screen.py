"""The terminal's alternate screen: entered, drawn on, and given back on every way out.

It writes straight to the file descriptor, one write a frame, so that a signal handler may restore
the terminal in the middle of whatever was being written.
"""

import atexit
import contextlib
import os
import select
import signal
import threading
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import TextIO

_ENTER = b"\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J"
_LEAVE = b"\x1b[0m\x1b[?25h\x1b[?1049l"
_HOME = "\x1b[H"
_CLEAR_LINE = "\x1b[2K"
_FALLBACK_SIZE = os.terminal_size((80, 24))


def can_redraw(stream: TextIO, environment: Mapping[str, str] | None = None) -> bool:
    """Return whether a stream is a terminal that can be redrawn and whose user lets us."""
    environment = os.environ if environment is None else environment
    capable = environment.get("TERM", "dumb") not in {"", "dumb"}
    return capable and not environment.get("NO_COLOR") and stream.isatty()


class Screen:
    """Owns the alternate screen of one terminal between `open` and `close`.

    A stop by Ctrl-Z gives the terminal back and takes it again when the program goes on. A terminal
    that is gone is left alone: whoever reads the report finds out elsewhere.
    """

    def __init__(self, stream: TextIO) -> None:
        stream.flush()
        self._descriptor = stream.fileno()
        self._is_open = False
        self._suspend_before: object = None

    def open(self) -> None:
        """Enter the alternate screen and hide the cursor."""
        if self._is_open:
            return
        self._is_open = True
        atexit.register(self.close)
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGTSTP)
            if before is signal.SIG_DFL:
                self._suspend_before = before
                signal.signal(signal.SIGTSTP, self._suspend)
        self._write(_ENTER)

    def close(self) -> None:
        """Show the cursor and what was on the screen before; further calls do nothing."""
        if not self._is_open:
            return
        self._is_open = False
        self._write(_LEAVE)
        atexit.unregister(self.close)
        if self._suspend_before is not None:
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            self._suspend_before = None

    @property
    def size(self) -> os.terminal_size:
        """Columns and lines of the terminal at this moment."""
        try:
            found = os.get_terminal_size(self._descriptor)
        except OSError:
            return _FALLBACK_SIZE
        return found if found.columns and found.lines else _FALLBACK_SIZE

    def draw(self, lines: Sequence[str]) -> None:
        """Draw lines from the top; there may be no more than the terminal has."""
        if self._is_open:
            # Cleared before it is written: clearing behind a full line eats its last cell.
            frame = _HOME + "\r\n".join(_CLEAR_LINE + line for line in lines)
            self._write(frame.encode("utf-8", "replace"))

    def _suspend(self, number: int, frame: FrameType | None) -> None:
        self._write(_LEAVE)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        # Here the program goes on after SIGCONT.
        signal.signal(signal.SIGTSTP, self._suspend)
        self._write(_ENTER)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        with contextlib.suppress(OSError):
            while view:
                try:
                    view = view[os.write(self._descriptor, view) :]
                except BlockingIOError:
                    select.select([], [self._descriptor], [], 1.0)
