"""Whether a pod can be traced, by what its object says; and the right words where it cannot."""

from __future__ import annotations

from collections.abc import Iterator

from podtrace.cluster.interface import ApiLike
from podtrace.cluster.manifest import MANAGER_LABEL, OWN_LABELS
from podtrace.cluster.objects import (
    Fields,
    listed,
    mapping,
    name_of,
    namespace_of,
    text,
)
from podtrace.cluster.paths import object_path
from podtrace.errors import ApiError, TargetError

_SANDBOXES = ("kata", "gvisor", "runsc", "firecracker")
_FARGATE_LABEL = "eks.amazonaws.com/fargate-profile"
_NOT_STARTED = ("", "ContainerCreating", "PodInitializing")


def is_own(pod: Fields) -> bool:
    """Tell whether a pod is a tracer of podtrace's."""
    labels = mapping(pod, "metadata", "labels")
    return labels.get(MANAGER_LABEL) == OWN_LABELS[MANAGER_LABEL]


def is_live(pod: Fields) -> bool:
    """Tell whether a pod has processes, or will have them again: it runs, or is in its init."""
    if is_deleted(pod) or not text(mapping(pod, "spec"), "nodeName"):
        return False
    phase = text(mapping(pod, "status"), "phase")
    return phase == "Running" or (phase == "Pending" and any(_running_statuses(pod)))


def is_deleted(pod: Fields) -> bool:
    """Tell whether somebody asked for the pod's deletion."""
    return bool(mapping(pod, "metadata").get("deletionTimestamp"))


def check_pod(api: ApiLike, pod: Fields) -> None:
    """Refuse a pod that cannot be traced.

    Raises:
        TargetError: why.
        ClusterError: the cluster does not answer.
    """
    name, namespace = name_of(pod), namespace_of(pod)
    where = f"pod {namespace}/{name}"
    if is_own(pod):
        raise TargetError(
            f"{where} is a tracer of podtrace itself",
            f"name the pod that it traces; to remove it: kubectl podtrace cleanup -n {namespace}",
        )
    if not is_live(pod):
        raise TargetError(f"{where} {state_of(pod)}", _next_step(pod))
    _check_system(pod, where)
    _check_sandbox(api, pod, where)


def state_of(pod: Fields) -> str:
    """Return what a pod does that cannot be traced now, as in `is not scheduled: ...`."""
    status = mapping(pod, "status")
    phase, reason = text(status, "phase"), text(status, "reason")
    said = text(status, "message")
    if is_deleted(pod):
        return f"is being deleted since {text(mapping(pod, 'metadata'), 'deletionTimestamp')}"
    if phase == "Succeeded":
        return f"has ended successfully{_ended(pod)}"
    if phase == "Failed":
        why = ": ".join(part for part in (reason, said) if part) or _exit_codes(pod)
        return f"has failed{_ended(pod)}{f': {why}' if why else ''}"
    if not text(mapping(pod, "spec"), "nodeName"):
        for condition in listed(status, "conditions"):
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                why = text(condition, "message") or text(condition, "reason")
                return f"has no node yet: {why}"
        return "has no node yet"
    if phase == "Pending":
        return _pending(status)
    if phase == "Unknown":
        return f"is in an unknown state{f': {reason}' if reason else ''}"
    return f"is in phase {phase or 'unknown'}"


def _pending(status: Fields) -> str:
    for key, kind in (
        ("initContainerStatuses", "init container"),
        ("containerStatuses", "container"),
    ):
        for container in listed(status, key):
            waiting = mapping(container, "state", "waiting")
            reason, said = text(waiting, "reason"), text(waiting, "message")
            ended = mapping(container, "state", "terminated")
            if reason not in _NOT_STARTED:
                what = f"{kind} {text(container, 'name')} is waiting: {reason}"
                return f"has not started: {what}{f': {said}' if said else ''}"
            if ended and ended.get("exitCode") not in (0, None):
                what = f"{kind} {text(container, 'name')}"
                return f"has not started: {what} ended with exit code {ended['exitCode']}"
    return "has not started: its containers are being created"


def _next_step(pod: Fields) -> str:
    name, namespace = name_of(pod), namespace_of(pod)
    phase = text(mapping(pod, "status"), "phase")
    if is_deleted(pod) or phase in ("Succeeded", "Failed"):
        return (
            "trace one that runs: "
            f"kubectl get pods -n {namespace} --field-selector=status.phase=Running"
        )
    return f"see: kubectl describe pod -n {namespace} {name}"


def _check_system(pod: Fields, where: str) -> None:
    spec = mapping(pod, "spec")
    system = text(mapping(spec, "os"), "name")
    system = system or text(mapping(spec, "nodeSelector"), "kubernetes.io/os")
    if system not in ("", "linux"):
        raise TargetError(
            f"{where} runs on {system}, and only Linux can be traced", "trace another pod"
        )
    if mapping(pod, "metadata", "labels").get(_FARGATE_LABEL):
        raise TargetError(
            f"{where} runs on Fargate, which lets no pod see a kernel",
            "run it on a node of its own kind: a managed or self-managed node group",
        )


def _check_sandbox(api: ApiLike, pod: Fields, where: str) -> None:
    runtime = text(mapping(pod, "spec"), "runtimeClassName")
    if not runtime:
        return
    try:
        found = api.get(object_path("runtimeclasses", name=runtime))
        handler = text(found, "handler")
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        handler = runtime
    if any(sandbox in word.lower() for sandbox in _SANDBOXES for word in (handler, runtime)):
        raise TargetError(
            f"{where} runs in a sandbox (runtime class {runtime}, handler {handler}): its "
            "processes have a kernel of their own, which the node's kernel cannot look into",
            "to trace it, run a copy of it without runtimeClassName",
        )


def _running_statuses(pod: Fields) -> Iterator[Fields]:
    status = mapping(pod, "status")
    for key in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for container in listed(status, key):
            if mapping(container, "state", "running"):
                yield container


def _ended(pod: Fields) -> str:
    times = [
        text(mapping(container, "state", "terminated"), "finishedAt")
        for container in listed(mapping(pod, "status"), "containerStatuses")
    ]
    newest = max(times, default="")
    return f" at {newest}" if newest else ""


def _exit_codes(pod: Fields) -> str:
    found = [
        f"container {text(container, 'name')} ended with exit code {ended['exitCode']}"
        for container in listed(mapping(pod, "status"), "containerStatuses")
        if (ended := mapping(container, "state", "terminated")).get("exitCode")
    ]
    return ", ".join(found)
