"""One pod as it is on the node now: its directory, the containers in it, and their restarts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from podtracer import cgroups
from podtracer.pods import Pod

_NAMED_NS = 30_000_000_000
_V1_CONTROLLERS = ("cpu", "memory", "pids")


@dataclass
class _Container:
    folder: str
    cgroup: int
    seen_ns: int


class PodWatch:
    """A pod; `folder` is its cgroup's directory, "" while it has none.

    `names` maps ids of containers to their names and is filled by somebody else.
    """

    def __init__(self, pod: Pod, known: cgroups.Hierarchies, names: Mapping[str, str]) -> None:
        self.pod = pod
        self.folder = ""
        self._known = known
        self._names = names
        self._cgroup = 0
        self._had_v1 = False
        self._containers: dict[str, _Container] = {}
        self._ever: dict[int, str] = {}
        self._latest = {name: identity for identity, name in pod.containers.items()}
        self._judged: set[str] = set()

    def look(self, folder: str, now_ns: int) -> bool:
        """Look at the pod's directory, "" where none was found; return whether it has gone."""
        cgroup = _identity(folder) if folder and self._is_in_use(folder) else 0
        if not cgroup:
            gone = bool(self.folder)
            self.folder, self._cgroup = "", 0
            self._containers.clear()
            return gone
        self.folder, self._cgroup = folder, cgroup
        found = _containers(folder)
        nameless = self.nameless(now_ns)
        for identity in self._containers.keys() - found.keys() - nameless:
            # How the newest one ended is told when another comes in its place.
            if self._latest.get(self._names.get(identity, "")) != identity:
                del self._containers[identity]
        for identity, (path, number) in found.items():
            self._ever[number] = identity
            known = self._containers.get(identity)
            if known is None or known.cgroup != number:
                self._containers[identity] = _Container(path, number, now_ns)
        return False

    def _is_in_use(self, folder: str) -> bool:
        """Whether a directory is more than what a kubelet leaves behind.

        One that manages version 1 knows nothing of what a runtime made for it in version 2.
        """
        inside = folder[len(self._known.top) :]
        roots = (self._known.controllers.get(name) for name in _V1_CONTROLLERS)
        there = any(os.path.isdir(root + inside) for root in roots if root)
        self._had_v1 |= there
        return there or not self._had_v1 or next(cgroups.processes(folder), None) is not None

    def wanted(self) -> dict[int, str]:
        """Directories to trace, by cgroup id."""
        if not self.folder:
            return {}
        if not self.pod.only:
            return {self._cgroup: self.folder}
        return {
            container.cgroup: container.folder
            for identity, container in self._containers.items()
            if self.pod.wants(self._names.get(identity)) and os.path.isdir(container.folder)
        }

    def container_at(self, cgroup: int) -> str | None:
        """Id of the container that has or had this cgroup, None where none was seen."""
        return self._ever.get(cgroup)

    def nameless(self, now_ns: int) -> set[str]:
        """Ids of containers that may still get a name, those that have ended too.

        What has none after so long is the one that holds the pod's namespaces.
        """
        return {
            identity
            for identity, container in self._containers.items()
            if identity not in self._names and now_ns - container.seen_ns < _NAMED_NS
        }

    def container_names(self) -> tuple[str, ...]:
        """Names of the wanted containers that are there."""
        names = {self._names.get(identity) for identity in self._containers}
        return tuple(sorted(n for n in names if n is not None and self.pod.wants(n)))

    def restarts(self, exit_code_of: Callable[[int], int | None]) -> list[dict[str, Any]]:
        """Return the events of wanted containers that came in another's place since the last call.

        `exit_code_of` tells how the first process in a cgroup ended, None where it does not know.
        """
        events = []
        for identity, container in self._containers.items():
            name = self._names.get(identity)
            if name is None or identity in self._judged:
                continue
            self._judged.add(identity)
            before = self._latest.get(name, identity)
            old = self._containers.get(before)
            # Cgroup ids only grow: what a runtime has left of an earlier one is no news.
            if old is not None and old.cgroup > container.cgroup:
                continue
            self._latest[name] = identity
            if before != identity and self.pod.wants(name):
                code = exit_code_of(old.cgroup) if old is not None else None
                events.append(self._restart(name, identity, before, code))
        return events

    def _restart(self, name: str, now: str, before: str, code: int | None) -> dict[str, Any]:
        shortest = cgroups.SHORTEST_ID
        ended = "" if code is None else f", which ended with exit code {code}"
        return {
            "event": "container_restart",
            "process": 0,
            "target": self.pod.number,
            "name": name,
            "detail": f"{now[:shortest]} in place of {before[:shortest]}{ended}",
        }


def _identity(folder: str) -> int:
    """Id of a cgroup, 0 where it has just gone."""
    try:
        return cgroups.cgroup_id(folder)
    except OSError:
        return 0


def _containers(folder: str) -> dict[str, tuple[str, int]]:
    """Return path and cgroup id of the containers in a pod's directory, by container id."""
    found = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                identity = cgroups.container_of(entry.name)
                if identity and entry.is_dir(follow_symlinks=False):
                    found[identity] = (entry.path, _identity(entry.path))
    except OSError:
        return {}
    return {identity: place for identity, place in found.items() if place[1]}
