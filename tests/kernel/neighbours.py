"""What else keeps this machine busy, and what a limit in seconds is worth there.

A limit holds for a machine that has CPU time to spare. Where others take it, a test that cannot
measure the truth itself waits for longer before it calls a report false.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")
QUIET_RATIO = 0.1
BUSY_FACTOR = 10


class Neighbours:
    """The share of the machine's CPU time that others took since this was made.

    Ours is that of this process and of the children that it has waited for. What the hypervisor
    took is others'.
    """

    def __init__(self) -> None:
        self._before = _all_idle_own_seconds()

    def ratio(self) -> float:
        """Return the share, from 0 to 1."""
        whole, idle, own = (
            now - before for now, before in zip(_all_idle_own_seconds(), self._before, strict=True)
        )
        return max(whole - idle - own, 0.0) / whole if whole else 0.0

    def limit(self, seconds: float) -> float:
        """Return a limit for a quiet machine, or ten times as much where this one was not."""
        return seconds if self.ratio() < QUIET_RATIO else seconds * BUSY_FACTOR


def left_after(seconds: float, find: Callable[..., Found], *arguments: object) -> Found:
    """Look until nothing is left, so long or ten times as long on a busy machine; return the rest.

    `find` returns what it found, by the arguments.
    """
    neighbours = Neighbours()
    begun = time.monotonic()
    while True:
        waited = time.monotonic() - begun
        found = find(*arguments)
        if not found or waited > neighbours.limit(seconds):
            return found
        time.sleep(0.05)


def _all_idle_own_seconds() -> tuple[float, float, float]:
    line = Path("/proc/stat").read_text().splitlines()[0]
    # The last two, time of guests, are contained in the first two.
    ticks = [int(field) / os.sysconf("SC_CLK_TCK") for field in line.split()[1:9]]
    own = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        own += usage.ru_utime + usage.ru_stime
    return sum(ticks), ticks[3] + ticks[4], own
