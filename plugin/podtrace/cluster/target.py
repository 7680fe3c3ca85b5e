"""From what the user names to the pods that will be traced, each of them fit for it.

Never more than one pod is traced that was not asked for: without a name or selector, one running
pod is taken as meant, and of several one has to be chosen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from podtrace.cluster.complaints import complaints_of
from podtrace.cluster.interface import ApiLike, Object
from podtrace.cluster.nodes import check_node
from podtrace.cluster.objects import Fields, listed, mapping, name_of, namespace_of, text, uid_of
from podtrace.cluster.paths import object_path
from podtrace.cluster.rights import missing_rights_error
from podtrace.cluster.static_pod import static_uid
from podtrace.cluster.suggestions import no_such_object, no_such_pod, nothing_runs
from podtrace.cluster.traceable import check_pod, is_live, is_own
from podtrace.cluster.workloads import Named, parse_word, pods_of
from podtrace.errors import ApiError, TargetError, UsageError

__all__ = ["Selection", "TargetContainer", "TargetPod", "check_node", "resolve"]

Kind = Literal["container", "init", "sidecar", "ephemeral"]
Choose = Callable[[list[str]], int | None]

MOST_CANDIDATES = 20
MOST_PODS = 255
"""A tracer knows its pods by a number that fits in a byte, and no two of a run share one."""
_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")
_THREADS = 8


@dataclass(frozen=True)
class Selection:
    """What the user asked for.

    Args:
        namespace: None for the one that the user works in.
        words: POD or TYPE/NAME.
        selector: labels, as -l takes them.
        container: None for all.
    """

    namespace: str | None = None
    words: tuple[str, ...] = ()
    selector: str | None = None
    container: str | None = None


@dataclass(frozen=True)
class TargetContainer:
    """A container; `id` is empty where it does not run now."""

    name: str
    id: str
    kind: Kind


@dataclass(frozen=True)
class TargetPod:
    """A pod to trace.

    Args:
        number: from 1, unique over all pods of the run.
        namespace: its namespace.
        name: its name.
        uid: of its object.
        cgroup_uid: that its cgroup is named after: of a static pod, the hash of its manifest.
        node: where it runs.
        containers: all of them, in the order of the pod's specification, init containers first.
        only: names of the containers to trace; empty for all.
        complaints: what its status says is wrong, a sentence for each container.
    """

    number: int
    namespace: str
    name: str
    uid: str
    cgroup_uid: str
    node: str
    containers: tuple[TargetContainer, ...]
    only: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()


def resolve(api: ApiLike, selection: Selection, choose: Choose) -> list[TargetPod]:
    """Return the pods to trace, in the order in which they were asked for.

    Args:
        api: the cluster.
        selection: what was asked for.
        choose: asks which of several candidates is meant; None where nobody can be asked.

    Raises:
        UsageError: several pods could be meant, or a word makes no sense.
        TargetError: there is no such pod, or it cannot be traced.
        ClusterError: the cluster does not answer, or does not let the user look.
    """
    namespace = selection.namespace or api.namespace
    try:
        if selection.words:
            pods = _named_pods(api, namespace, [parse_word(word) for word in selection.words])
        elif selection.selector:
            pods = _selected_pods(api, namespace, selection.selector)
        else:
            pods = [_only_pod(api, namespace, choose)]
        for pod in pods:
            check_pod(api, pod)
        targets = _targets(pods, selection.container)
        _check_nodes(api, targets)
    except ApiError as error:
        if error.status == 403:
            raise missing_rights_error(api, namespace, error) from error
        raise
    return targets


def containers_of(pod: Fields) -> tuple[TargetContainer, ...]:
    """Return the containers of a pod, with the ids of those that run."""
    spec, status = mapping(pod, "spec"), mapping(pod, "status")
    found: list[TargetContainer] = []
    sections: list[tuple[str, str, Kind]] = [
        ("initContainers", "initContainerStatuses", "init"),
        ("containers", "containerStatuses", "container"),
        ("ephemeralContainers", "ephemeralContainerStatuses", "ephemeral"),
    ]
    for section, statuses, kind in sections:
        ids = {
            text(each, "name"): text(each, "containerID").rpartition("/")[2]
            for each in listed(status, statuses)
            if mapping(each, "state", "running")
        }
        for container in listed(spec, section):
            name = text(container, "name")
            is_sidecar = kind == "init" and container.get("restartPolicy") == "Always"
            id = ids.get(name, "")
            found.append(
                TargetContainer(
                    name=name,
                    id=id if _CONTAINER_ID.fullmatch(id) else "",
                    kind="sidecar" if is_sidecar else kind,
                )
            )
    return tuple(found)


def _named_pods(api: ApiLike, namespace: str, names: Sequence[Named]) -> list[Object]:
    found: dict[str, Object] = {}
    for named in names:
        if named.resource == "pods":
            pods = [_pod(api, namespace, named.name)]
        else:
            pods = _running_pods(api, namespace, named)
        for pod in pods:
            found.setdefault(uid_of(pod), pod)
    return list(found.values())


def _pod(api: ApiLike, namespace: str, name: str) -> Object:
    try:
        return api.get(object_path("pods", namespace=namespace, name=name))
    except ApiError as error:
        if error.status != 404:
            raise
        raise no_such_pod(api, namespace, name) from error


def _running_pods(api: ApiLike, namespace: str, named: Named) -> list[Object]:
    try:
        pods = pods_of(api, namespace, named)
    except ApiError as error:
        if error.status != 404:
            raise
        raise no_such_object(api, namespace, named) from error
    live = _live(pods)
    if not live:
        raise nothing_runs(f"{named.kind} {namespace}/{named.name}", namespace, pods)
    return live


def _selected_pods(api: ApiLike, namespace: str, selector: str) -> list[Object]:
    path = object_path("pods", namespace=namespace)
    try:
        pods = list(api.items(path, labelSelector=selector))
    except ApiError as error:
        if error.status != 400:
            raise
        raise UsageError(
            f"-l {selector}: {error.message}", "for example: -l app=web or -l 'tier in (a,b)'"
        ) from error
    live = _live(pods)
    if not live:
        raise nothing_runs(f"-l {selector} in namespace {namespace}", namespace, pods, api)
    return live


def _only_pod(api: ApiLike, namespace: str, choose: Choose) -> Object:
    pods = list(api.items(object_path("pods", namespace=namespace)))
    live = _live(pods)
    if not live:
        raise nothing_runs(f"namespace {namespace}", namespace, pods, api)
    if len(live) == 1:
        return live[0]
    names = [name_of(pod) for pod in live]
    number = choose(names)
    if number is None:
        listing = [f"  {count}) {name}" for count, name in enumerate(names, 1)]
        more = len(listing) - MOST_CANDIDATES
        if more > 0:
            listing[MOST_CANDIDATES:] = [f"  and {more} more"]
        raise UsageError(
            f"namespace {namespace} has {len(names)} running pods, and none was named",
            f"name one, for example: kubectl podtrace -n {namespace} {names[0]} --diagnose 20s",
            listing,
        )
    return live[number]


def _live(pods: Iterable[Object]) -> list[Object]:
    live = [pod for pod in pods if is_live(pod) and not is_own(pod)]
    return sorted(live, key=lambda pod: (namespace_of(pod), name_of(pod)))


def _targets(pods: Sequence[Fields], container: str | None) -> list[TargetPod]:
    chosen = [(pod, containers_of(pod)) for pod in pods]
    if container is not None:
        having = [
            (pod, containers)
            for pod, containers in chosen
            if container in [each.name for each in containers]
        ]
        if not having:
            raise _no_container(chosen[0], container)
        chosen = having
        for pod, _ in chosen:
            _check_container(pod, container)
    if len(chosen) > MOST_PODS:
        raise UsageError(
            f"{len(chosen)} pods are too many: one run traces {MOST_PODS} at most",
            "choose fewer by their labels with -l, or by a container that they have with -c",
        )
    return [
        TargetPod(
            number=number,
            namespace=namespace_of(pod),
            name=name_of(pod),
            uid=uid_of(pod),
            cgroup_uid=static_uid(pod) or uid_of(pod),
            node=text(mapping(pod, "spec"), "nodeName"),
            containers=containers,
            only=() if container is None else (container,),
            complaints=complaints_of(pod),
        )
        for number, (pod, containers) in enumerate(chosen, 1)
    ]


def _no_container(
    chosen: tuple[Fields, tuple[TargetContainer, ...]], container: str
) -> TargetError:
    pod, containers = chosen
    names = [
        each.name if each.kind == "container" else f"{each.name} ({each.kind})"
        for each in containers
    ]
    return TargetError(
        f"pod {namespace_of(pod)}/{name_of(pod)} has no container {container}",
        f"its containers are: {', '.join(names)}",
    )


def _check_container(pod: Fields, container: str) -> None:
    """Refuse a container that has ended for good: an init or ephemeral one is not started again."""
    status = mapping(pod, "status")
    for key in ("initContainerStatuses", "ephemeralContainerStatuses"):
        for each in listed(status, key):
            ended = mapping(each, "state", "terminated")
            if text(each, "name") == container and ended:
                raise TargetError(
                    f"container {container} of pod {namespace_of(pod)}/{name_of(pod)} has ended"
                    f" with exit code {ended.get('exitCode')}, and is not started again",
                    "leave out -c to trace all containers of the pod",
                )


def _check_nodes(api: ApiLike, targets: Sequence[TargetPod]) -> None:
    nodes = list(dict.fromkeys(target.node for target in targets))
    if len(nodes) == 1:
        check_node(api, nodes[0])
        return
    with ThreadPoolExecutor(_THREADS) as threads:
        for _ in threads.map(lambda node: check_node(api, node), nodes):
            pass
