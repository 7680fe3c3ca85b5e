"""What a run without the live view shows while it lasts: nothing, or its progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TextIO

from podtrace.model.notable import Notable
from podtrace.model.session import Session
from podtrace.report.escape import printable
from podtrace.report.messages import ENDING, write_ending, write_message
from podtrace.report.style import style_for

_NAME_CELLS = 20
_ERASE_LINE = "\r\x1b[K"


class QuietView:
    """Shows nothing of the trace."""

    def say(self, text: str) -> None:
        """Pass on what the source has to say."""
        write_message(text)

    def notice(self, text: str) -> None:
        """Pass it on, once."""
        write_message(text)

    def begin(self, session: Session) -> None:
        """Nothing is shown at the beginning."""

    def update(self, events: Sequence[Notable], session: Session) -> None:
        """Nothing is shown of a tick."""

    def idle(self, session: Session) -> None:
        """Nothing is shown in between."""

    def ending(self) -> None:
        """Say so to whoever pressed Ctrl-C."""
        write_ending()

    def close(self) -> None:
        """There is nothing to restore."""


class ProgressView:
    """One line on the terminal that says how long the trace still takes.

    Args:
        terminal: where the line is drawn: standard error.
        duration_ns: how long the trace takes, or None where nobody knows.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        terminal: TextIO,
        duration_ns: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._terminal = terminal
        self._style = style_for(terminal)
        self._is_gone = self._is_ending = False
        self._duration_ns = duration_ns
        self._clock = clock
        self._began: float | None = None
        self._name = ""
        self._targets = 0
        self._last = ""
        self._draw(f"attaching probes{self._style.ellipsis}")

    def say(self, text: str) -> None:
        """Put a line above the progress."""
        self._draw(f"{printable(text)}\n")
        self._draw(self._last)

    def notice(self, text: str) -> None:
        """Put it above the progress, where it stays."""
        self.say(text)

    def begin(self, session: Session) -> None:
        """Start to count."""
        self._began = self._clock()
        self.idle(session)

    def update(self, events: Sequence[Notable], session: Session) -> None:
        """Draw the line anew."""
        self.idle(session)

    def idle(self, session: Session) -> None:
        """Draw the line anew."""
        if self._began is None or self._is_ending:
            return
        passed = self._clock() - self._began
        if len(session.targets) != self._targets:
            self._targets = len(session.targets)
            self._name = self._style.text(_names(session), _NAME_CELLS)
        if self._duration_ns is None:
            how_long = f"{passed:.0f}s"
        else:
            how_long = f"{max(self._duration_ns / 1e9 - passed, 0):.0f}s left"
        events = f"{session.ledger.events:,} events"
        line = f"tracing {self._name}{self._style.ellipsis} {how_long}, {events}"
        self._draw(f"{line}, Ctrl-C for the report now")

    def ending(self) -> None:
        """Say so in place of the progress."""
        self._is_ending = True
        self._draw(ENDING)

    def close(self) -> None:
        """Remove the line."""
        self._draw("")

    def _draw(self, text: str) -> None:
        if self._is_gone:
            return
        line, newline, _ = text.partition("\n")
        if not newline:
            self._last = text
        try:
            self._terminal.write(_ERASE_LINE + (text if newline else self._style.clip(line)))
            self._terminal.flush()
        except OSError:
            self._is_gone = True  # the report may still have a reader


def _names(session: Session) -> str:
    """Return the names of the targets; those of several tracers come one after the other."""
    pods = [target for target in session.targets if target.get("pod")]
    if len(pods) > 1:
        return f"{len(pods)} pods"
    return ", ".join(target.get("name") or "" for target in session.targets)
