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
_PR_SET_DUMPABLE, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 4, 47, 4
_IN_ADMIN = (BPF, PERFMON)


def lacking(status: str = "/proc/self/status") -> list[str]:
    """Names of the capabilities that this process lacks."""
    line = next(x for x in Path(status).read_text().splitlines() if x.startswith("CapEff:"))
    held = int(line.split()[1], 16)

    def has(number: int) -> bool:
        stands_in = number in _IN_ADMIN and held >> SYS_ADMIN & 1
        return bool(held >> number & 1 or stands_in)

    return [name for number, name in _NAMES.items() if not has(number)]


def keep_private() -> None:
    """Let neither programs that this process executes nor others of its user share its rights.

    The kernel writes no core file of it then, and others may not look into it (prctl(2)).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
