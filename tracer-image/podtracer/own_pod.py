"""The tracer's own pod, as the kubelet tells it by the downward API."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from podtracer import cgroups
from podtracer.pod_tree import PodTree


@dataclass(frozen=True)
class OwnPod:
    """Who we are; "" where nobody said.

    `bare` is a pod that nothing watches over but the API object itself: it is marked for deletion
    while it runs, which makes the kubelet send the first SIGTERM.
    """

    namespace: str = ""
    name: str = ""
    uid: str = ""
    node: str = ""
    bare: bool = False

    def log_pattern(self, known: cgroups.Hierarchies) -> re.Pattern[str] | None:
        """What paths of the own log look like, None outside a pod.

        The kubelet's folder of logs is named after the pod; Docker's after the container. A rotated
        file has a suffix, a deleted one is shown with another.
        """
        if not self.uid:
            return None
        folder = f"/{self.namespace}_{self.name}_{self.uid}/"
        pattern = re.escape(folder) + r".*\.log"
        container = self._container(known)
        if container:
            pattern += rf"|/{container}-json\.log"
        return re.compile(pattern)

    def _container(self, known: cgroups.Hierarchies) -> str:
        """Id of the container that this process is in."""
        folder = PodTree(known.top).find(self.uid) if known.top else None
        for path in Path(folder).iterdir() if folder else ():
            container = cgroups.container_of(path.name)
            if container and os.getpid() in cgroups.processes(str(path)):
                return container
        return ""


def own_pod(environment: Mapping[str, str] = os.environ) -> OwnPod:
    """Read who we are from the environment."""
    return OwnPod(
        namespace=environment.get("PODTRACE_POD_NAMESPACE", ""),
        name=environment.get("PODTRACE_POD_NAME", ""),
        uid=environment.get("PODTRACE_POD_UID", ""),
        node=environment.get("PODTRACE_NODE", ""),
        bare=environment.get("PODTRACE_BARE") == "1",
    )
