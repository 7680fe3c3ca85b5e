"""CPU quota throttling, read from the cgroups' cpu.stat.

The kernel counts it per cgroup that has a quota, so the counts of a target's cgroup and of those
below it are added up. Version 1 and hybrid machines keep them in the hierarchy of the cpu
controller, where a process may be in another cgroup than in version 2.
"""

from __future__ import annotations

import os
from pathlib import Path

from podtracer.cgroups import Hierarchies, processes
from podtracer.target import Scope

PROC = "/proc"


class Throttling:
    """Tells each tick's throttled periods and time of each target.

    `by_cgroup` has those of the last look by target and directory, with zeros where a quota could
    have held something back.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._before: dict[str, tuple[int, int]] = {}
        self.by_cgroup: dict[tuple[int, str], tuple[int, int]] = {}
        for target in scope.targets:
            for folder in self._folders(target.number):
                self._before[folder] = _read(folder) or (0, 0)

    def gains(self) -> dict[int, tuple[int, int]]:
        """Return (periods, nanoseconds) by target; targets with none are left out."""
        gained: dict[int, tuple[int, int]] = {}
        self.by_cgroup = {}
        for target in self._scope.targets:
            periods = ns = 0
            for folder in self._folders(target.number):
                found = _read(folder)
                now = found or (0, 0)
                # A cgroup that is met later may have a past from before the trace.
                before = self._before.get(folder, now)
                self._before[folder] = now
                if now[0] < before[0] or now[1] < before[1]:
                    # It was removed, or made anew under the same name.
                    before = (0, 0)
                gain = now[0] - before[0], now[1] - before[1]
                if found is not None:
                    self.by_cgroup[target.number, folder] = gain
                periods += gain[0]
                ns += gain[1]
            if periods or ns:
                gained[target.number] = (periods, ns)
        return gained

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


def _read(folder: str) -> tuple[int, int] | None:
    """Return throttled periods and nanoseconds, None where no quota is possible."""
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
    return int(values.get("nr_throttled", 0)), ns
