"""Signals that ask for the end, as a descriptor to wait for beside the others."""

from __future__ import annotations

import os
import signal

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stops:
    """Remembers that the end was asked for; `fd` becomes readable with every signal."""

    def __init__(self) -> None:
        self.fd, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write)
        self.asked = False
        for number in _STOPS:
            signal.signal(number, self._note)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        # Its arrival only has to wake the wait.
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def _note(self, number: int, frame: object) -> None:
        self.asked = True
