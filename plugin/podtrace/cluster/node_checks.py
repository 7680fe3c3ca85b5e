"""Questions about nodes, asked before a trace: can their kernels be traced, can a pod start there.

What a node says of itself is not the last word: a kernel may lack BTF or be locked down. Only a
tracer that runs there knows that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus

from podtrace.checkup import FAILED, OK, SKIPPED, WARNING, Check, check_of
from podtrace.cluster.interface import ApiLike, Object
from podtrace.cluster.nodes import refuse_untraceable
from podtrace.cluster.objects import Fields, listed, mapping, name_of, text
from podtrace.cluster.paths import object_path
from podtrace.errors import ApiError, ClusterError, PodtraceError

OLDEST_KERNEL = (5, 8)
"""Programs on BTF tracepoints, ring buffers and links."""
ARCHITECTURES = ("amd64", "arm64")

_PRESSURES = ("DiskPressure", "MemoryPressure", "PIDPressure")
_MOST_NAMES = 4


def get_node(api: ApiLike, name: str) -> Object | Check:
    """Return a node, or why it cannot be looked at."""
    label = f"Node {name}"
    try:
        return api.get(object_path("nodes", name=name))
    except ApiError as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return Check(label, SKIPPED, "you may not look at nodes")
        return check_of(label, error)
    except ClusterError as error:
        return check_of(label, error)


def check_node_object(node: Fields) -> Check:
    """Tell what a node is, and what keeps a tracer from working there."""
    name = name_of(node)
    label = f"Node {name}"
    try:
        refuse_untraceable(node)
    except PodtraceError as error:
        return check_of(label, error)
    found = _describe(node)
    version = kernel_version(node)
    if version is not None and version < OLDEST_KERNEL:
        return Check(label, FAILED, f"{found}: the kernel is too old", _old_kernel(OLDEST_KERNEL))
    problems, advice = [], []
    architecture = text(_info(node), "architecture")
    if architecture and architecture not in ARCHITECTURES:
        problems.append(f"no tracer image is made for {architecture}")
        advice.append("build an image for that architecture and name it with --tracer-image")
    pressures = [kind for kind in _PRESSURES if _condition(node, kind).get("status") == "True"]
    if pressures:
        problems.append(f"{', '.join(pressures)}: it may refuse new pods")
        advice.append(f"make room on the node:\n  kubectl describe node {name}")
    if problems:
        return Check(label, WARNING, f"{found}; {'; '.join(problems)}", "\n".join(advice))
    return Check(label, OK, found)


def check_all_nodes(api: ApiLike) -> list[Check]:
    """Tell which kinds of nodes the cluster has, and whether they can be traced."""
    try:
        nodes = list(api.items(object_path("nodes")))
    except ApiError as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return [Check("Nodes", SKIPPED, "you may not list nodes")]
        return [check_of("Nodes", error)]
    except ClusterError as error:
        return [check_of("Nodes", error)]
    groups: dict[tuple[str, str, str | None], list[Check]] = {}
    for node in nodes:
        check = check_node_object(node)
        groups.setdefault((check.state, _without(check.found, node), check.fix), []).append(check)
    if not groups:
        return [Check("Nodes", FAILED, "the cluster has no nodes", "add a node")]
    checks = []
    for (_, found, _), same in groups.items():
        first = same[0]
        if len(same) == 1:
            checks.append(first)
            continue
        names = [each.name.removeprefix("Node ") for each in same]
        listed = ", ".join(names[:_MOST_NAMES])
        rest = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        checks.append(
            Check(f"{len(same)} nodes", first.state, f"{listed}{rest}: {found}", first.fix)
        )
    if any(check.state != FAILED for check in checks):
        # Pods on the other nodes can be traced.
        return [_softened(check) for check in checks]
    return checks


def kernel_version(node: Fields) -> tuple[int, int] | None:
    """Return major and minor version of a node's kernel, or None where it does not say."""
    match = re.match(r"(\d{1,4})\.(\d{1,4})", text(_info(node), "kernelVersion"))
    return (int(match.group(1)), int(match.group(2))) if match else None


def _describe(node: Fields) -> str:
    info = _info(node)
    parts = [
        "Ready",
        f"{text(info, 'operatingSystem') or 'linux'}/{text(info, 'architecture') or 'unknown'}",
        f"kernel {text(info, 'kernelVersion') or 'of an unknown version'}",
        text(info, "containerRuntimeVersion"),
    ]
    return ", ".join(part for part in parts if part)


def _old_kernel(wanted: Sequence[int]) -> str:
    version = ".".join(map(str, wanted))
    return f"trace pods on nodes with Linux {version} or newer, or upgrade this one"


def _softened(check: Check) -> Check:
    if check.state != FAILED:
        return check
    return Check(check.name, WARNING, check.found, check.fix)


def _without(words: str, node: Fields) -> str:
    """Return a text in which nodes that are alike do not differ."""
    return words.replace(name_of(node), "NODE")


def _info(node: Fields) -> Fields:
    return mapping(node, "status", "nodeInfo")


def _condition(node: Fields, kind: str) -> Fields:
    conditions = listed(mapping(node, "status"), "conditions")
    return next((each for each in conditions if each.get("type") == kind), {})
