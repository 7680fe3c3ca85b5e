"""The capabilities that tracing takes (capabilities(7)): whether this process has them, alone."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path

NET_ADMIN, SYS_PTRACE, SYS_ADMIN, PERFMON, BPF = 12, 19, 21, 38, 39
_NAMES: Mapping[int, str] = {
    BPF: "BPF",
    PERFMON: "PERFMON",
    SYS_PTRACE: "SYS_PTRACE",
    NET_ADMIN: "NET_ADMIN",
}
"""In the order of what is lost without each: everything, but for the last, which DNS needs."""
_IN_ADMIN = (BPF, PERFMON)
_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_DUMPABLE, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 4, 47, 4


def lacking(status: str = "/proc/self/status") -> list[str]:
    """Names of the capabilities that this process lacks."""
    held = _held("CapEff", status)

    def has(number: int) -> bool:
        stands_in = number in _IN_ADMIN and held >> SYS_ADMIN & 1
        return bool(held >> number & 1 or stands_in)

    return [name for number, name in _NAMES.items() if not has(number)]


def _held(which: str, status: str = "/proc/self/status") -> int:
    lines = Path(status).read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith(f"{which}:"))


def keep_private() -> None:
    """Let neither programs that this process executes nor others of its user share its rights.

    The kernel writes no core file of it then, and others may not look into it (prctl(2)).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def keep_for_tables() -> None:
    """Give up all that reading the tables of loaded programs does not take, for good.

    Raises OSError if the kernel refuses.
    """
    kept = _held("CapPrm") & (1 << BPF | 1 << SYS_ADMIN)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capabilities cannot be given up")
