"""What to load: scope, sizes and thresholds as plain data, and the compiler flags they become."""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

SYSCALLS: Mapping[str, Mapping[str, Mapping[str, int]]] = {
    # architecture -> kind in bpf/podtrace.h -> system call -> number
    "x86_64": {
        "CALL_READ": {"read": 0, "pread64": 17, "readv": 19, "preadv": 295, "preadv2": 327},
        "CALL_WRITE": {"write": 1, "pwrite64": 18, "writev": 20, "pwritev": 296, "pwritev2": 328},
        "CALL_FSYNC": {"fsync": 74, "fdatasync": 75, "sync_file_range": 277},
        "CALL_OPEN": {"open": 2, "creat": 85, "openat": 257, "openat2": 437},
        "CALL_SEND": {"sendto": 44, "sendmsg": 46, "sendfile": 40},
        "CALL_RECEIVE": {"recvfrom": 45, "recvmsg": 47},
        "CALL_SEND_MANY": {"sendmmsg": 307},
        "CALL_RECEIVE_MANY": {"recvmmsg": 299},
        "CALL_CONNECT": {"connect": 42},
        "CALL_ACCEPT": {"accept": 43, "accept4": 288},
        "CALL_LOCK": {"futex": 202, "futex_waitv": 449, "futex_wait": 455, "flock": 73},
        "CALL_SLEEP": {"nanosleep": 35, "clock_nanosleep": 230, "pause": 34},
        "CALL_POLL": {
            "poll": 7, "select": 23, "epoll_wait": 232, "pselect6": 270, "ppoll": 271,
            "epoll_pwait": 281, "epoll_pwait2": 441,
        },
        "CALL_NETWORK": {"shutdown": 48},
        "CALL_DISK": {"sync": 162, "syncfs": 306, "msync": 26},
    },
    "aarch64": {
        "CALL_READ": {"read": 63, "pread64": 67, "readv": 65, "preadv": 69, "preadv2": 286},
        "CALL_WRITE": {"write": 64, "pwrite64": 68, "writev": 66, "pwritev": 70, "pwritev2": 287},
        "CALL_FSYNC": {"fsync": 82, "fdatasync": 83, "sync_file_range": 84},
        "CALL_OPEN": {"openat": 56, "openat2": 437},
        "CALL_SEND": {"sendto": 206, "sendmsg": 211, "sendfile": 71},
        "CALL_RECEIVE": {"recvfrom": 207, "recvmsg": 212},
        "CALL_SEND_MANY": {"sendmmsg": 269},
        "CALL_RECEIVE_MANY": {"recvmmsg": 243},
        "CALL_CONNECT": {"connect": 203},
        "CALL_ACCEPT": {"accept": 202, "accept4": 242},
        "CALL_LOCK": {"futex": 98, "futex_waitv": 449, "futex_wait": 455, "flock": 32},
        "CALL_SLEEP": {"nanosleep": 101, "clock_nanosleep": 115},
        "CALL_POLL": {
            "pselect6": 72, "ppoll": 73, "epoll_pwait": 22, "epoll_pwait2": 441,
        },
        "CALL_NETWORK": {"shutdown": 210},
        "CALL_DISK": {"sync": 81, "syncfs": 267, "msync": 227},
    },
}  # fmt: skip

CALL_KINDS = (
    "CALL_NONE", "CALL_READ", "CALL_WRITE", "CALL_FSYNC", "CALL_OPEN", "CALL_SEND", "CALL_RECEIVE",
    "CALL_SEND_MANY", "CALL_RECEIVE_MANY", "CALL_CONNECT", "CALL_ACCEPT", "CALL_LOCK", "CALL_SLEEP",
    "CALL_POLL", "CALL_NETWORK", "CALL_DISK",
)  # fmt: skip
"""In the order of enum syscall_kind."""

_REGISTERS: Mapping[str, Mapping[str, object]] = {
    "x86_64": {
        "SYSCALL_NUMBER": "orig_ax",
        "SYSCALL_ARGUMENT_0": "di",
        "SYSCALL_ARGUMENT_1": "si",
        "SYSCALL_ARGUMENT_2": "dx",
        "SYSCALL_ARGUMENT_4": "r8",
        # Offsets of di, si, dx and cx, in which functions get their arguments.
        "ARGUMENT_REGISTER(n)": "((n)==0?112:(n)==1?104:(n)==2?96:88)",
        "KERNEL_STACK_BYTES": 16384,
    },
    "aarch64": {
        "SYSCALL_NUMBER": "syscallno",
        "SYSCALL_ARGUMENT_0": "regs[0]",
        "SYSCALL_ARGUMENT_1": "regs[1]",
        "SYSCALL_ARGUMENT_2": "regs[2]",
        "SYSCALL_ARGUMENT_4": "regs[4]",
        "ARGUMENT_REGISTER(n)": "(8*(n))",
        "KERNEL_STACK_BYTES": max(16384, mmap.PAGESIZE),
    },
}

_TOLD_APART = {"readv", "writev", "sendto", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg"}
"""Calls that have what they move elsewhere than others of their kind."""

ENTRIES = {
    "series": 32768,
    "threads": 16384,
    "sockets": 16384,
    "processes": 8192,
    "labels": 4096,
    "files": 4096,
    "dns": 8192,
}
_SIZE_FLAGS = {
    "series": "SERIES_ENTRIES",
    "threads": "THREAD_ENTRIES",
    "sockets": "SOCKET_ENTRIES",
    "processes": "PROCESS_ENTRIES",
    "labels": "LABEL_ENTRIES",
    "files": "FILE_ENTRIES",
    "dns": "DNS_ENTRIES",
}
RING_BYTES = 256 * 1024
TARGET_ENTRIES = 4096
FILTER_SLOTS = 1024
"""Of a table that rules most cgroups out by the low bits of their ids."""

CAST_MARK = 0x70001
"""Helper number that stands for bpf_rdonly_cast until the program is loaded."""

MOST_LEVELS = 4
_COMPARED_TARGETS = 4


@dataclass(frozen=True)
class Thresholds:
    """Above which an operation is worth an event line, in nanoseconds."""

    rtt_spike_ns: int = 100_000_000
    slow_file_ns: int = 10_000_000
    long_block_ns: int = 100_000_000


@dataclass(frozen=True)
class Plan:
    """Everything that the loading child has to know.

    `cgroups` maps cgroup ids to target numbers and `levels` are their depths below the root;
    `subsystem` is the kernel's name for the controller of version 1 in whose hierarchy they are, ""
    where they are of version 2. `pids` maps host PIDs to target numbers and is used where there are
    no cgroups. `packet_cgroups` are the directories where DNS packets are seen. `moving` targets
    are entered and attached to by the tracer itself, as they come and go.
    """

    cgroups: Mapping[int, int] = field(default_factory=dict)
    levels: tuple[int, ...] = ()
    subsystem: str = ""
    pids: Mapping[int, int] = field(default_factory=dict)
    packet_cgroups: tuple[str, ...] = ()
    moving: bool = False
    thresholds: Thresholds = Thresholds()
    entries: Mapping[str, int] = field(default_factory=lambda: dict(ENTRIES))
    ring_bytes: int = RING_BYTES
    hidden: frozenset[str] = frozenset()

    @property
    def by_pids(self) -> bool:
        """Whether the scope is a set of processes."""
        return not self.levels

    def flags(self, machine: str, label_seed: int) -> list[str]:
        """Compiler flags for bpf/: see the comment at the top of podtrace.h."""
        levels = (*self.levels, *(-1,) * MOST_LEVELS)[:MOST_LEVELS]
        values: dict[str, object] = {
            "SCOPE_PIDS": int(self.by_pids),
            **{f"SCOPE_LEVEL_{index}": level for index, level in enumerate(levels)},
            "SCOPE_V1": int(bool(self.subsystem)),
            "SCOPE_SUBSYSTEM": self.subsystem,
            **{flag: self.entries[name] for name, flag in _SIZE_FLAGS.items()},
            "TARGET_ENTRIES": TARGET_ENTRIES,
            "FILTER_SLOTS": FILTER_SLOTS,
            "MAYBE_TARGET(id)": self._maybe_target(),
            "RING_PAGES": max(self.ring_bytes // mmap.PAGESIZE, 1),
            "LABEL_SEED": f"{label_seed}ULL",
            "RTT_SPIKE_NS": f"{self.thresholds.rtt_spike_ns}ULL",
            "SLOW_FILE_NS": f"{self.thresholds.slow_file_ns}ULL",
            "LONG_BLOCK_NS": f"{self.thresholds.long_block_ns}ULL",
            "CAST_MARK": CAST_MARK,
            **_REGISTERS[machine],
            **{
                f"SYSCALL_{name}": number
                for calls in SYSCALLS[machine].values()
                for name, number in calls.items()
                if name in _TOLD_APART
            },
        }
        return [f"-D{name}={value}" for name, value in values.items()]

    def _maybe_target(self) -> str:
        """An expression in C that is false for ids that are surely no target's."""
        if self.moving:
            return "passes_filter(id)"
        if not 0 < len(self.cgroups) <= _COMPARED_TARGETS:
            return "1"
        return "(" + "||".join(f"(id)=={cgroup}ULL" for cgroup in self.cgroups) + ")"


def sizes_from_environment() -> tuple[dict[str, int], int]:
    """Map entries and ring bytes, overridable for tests of what happens when they are full."""
    entries = {**ENTRIES, **json.loads(os.environ.get("PODTRACE_MAP_ENTRIES", "{}"))}
    return entries, int(os.environ.get("PODTRACE_RING_BYTES", RING_BYTES))


def syscall_table(machine: str) -> dict[int, int]:
    """Return system call number -> enum syscall_kind for the architecture."""
    return {
        number: CALL_KINDS.index(kind)
        for kind, calls in SYSCALLS[machine].items()
        for number in calls.values()
    }
