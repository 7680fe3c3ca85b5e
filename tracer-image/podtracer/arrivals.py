"""Wakes the tracer when a directory appears where targets may come, by inotify(7).

A look once a second would miss a container's first moments, which hold its look-ups and connects.
What inotify does not tell, the look once a second finds all the same.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

PAUSE_NS = 20_000_000
"""Shortest time between two looks: whoever may make directories could make very many."""
_IN_CREATE, _IN_IGNORED, _IN_ONLYDIR = 0x100, 0x8000, 0x01000000
_EVENT = struct.Struct("=iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Arrivals:
    """Watches directories; `fd` is readable when something was made in one of them."""

    def __init__(self) -> None:
        self.fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._watched: dict[str, int] = {}
        self._looked_ns = 0
        self._came = False

    def watch(self, folders: Iterable[str], now_ns: int) -> None:
        """Watch just these from now on, after a look at them."""
        self._looked_ns = now_ns
        self._came = False
        if self.fd < 0:
            return
        wanted = set(folders)
        for folder in self._watched.keys() - wanted:
            _libc.inotify_rm_watch(self.fd, self._watched.pop(folder))
        for folder in wanted - self._watched.keys():
            mask = _IN_CREATE | _IN_ONLYDIR
            number = _libc.inotify_add_watch(self.fd, os.fsencode(folder), mask)
            if number >= 0:
                self._watched[folder] = number

    def note(self) -> None:
        """Take what made `fd` readable."""
        try:
            events = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return
        self._came = True
        position = 0
        while position < len(events):
            number, mask, _, length = _EVENT.unpack_from(events, position)
            position += _EVENT.size + length
            if mask & _IN_IGNORED:
                self._forget(number)

    def _forget(self, number: int) -> None:
        """A directory was removed; one of the same name is another."""
        for folder in [folder for folder, known in self._watched.items() if known == number]:
            del self._watched[folder]

    @property
    def due_ns(self) -> int | None:
        """When to look next, in monotonic nanoseconds; None: not before something comes."""
        return self._looked_ns + PAUSE_NS if self._came else None
