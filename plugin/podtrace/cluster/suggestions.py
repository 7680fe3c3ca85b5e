"""What to say where nothing was found: near names, the right namespace, and what is there instead.

Lists are asked for only when something went wrong, and do without where the user may not list.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence

from podtrace.cluster.interface import ApiLike, Object, Query
from podtrace.cluster.objects import Fields, controller_of, mapping, name_of, namespace_of, text
from podtrace.cluster.paths import object_path
from podtrace.cluster.traceable import is_own, state_of
from podtrace.cluster.workloads import Named
from podtrace.errors import ApiError, ClusterError, TargetError

MOST_NAMES = 5


def no_such_pod(api: ApiLike, namespace: str, name: str) -> TargetError:
    """Return the error for a pod that does not exist."""
    if error := _no_namespace(api, namespace):
        return error
    pods = [pod for pod in _listed(api, "pods", namespace) if not is_own(pod)]
    if whole := _workload_of(name, pods):
        return TargetError(
            f"there is no pod {namespace}/{name}, but a {whole}",
            f"to trace its pods: kubectl podtrace -n {namespace} {whole}",
        )
    near = _near(name, [name_of(pod) for pod in pods])
    message = f"there is no pod {namespace}/{name}"
    if near:
        return TargetError(message, f"did you mean {' or '.join(near)}?")
    fields = f"metadata.name={name}"
    elsewhere = [namespace_of(pod) for pod in _listed(api, "pods", None, fieldSelector=fields)]
    if elsewhere:
        return TargetError(
            f"{message}, but one in namespace {', '.join(elsewhere[:MOST_NAMES])}",
            f"name its namespace: kubectl podtrace -n {elsewhere[0]} {name}",
        )
    return TargetError(message, f"to see what is there: kubectl get pods -n {namespace}")


def no_such_object(api: ApiLike, namespace: str, named: Named) -> TargetError:
    """Return the error for a workload or service that does not exist."""
    if error := _no_namespace(api, namespace):
        return error
    names = [name_of(item) for item in _listed(api, named.resource, namespace)]
    near = [f"{named.kind}/{name}" for name in _near(named.name, names)]
    return TargetError(
        f"there is no {named.kind} {namespace}/{named.name}",
        f"did you mean {' or '.join(near)}?"
        if near
        else f"to see what is there: kubectl get {named.resource} -n {namespace}",
    )


def nothing_runs(
    what: str, namespace: str, pods: Sequence[Object], api: ApiLike | None = None
) -> TargetError:
    """Return the error for a choice of pods of which none runs.

    Args:
        what: that which has no running pod.
        namespace: where.
        pods: those that it has, in whatever state.
        api: given where the namespace itself may not exist.
    """
    others = [pod for pod in pods if not is_own(pod)]
    if not others:
        error = _no_namespace(api, namespace) if api is not None else None
        return error or TargetError(
            f"{what} has no pods", f"to see what is there: kubectl get all -n {namespace}"
        )
    states = Counter(text(mapping(pod, "status"), "phase") or "unknown" for pod in others)
    counted = ", ".join(f"{count} {phase}" for phase, count in states.most_common())
    details = [f"pod {name_of(pod)} {state_of(pod)}" for pod in others[:MOST_NAMES]]
    if len(others) > MOST_NAMES:
        details.append(f"and {len(others) - MOST_NAMES} more")
    return TargetError(
        f"{what} has no running pod ({counted})", f"see: kubectl get pods -n {namespace}", details
    )


def _no_namespace(api: ApiLike, namespace: str) -> TargetError | None:
    try:
        api.get(object_path("namespaces", name=namespace))
    except ApiError as error:
        if error.status == 404:
            names = [name_of(item) for item in _listed(api, "namespaces", None)]
            near = _near(namespace, names)
            return TargetError(
                f"there is no namespace {namespace}",
                f"did you mean {' or '.join(near)}?" if near else "see: kubectl get namespaces",
            )
    except ClusterError:
        return None
    return None


def _listed(api: ApiLike, resource: str, namespace: str | None, **query: Query) -> list[Object]:
    try:
        return list(api.items(object_path(resource, namespace=namespace), **query))
    except ClusterError:
        return []


def _near(name: str, names: Sequence[str]) -> list[str]:
    """Return names that may be meant: those that go on from this one, then similar ones."""
    longer = sorted(each for each in names if each.startswith(f"{name}-") or f"-{name}-" in each)
    similar = difflib.get_close_matches(name, names, n=MOST_NAMES, cutoff=0.6)
    return list(dict.fromkeys([*longer, *similar]))[:MOST_NAMES]


def _workload_of(name: str, pods: Sequence[Fields]) -> str | None:
    """Return the TYPE/NAME of this name whose pods are there."""
    for pod in pods:
        owner = controller_of(pod)
        kind, owner_name = text(owner, "kind"), text(owner, "name")
        generation = text(mapping(pod, "metadata", "labels"), "pod-template-hash")
        if kind == "ReplicaSet" and generation and owner_name == f"{name}-{generation}":
            return f"deployment/{name}"
        if owner_name == name and kind in ("StatefulSet", "DaemonSet", "ReplicaSet", "Job"):
            return f"{kind.lower()}/{name}"
    return None
