"""Signals that ask for the end, as a descriptor to wait for beside the others."""

from __future__ import annotations

import os
import signal

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


class Stops:
    """Remembers that the end was asked for; `fd` becomes readable with every signal.

    `expired` says that it was the alarm. With `marked_first`, the first SIGTERM only tells that the
    pod is marked for deletion while its log is still read.
    """

    def __init__(self, marked_first: bool = False) -> None:
        self._marked_first = marked_first
        self.fd, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write)
        self.asked = False
        self.expired = False
        for number in _STOPS:
            signal.signal(number, self._note)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        # Its arrival only has to wake the wait.
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def _note(self, number: int, frame: object) -> None:
        if number == signal.SIGTERM and self._marked_first:
            self._marked_first = False
            return
        if not self.asked:
            self.asked = True
            self.expired = number == signal.SIGALRM
