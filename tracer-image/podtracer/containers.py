"""Names of containers by the cgroup that a process is in.

The kubelet links every container's log as /var/log/containers/POD_NAMESPACE_CONTAINER-ID.log on the
node; where there is no such link the first characters of the id have to do.
"""

from __future__ import annotations

import contextlib
import os
import re

from podtracer.cgroups import SHORTEST_ID, container_of
from podtracer.target import Scope

LOG_LINKS = "/var/log/containers"
_LOG_LINK = re.compile(r"[^_]+_[^_]+_(.+)-([0-9a-f]{64})\.log")


class ContainerNames:
    """Looks names up, at once and again when a cgroup appears that was not there before.

    A container may be gone before somebody asks for it, so that the first look is not put off.
    """

    def __init__(self, scope: Scope, folder: str = LOG_LINKS) -> None:
        self._scope = scope
        self._folder = folder
        self._links: dict[str, str] = {}
        self._containers: dict[int, str] = {}
        self._look()

    def name(self, cgroup: int) -> str | None:
        """Name of the container that a cgroup id belongs to, None where it is no container's."""
        identity = self.container(cgroup)
        return self.of_container(identity) if identity else None

    def of_container(self, identity: str) -> str:
        """Name of a container by its id."""
        name = self._scope.container_names.get(identity) or self._links.get(identity)
        return name or identity[:SHORTEST_ID]

    def container(self, cgroup: int) -> str:
        """Id of the container that a cgroup id belongs to, "" where it is no container's."""
        noted = self._scope.container_at(cgroup)
        if noted is not None:
            return noted
        if cgroup not in self._containers:
            self._look()
            # A cgroup that is gone already, or outside the targets, has no name.
            self._containers.setdefault(cgroup, "")
        return self._containers[cgroup]

    def _look(self) -> None:
        self._containers.update(self._found())
        if not self._scope.moving:
            self._links = log_links(self._folder)

    def _found(self) -> dict[int, str]:
        containers: dict[int, str] = {}
        for target in self._scope.targets:
            for top in filter(None, self._scope.folders(target.number)):
                for folder, _, _ in os.walk(top):
                    with contextlib.suppress(FileNotFoundError):
                        containers[os.stat(folder).st_ino] = container_of(folder)
        return containers


def log_links(folder: str) -> dict[str, str]:
    """Return container id -> name, as the kubelet's links say it."""
    try:
        entries = os.listdir(folder)
    except OSError:
        return {}
    matches = (_LOG_LINK.fullmatch(entry) for entry in entries)
    return {match[2]: match[1] for match in matches if match}
