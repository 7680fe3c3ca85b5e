"""API servers that are away for a while, until all that lost them works again.

Whoever watches a server that is away tries it ever more seldom, and may not have found it for a
minute and a half after it is back. The tests that follow would take that for faults of their own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from e2e.kubectl import Kubectl, pod
from e2e.machine.cluster import Cluster
from e2e.machine.images import PAUSE_IMAGE


class Outages:
    """Outages of a cluster's API server; `make_namespace` is for pods that show that nodes work."""

    def __init__(self, cluster: Cluster, make_namespace: Callable[..., Kubectl]) -> None:
        self._cluster = cluster
        self._make_namespace = make_namespace
        self._is_over = True

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        """Take the API server away meanwhile."""
        self._is_over = False
        self._cluster.control.stop_api()
        try:
            yield
        finally:
            self._cluster.control.start_api()

    def wait_for_nodes(self) -> None:
        """Wait until controllers and kubelets have found the server again."""
        namespace = self._make_namespace()
        names = [node.name for node in self._cluster.nodes]
        namespace.apply(*(pod(f"pause-{name}", PAUSE_IMAGE, node=name) for name in names))
        namespace.wait_for_pods(*(f"pause-{name}" for name in names))

    def recover(self) -> None:
        """Start all that may not have found the server yet anew, and wait until it works."""
        if self._is_over:
            return
        self._cluster.control.restart_controllers()
        for node in self._cluster.nodes:
            node.restart()
        self.wait_for_nodes()
        self._is_over = True
