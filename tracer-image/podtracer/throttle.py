"""CPU quota throttling, read from the cgroups' cpu.stat.

The kernel counts it per cgroup that has a quota, so the counts of cgroups beside each other are
added up. Of a cgroup and those below it the larger counts: the kubelet sets a pod's quota and its
containers', and each of them counts the same wait. Version 1 and hybrid machines keep the counts in
the hierarchy of the cpu controller, where a process may be in another cgroup than in version 2.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from podtracer.cgroups import Hierarchies, processes
from podtracer.target import Scope

PROC = "/proc"


class _Counts(NamedTuple):
    """What a cgroup was held back since it was made; `quota`: one was in force at some time."""

    periods: int
    ns: int
    quota: bool


_NONE = _Counts(0, 0, False)


class Throttling:
    """Tells each tick's throttled periods and time of each target.

    `by_cgroup` has those of the last look by target and directory, with zeros where a quota that is
    set held nothing back.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._before: dict[str, _Counts] = {}
        self._sums: dict[int, dict[str, tuple[int, int]]] = defaultdict(dict)
        self._told: dict[int, tuple[int, int]] = {}
        self.by_cgroup: dict[tuple[int, str], tuple[int, int]] = {}
        for target in scope.targets:
            for folder in self._folders(target.number):
                self._before[folder] = _read(folder) or _NONE

    def gains(self) -> dict[int, tuple[int, int]]:
        """Return (periods, nanoseconds) by target; targets with none are left out."""
        gained: dict[int, tuple[int, int]] = {}
        self.by_cgroup = {}
        for target in self._scope.targets:
            sums = self._sums[target.number]
            for folder in self._folders(target.number):
                found = _read(folder)
                gain = self._gain(folder, found or _NONE)
                if found is not None and found.quota:
                    self.by_cgroup[target.number, folder] = gain
                if any(gain):
                    before = sums.get(folder, (0, 0))
                    sums[folder] = before[0] + gain[0], before[1] + gain[1]
            # Of the sums, not of the gains: a pod and its container can be let go in two ticks.
            total, told = _without_nested(sums), self._told.get(target.number, (0, 0))
            self._told[target.number] = total
            if total != told:
                gained[target.number] = total[0] - told[0], total[1] - told[1]
        return gained

    def _gain(self, folder: str, now: _Counts) -> tuple[int, int]:
        # A cgroup that is met later may have a past from before the trace.
        before = self._before.get(folder, now)
        self._before[folder] = now
        if now.periods < before.periods or now.ns < before.ns:
            # It was removed, or made anew under the same name.
            before = _NONE
        return now.periods - before.periods, now.ns - before.ns

    def _folders(self, number: int) -> set[str]:
        known = self._scope.known
        controller = known.controllers.get("cpu")
        tops = list(filter(None, self._scope.folders(number)))
        if self._scope.pids:
            members = set(self._scope.pids)
        elif controller is None:
            return _below(tops)
        elif self._scope.moving:
            # The kubelet gives a pod the same path in every hierarchy.
            return _below([controller + top[len(known.top) :] for top in tops])
        else:
            members = {pid for top in tops for pid in processes(top)}
        folders = set()
        for pid in members:
            folder = _cpu_folder(pid, self._scope.known)
            if folder is not None:
                folders.add(folder)
        return folders


def _without_nested(sums: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """Add up what cgroups beside each other have; of one and those below it take the larger."""
    below: dict[str, tuple[int, int]] = {}
    periods = ns = 0
    # Longer paths first: what is below a cgroup is known when its turn comes.
    for folder in sorted(sums, key=len, reverse=True):
        inside = below.pop(folder, (0, 0))
        own = max(sums[folder][0], inside[0]), max(sums[folder][1], inside[1])
        above = _nearest(os.path.dirname(folder), sums)
        if above is None:
            periods, ns = periods + own[0], ns + own[1]
        else:
            beside = below.get(above, (0, 0))
            below[above] = beside[0] + own[0], beside[1] + own[1]
    return periods, ns


def _nearest(folder: str, among: dict[str, tuple[int, int]]) -> str | None:
    """Return the nearest of these that the folder is or lies in."""
    while folder not in among:
        upper = os.path.dirname(folder)
        if upper == folder:
            return None
        folder = upper
    return folder


def _below(tops: list[str]) -> set[str]:
    return {folder for top in tops for folder, _, _ in os.walk(top)}


def _cpu_folder(pid: int, known: Hierarchies) -> str | None:
    try:
        text = os.fsdecode(Path(PROC, str(pid), "cgroup").read_bytes())
    except OSError:
        return None
    root = known.controllers.get("cpu")
    for line in text.split("\n")[:-1]:
        _, controllers, path = line.split(":", 2)
        if root is not None and "cpu" in controllers.split(","):
            return root + path if path != "/" else None
        if root is None and known.unified and not controllers:
            return known.unified + path if path != "/" else None
    return None


def _read(folder: str) -> _Counts | None:
    """Return what a cgroup was held back, None where no quota is possible."""
    try:
        text = Path(folder, "cpu.stat").read_text()
    except OSError:
        return None
    if "nr_throttled " not in text:
        return None
    values = dict(line.split(" ", 1) for line in text.splitlines())
    if "throttled_usec" in values:
        ns = int(values["throttled_usec"]) * 1000
    else:
        ns = int(values.get("throttled_time", 0))
    return _Counts(int(values["nr_throttled"]), ns, int(values.get("nr_periods", 0)) > 0)
