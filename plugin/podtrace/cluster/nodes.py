"""Nodes that cannot be traced: not Linux, not real, or not there."""

from __future__ import annotations

import re

from podtrace.cluster.interface import ApiLike
from podtrace.cluster.objects import Fields, listed, mapping, name_of, text
from podtrace.cluster.paths import object_path
from podtrace.errors import ApiError, TargetError

_VIRTUAL_LABELS = {
    "type": ("virtual-kubelet", "virtual-node"),
    "kubernetes.io/role": ("virtual-kubelet",),
    "eks.amazonaws.com/compute-type": ("fargate",),
}
_VIRTUAL_TAINT = "virtual-kubelet.io/provider"
_OTHER_NODE = "trace a pod on another node; to see where pods run: kubectl get pods -o wide"


def check_node(api: ApiLike, node: str) -> None:
    """Refuse a node on which nothing can be traced.

    Nothing is said where the user may not read nodes.

    Raises:
        TargetError: the node is virtual, runs Windows, is not ready or does not exist.
        ClusterError: the cluster does not answer.
    """
    found = _node(api, node)
    if found is not None:
        refuse_untraceable(found)


def refuse_untraceable(node: Fields) -> None:
    """Refuse a node on which nothing can be traced, by what its object says.

    Raises:
        TargetError: the node is virtual, runs Windows or is not ready.
    """
    name, labels = name_of(node), mapping(node, "metadata", "labels")
    if kind := _virtual(node, labels):
        raise TargetError(
            f"node {name} is virtual ({kind}): there is no kernel that could be traced", _OTHER_NODE
        )
    system = text(mapping(node, "status", "nodeInfo"), "operatingSystem")
    system = system or text(labels, "kubernetes.io/os")
    if system not in ("", "linux"):
        raise TargetError(f"node {name} runs {system}, and only Linux can be traced", _OTHER_NODE)
    _check_ready(node, name)


def kernel_of(node: Fields) -> tuple[int, int]:
    """Return major and minor version of a node's kernel, zeros where it does not say."""
    match = re.match(r"(\d+)\.(\d+)", text(mapping(node, "status", "nodeInfo"), "kernelVersion"))
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _node(api: ApiLike, node: str) -> Fields | None:
    try:
        return api.get(object_path("nodes", name=node))
    except ApiError as error:
        if error.status == 404:
            raise TargetError(
                f"node {node} is not there any more",
                "wait until its pods are started elsewhere; see: kubectl get nodes",
            ) from error
        if error.status == 403:
            return None
        raise


def _virtual(node: Fields, labels: Fields) -> str:
    for key, values in _VIRTUAL_LABELS.items():
        if text(labels, key) in values:
            return text(labels, key)
    for taint in listed(mapping(node, "spec"), "taints"):
        if taint.get("key") == _VIRTUAL_TAINT:
            return text(taint, "value") or "virtual-kubelet"
    return ""


def _check_ready(node: Fields, name: str) -> None:
    for condition in listed(mapping(node, "status"), "conditions"):
        if condition.get("type") != "Ready" or condition.get("status") == "True":
            continue
        since = text(condition, "lastTransitionTime")
        said = text(condition, "message") or text(condition, "reason")
        raise TargetError(
            f"node {name} is not ready{f' since {since}' if since else ''}"
            f"{f': {said}' if said else ''}",
            f"see: kubectl describe node {name}",
        )
