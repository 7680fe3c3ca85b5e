"""Opens of the tracer's own log file, as the kernel tells them by inotify.

Whoever asks for a pod's log lets the kubelet open its file. A descriptor that stays open says
little: a workstation that sleeps or has lost its network keeps its connection, and with it the
kubelet's descriptor, for a quarter of an hour. Somebody who is there asks again and again.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator

IN_OPEN = 0x20
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_ISDIR = 0x40000000
_EVENT = struct.Struct("iIII")
"""struct inotify_event without its name (linux/inotify.h)."""
_BUFFER_BYTES = 65536
_REPLACED = IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO


class LogOpens:
    """Watches the folder of a log file.

    After a rotation the new file is opened by its writer and by readers that were there before.
    Until the next look but one nobody can tell these opens from others: then every rotation counts
    as an open, because a reader that is there must not be missed where logs are rotated often.

    Raises:
        OSError: the kernel does not let us watch it.
    """

    def __init__(self, path: str) -> None:
        folder, self._name = os.path.split(path)
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        if libc.inotify_add_watch(self._fd, os.fsencode(folder), IN_OPEN | _REPLACED) < 0:
            number = ctypes.get_errno()
            self.close()
            raise OSError(number, "inotify_add_watch", folder)
        self._unsettled = 0

    def close(self) -> None:
        """Stop watching."""
        os.close(self._fd)

    def seen(self) -> bool:
        """Whether somebody has opened the file since the last look, or may have."""
        opened = False
        for mask, name in self._events():
            if name != self._name or mask & IN_ISDIR:
                continue
            if mask & _REPLACED:
                self._unsettled = 2
            elif self._unsettled == 0:
                opened = True
        maybe = self._unsettled > 0
        self._unsettled = max(0, self._unsettled - 1)
        return opened or maybe

    def _events(self) -> Iterator[tuple[int, str]]:
        with contextlib.suppress(BlockingIOError):
            while True:
                data = os.read(self._fd, _BUFFER_BYTES)
                offset = 0
                while offset < len(data):
                    _, mask, _, length = _EVENT.unpack_from(data, offset)
                    offset += _EVENT.size
                    name = data[offset : offset + length].rstrip(b"\0")
                    offset += length
                    yield mask, os.fsdecode(name)
