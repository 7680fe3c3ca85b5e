"""Why a trace ends: one of the reasons of the stream's last line."""

from __future__ import annotations

import os
import time

from podtracer.command import Command
from podtracer.listeners import Listeners
from podtracer.stops import Stops
from podtracer.target import Scope

_SECOND_NS = 1_000_000_000


class Ends:
    """Everything that may end a trace; `deadline_ns` is the end of its window, None without one."""

    def __init__(
        self,
        stops: Stops,
        scope: Scope,
        command: Command | None,
        parent: int | None,
        listeners: Listeners | None,
    ) -> None:
        self._stops = stops
        self._scope = scope
        self._command = command
        self._parent = parent
        self._listeners = listeners
        self._made_ns = time.monotonic_ns()
        self.deadline_ns: int | None = None
        self.target_gone = False

    def begin(self, began_ns: int, seconds: float | None) -> None:
        """Start the window; who reads the stream may have come while the probes were attached."""
        if seconds is not None:
            self.deadline_ns = began_ns + int(seconds * _SECOND_NS)
        if self._listeners is not None:
            self._listeners.begin(min(began_ns, self._made_ns))

    def look(self, now_ns: int, processes: int) -> None:
        """After a tick: find out whether there is still something to trace.

        `processes` is the number of those that run, for a scope of processes.
        """
        if self._command is not None:
            return
        if self._scope.pids:
            self.target_gone = processes == 0
        else:
            self.target_gone = self._scope.is_over(now_ns)

    def reason(self, now_ns: int) -> str:
        """The reason to end now, "" to go on."""
        orphaned = self._parent is not None and os.getppid() != self._parent
        if self._stops.asked:
            return "parent_died" if orphaned else "limit" if self._stops.expired else "signal"
        if self.target_gone:
            return "target_gone"
        if self._command is not None and self._command.poll() is not None:
            return "command_exited"
        if self.deadline_ns is not None and now_ns >= self.deadline_ns:
            return "deadline"
        if orphaned:
            return "parent_died"
        if self._listeners is not None and self._listeners.unheard(now_ns):
            return "unheard"
        return ""
