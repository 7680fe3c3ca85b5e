"""API servers that are away for a while, until all that lost them works again.

Whoever watches a server that is away tries it ever more seldom, and has not found it for up to a
minute after it is back. The tests that follow would take that for faults of their own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from e2e.kubectl import Kubectl, pod
from e2e.machine.cluster import Cluster
from e2e.machine.images import PAUSE_IMAGE


@contextlib.contextmanager
def outage(cluster: Cluster, make_namespace: Callable[..., Kubectl]) -> Iterator[None]:
    """Take the API server away meanwhile; at the end wait until pods start on every node again.

    The controllers are started anew, as those of a cluster that elects leaders are: they have lost
    their lease and end.
    """
    cluster.control.stop_api()
    try:
        yield
    finally:
        cluster.control.start_api()
        cluster.control.stop_controllers()
        cluster.control.start_controllers()
        namespace = make_namespace()
        nodes = [node.name for node in cluster.nodes]
        namespace.apply(*(pod(f"pause-{name}", PAUSE_IMAGE, node=name) for name in nodes))
        namespace.wait_for_pods(*(f"pause-{name}" for name in nodes))
