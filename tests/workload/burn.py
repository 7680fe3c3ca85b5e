"""CPU work of a known amount, by the thread's own CPU clock and almost without system calls."""

from __future__ import annotations

import time

_BATCH = 5_000
"""Turns of an empty loop between two looks at the clock: about a tenth of a millisecond."""


def burn(seconds: float) -> None:
    """Use the CPU for so many seconds of the thread's CPU time."""
    until_ns = time.thread_time_ns() + int(seconds * 1e9)
    while time.thread_time_ns() < until_ns:
        for _ in range(_BATCH):
            pass
