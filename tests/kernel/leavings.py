"""What a dead tracer could have left: eBPF objects that nobody holds, cgroups without an owner.

Programs and links are listed by the kernel's own numbers; those of living processes are not ours.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import struct
from pathlib import Path

from workload.stage import cgroup_mount

_SYSCALL_BPF = {"x86_64": 321, "aarch64": 280}
_PROG_GET_NEXT_ID = 11
_PROG_GET_FD_BY_ID = 13
_OBJ_GET_INFO_BY_FD = 15
_LINK_GET_NEXT_ID = 31
_PROG_INFO_BYTES = 232
_RUN_TIME_OFFSET = 192
"""Of run_time_ns and run_cnt in struct bpf_prog_info (linux/bpf.h)."""
_ATTRIBUTE_BYTES = 128
_PROG_ID = re.compile(r"^prog_id:\t(\d+)$", re.MULTILINE)
_LINK_ID = re.compile(r"^link_id:\t(\d+)$", re.MULTILINE)


def _identifiers(command: int) -> set[int]:
    libc = ctypes.CDLL(None, use_errno=True)
    number = _SYSCALL_BPF[os.uname().machine]
    found: set[int] = set()
    last = 0
    while True:
        attribute = (ctypes.c_uint32 * (_ATTRIBUTE_BYTES // 4))(last)
        if libc.syscall(number, command, ctypes.byref(attribute), _ATTRIBUTE_BYTES):
            if ctypes.get_errno() == errno.ENOENT:
                return found
            raise OSError(ctypes.get_errno(), "bpf")
        last = attribute[1]
        found.add(last)


def programs() -> set[int]:
    """Return the ids of all loaded programs."""
    return _identifiers(_PROG_GET_NEXT_ID)


def links() -> set[int]:
    """Return the ids of all links."""
    return _identifiers(_LINK_GET_NEXT_ID)


def _held() -> tuple[set[int], set[int]]:
    programs_held: set[int] = set()
    links_held: set[int] = set()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for entry in (process / "fdinfo").iterdir():
                with contextlib.suppress(OSError):
                    text = entry.read_text()
                    programs_held |= {int(number) for number in _PROG_ID.findall(text)}
                    links_held |= {int(number) for number in _LINK_ID.findall(text)}
    return programs_held, links_held


def orphans(programs_before: set[int], links_before: set[int]) -> list[str]:
    """Return new programs and links that no process has open."""
    new_programs, new_links = programs() - programs_before, links() - links_before
    held_programs, held_links = _held()
    return [
        *(f"program {number}" for number in new_programs - held_programs if number in programs()),
        *(f"link {number}" for number in new_links - held_links if number in links()),
    ]


def abandoned_cgroups() -> list[Path]:
    """Return cgroups of tracers that live no more; podtrace-NAMESPACE-PID-START is their name."""
    return [
        path
        for path in cgroup_mount().glob("podtrace-[0-9]*-[0-9]*")
        if not Path(f"/proc/{path.name.split('-')[-2]}").exists()
    ]


def run_time(program: int) -> tuple[int, int]:
    """Return nanoseconds and number of runs of a program, as far as statistics were on."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = _SYSCALL_BPF[os.uname().machine]
    attribute = (ctypes.c_uint32 * (_ATTRIBUTE_BYTES // 4))(program)
    size = ctypes.c_uint32(_ATTRIBUTE_BYTES)
    descriptor = libc.syscall(number, _PROG_GET_FD_BY_ID, ctypes.byref(attribute), size)
    if descriptor < 0:
        return 0, 0
    info = (ctypes.c_uint8 * _PROG_INFO_BYTES)()
    request = struct.pack("IIQ", descriptor, _PROG_INFO_BYTES, ctypes.addressof(info))
    buffer = ctypes.create_string_buffer(request.ljust(_ATTRIBUTE_BYTES, b"\0"), _ATTRIBUTE_BYTES)
    result = libc.syscall(number, _OBJ_GET_INFO_BY_FD, buffer, size)
    os.close(descriptor)
    if result:
        raise OSError(ctypes.get_errno(), "bpf")
    nanoseconds, runs = struct.unpack_from("QQ", bytes(info), _RUN_TIME_OFFSET)
    return nanoseconds, runs
