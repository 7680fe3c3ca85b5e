"""What a tracer has to know about its node, as far as the user may look at nodes."""

from __future__ import annotations

from podtrace.cluster.interface import ApiLike
from podtrace.cluster.nodes import check_node, kernel_of
from podtrace.cluster.paths import object_path
from podtrace.errors import ClusterError, TargetError

_FREE_MEMORY_KERNEL = (5, 11)
"""From this version on the tables of eBPF are no locked memory."""


def node_trouble(api: ApiLike, node: str) -> TargetError | None:
    """Return what is wrong with a node, or None where nothing is, or nobody can tell."""
    try:
        check_node(api, node)
    except TargetError as error:
        return error
    except ClusterError:
        return None
    return None


def has_memory_limit(api: ApiLike, node: str) -> bool:
    """Tell whether a node's kernel counts tables as locked memory; true where nobody can tell."""
    try:
        found = api.get(object_path("nodes", name=node))
    except ClusterError:
        return True
    return kernel_of(found) < _FREE_MEMORY_KERNEL
