"""The perf_event_open(2) system call, which is how a program is attached to a kprobe."""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import struct
from pathlib import Path

KPROBE_TYPE = "/sys/bus/event_source/devices/kprobe/type"

_SYSCALL = {"x86_64": 298, "aarch64": 241}
_ATTR_BYTES = 112
_CLOSE_ON_EXEC = 8
_ENABLE, _SET_BPF = 0x2400, 0x40042408
_libc = ctypes.CDLL(None, use_errno=True)


def has_kprobes(path: str = KPROBE_TYPE) -> bool:
    """Whether this kernel lets functions be probed by name (Linux 4.17, CONFIG_KPROBE_EVENTS)."""
    return os.path.exists(path)


def attach_kprobe(prog_fd: int, function: str) -> int:
    """Run a program at each entry of a kernel function; closing the descriptor detaches it.

    Raises OSError.
    """
    kind = int(Path(KPROBE_TYPE).read_text())
    name = ctypes.create_string_buffer(function.encode())
    # struct perf_event_attr: type, size, then config1 (the name) and config2 (an offset).
    attr = struct.pack("=II", kind, _ATTR_BYTES).ljust(56, b"\0")
    attr += struct.pack("=QQ", ctypes.addressof(name), 0)
    buffer = ctypes.create_string_buffer(attr, _ATTR_BYTES)
    # On any CPU: which one is named here is of no matter for a kprobe.
    fd = int(
        _libc.syscall(
            _SYSCALL[platform.machine()], buffer, -1, 0, -1, ctypes.c_ulong(_CLOSE_ON_EXEC)
        )
    )
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"kprobe at {function}: {os.strerror(code)}")
    try:
        fcntl.ioctl(fd, _SET_BPF, prog_fd)
        fcntl.ioctl(fd, _ENABLE, 0)
    except OSError:
        os.close(fd)
        raise
    return fd
