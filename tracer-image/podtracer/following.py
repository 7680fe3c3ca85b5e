"""Keeps the probes with targets whose cgroups come and go.

What is new is entered in the probes' table of targets, gets the programs that see its packets, and
what already runs in it is looked over by the iterators; what is gone is taken out again.
"""

from __future__ import annotations

import errno
import os
import time

from podtracer import bpf
from podtracer.capabilities import lacking
from podtracer.hooks import ITERATOR, PACKETS
from podtracer.loader import Loaded
from podtracer.maps import OpenMaps
from podtracer.target import Changes, Scope


class Following:
    """Applies the changes of a scope.

    `unseen` counts the directories whose packets are not seen, since somebody last set it to 0.
    """

    def __init__(self, scope: Scope, loaded: Loaded, maps: OpenMaps) -> None:
        self._scope = scope
        self._loaded = loaded
        self._maps = maps
        self._links: dict[int, list[int]] = {}
        self.unseen = 0

    def apply(self, changes: Changes) -> None:
        """Bring the probes up to date."""
        for cgroup in changes.removed:
            self._maps.drop_target(cgroup)
            for link in self._links.pop(cgroup, ()):
                os.close(link)
        if changes.added:
            self._maps.set_targets_added(time.monotonic_ns())
        for cgroup, folder in changes.added.items():
            # Packets first: a process that is told of must be seen asking.
            self._attach(cgroup, folder)
            self._maps.add_target(cgroup, self._scope.cgroup_ids[cgroup])
        if changes.added:
            self._look_over()

    def _attach(self, cgroup: int, folder: str) -> None:
        try:
            directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return
        links = self._links.setdefault(cgroup, [])
        try:
            for probe in self._loaded.probes:
                program = self._loaded.programs.get(probe["name"])
                if probe["hook"] in PACKETS and program is not None:
                    links.append(bpf.create_link(program, directory, PACKETS[probe["hook"]]))
        except OSError as error:
            if error.errno != errno.ENOENT:
                self.unseen += 1
                denied = error.errno == errno.EPERM and "NET_ADMIN" in lacking()
                self._refused("it takes the capability NET_ADMIN" if denied else str(error))
        finally:
            os.close(directory)

    def _refused(self, reason: str) -> None:
        for probe in self._loaded.probes:
            if probe["hook"] in PACKETS and probe["state"] == "attached":
                probe.update(state="failed", reason=reason)

    def _look_over(self) -> None:
        for probe in self._loaded.probes:
            program = self._loaded.programs.get(probe["name"])
            if probe["hook"].startswith(f"{ITERATOR}/") and program is not None:
                bpf.run_iterator(program)

    def close(self) -> None:
        """Detach from every directory."""
        for links in self._links.values():
            for link in links:
                os.close(link)
        self._links.clear()
