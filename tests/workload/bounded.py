"""Run a program as root with some capabilities only, as a container runtime starts one.

usage: bounded.py NAME[,NAME...] PROGRAM ARGUMENT...    names as in capabilities(7), without CAP_

What root's programs get is bounded by a set that can only shrink. The standard library alone: it
runs in the tracer's image, which has no other program than Python.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

NUMBERS = {"NET_ADMIN": 12, "SYS_PTRACE": 19, "SYS_RESOURCE": 24, "PERFMON": 38, "BPF": 39}
_PR_CAPBSET_DROP = 24


def main() -> None:
    """Drop the others and become the program."""
    kept = {NUMBERS[name] for name in sys.argv[1].split(",") if name}
    libc = ctypes.CDLL(None, use_errno=True)
    for number in range(int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1):
        if number not in kept and libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0):
            raise OSError(ctypes.get_errno(), f"capability {number} cannot be dropped")
    os.execv(sys.argv[2], sys.argv[2:])


main()
