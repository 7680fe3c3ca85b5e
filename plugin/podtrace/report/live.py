"""The live view on a terminal: redrawn when something changed, at most four times a second.

It is driven from outside, by the ticks of the stream and by the pauses between them, and has no
thread of its own.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TextIO

from podtrace.model.notable import Notable
from podtrace.model.session import Session
from podtrace.report.live_frame import Frame, FrameBuilder
from podtrace.report.live_layout import LEAST_HEIGHT, filled, frame_lines
from podtrace.report.messages import ENDING, write_message
from podtrace.report.paint import painted_frame
from podtrace.report.screen import Screen
from podtrace.report.style import style_for

SHORTEST_PAUSE_SECONDS = 0.25
_CLOCK_SECONDS = 1.0


class LiveView:
    """Shows a session on a terminal's alternate screen from construction until `close`.

    Args:
        stream: the terminal.
        clock: monotonic seconds.
        environment: of the process; tells which colours the terminal has.
    """

    def __init__(
        self,
        stream: TextIO,
        clock: Callable[[], float] = time.monotonic,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._clock = clock
        self._environment = os.environ if environment is None else environment
        self._style = style_for(stream, self._environment)
        self._screen = Screen(stream)
        self._builder = FrameBuilder(self._style)
        self._frame: Frame | None = None
        self._began: float | None = None
        self._said: list[str] = []
        self._notices: list[str] = []
        self._drawn_at = 0.0
        self._drawn_size: os.terminal_size | None = None
        self._stale = True
        self._is_ending = False
        self._screen.open()
        self._draw()

    def say(self, text: str) -> None:
        """Show a line while the tracer starts, and again when the terminal is given back."""
        self._said.append(text)
        if self._began is None:
            self._draw()

    def notice(self, text: str) -> None:
        """Show a line at the foot of the screen, too, once there is more on it."""
        self._notices.append(text)
        self.say(text)

    def begin(self, session: Session) -> None:
        """Start to count the time: the hello line came, every probe is attached."""
        self._began = self._clock()
        self._stale = True
        self.idle(session)

    def update(self, events: Sequence[Notable], session: Session) -> None:
        """Show what new ticks changed; `events` are those that they brought."""
        self._builder.note(events)
        self._stale = True
        self.idle(session)

    def idle(self, session: Session) -> None:
        """Draw what could not be drawn before, a new size, or the time that passed."""
        passed = self._clock() - self._drawn_at
        if passed < SHORTEST_PAUSE_SECONDS:
            return
        if self._stale and self._began is not None:
            self._frame = self._builder.frame(session)
            self._stale = False
        elif passed < _CLOCK_SECONDS and self._screen.size == self._drawn_size:
            return
        self._draw()

    def ending(self) -> None:
        """Say so at the foot of the screen."""
        self._is_ending = True
        self._draw()

    def close(self) -> None:
        """Give the terminal back; further calls do nothing."""
        self._screen.close()
        for line in self._said:
            write_message(line)
        self._said.clear()

    def _draw(self) -> None:
        now, size = self._clock(), self._screen.size
        style = replace(self._style, width=size.columns)
        if self._frame is None or self._began is None:
            waiting = [style.text(line, style.width) for line in self._said]
            waiting.append(f"starting the tracer{style.ellipsis}")
            lines = filled(waiting, style, size.lines)
        else:
            notices = [style.text(text, style.width) for text in self._notices]
            if size.lines - len(notices) < LEAST_HEIGHT:
                notices = []
            height = size.lines - len(notices)
            lines = frame_lines(self._frame, now - self._began, style, height)
            lines[-1:-1] = notices
        if self._is_ending:
            lines[-1:] = [style.text(ENDING, style.width)]
        self._screen.draw(painted_frame(lines, self._environment))
        self._drawn_at = now
        self._drawn_size = size
