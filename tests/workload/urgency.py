"""Real-time priority for the programs that inject delays.

They promise a delay to a tenth of a millisecond while workloads fill every CPU.
"""

from __future__ import annotations

import os
import time

SPIN_NS = 200_000
"""A sleeper wakes up this late at worst; the rest of a wait is spent on the CPU."""


def claim() -> None:
    """Ask for real-time priority; go on without where it is not granted."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5))
    except OSError:
        return


def spin_until(due_ns: int) -> None:
    """Wait on the CPU for a moment of the monotonic clock."""
    while time.monotonic_ns() < due_ns:
        pass
