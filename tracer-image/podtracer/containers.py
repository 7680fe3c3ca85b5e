"""Names of containers by the cgroup that a process is in.

The kubelet links every container's log as /var/log/containers/POD_NAMESPACE_CONTAINER-ID.log on the
node; where there is no such link the first characters of the id have to do.
"""

from __future__ import annotations

import os
import re

from podtracer.cgroups import SHORTEST_ID, container_of
from podtracer.target import Scope

LOG_LINKS = "/var/log/containers"
_LOG_LINK = re.compile(r"[^_]+_[^_]+_(.+)-([0-9a-f]{64})\.log")


class ContainerNames:
    """Looks names up, and again when a cgroup appears that was not there before."""

    def __init__(self, scope: Scope, log_links: str = LOG_LINKS) -> None:
        self._scope = scope
        self._log_links = log_links
        self._names: dict[int, str | None] = {}

    def name(self, cgroup: int) -> str | None:
        """Name of the container that a cgroup id belongs to, None where it is no container's."""
        if cgroup not in self._names:
            self._names.update(self._found())
            # A cgroup that is gone already, or outside the targets, has no name.
            self._names.setdefault(cgroup, None)
        return self._names[cgroup]

    def _found(self) -> dict[int, str | None]:
        links = self._links()
        names: dict[int, str | None] = {}
        for target in self._scope.targets:
            if not target.cgroup:
                continue
            for folder, _, _ in os.walk(target.cgroup):
                identity = container_of(folder)
                name = links.get(identity, identity[:SHORTEST_ID]) if identity else None
                try:
                    names[os.stat(folder).st_ino] = name
                except FileNotFoundError:
                    continue
        return names

    def _links(self) -> dict[str, str]:
        try:
            entries = os.listdir(self._log_links)
        except OSError:
            return {}
        matches = (_LOG_LINK.fullmatch(entry) for entry in entries)
        return {match[2]: match[1] for match in matches if match}
