"""What the status of a tracer pod says: whether it can start, runs, or how it ended.

Pure functions of the pod as the API server gives it. The kubelet's reasons are its own; those that
it may overcome by itself without anybody's help are no obstacle.
"""

from __future__ import annotations

from dataclasses import dataclass

from podtrace.cluster.manifest import CONTAINER
from podtrace.cluster.objects import Fields, listed, mapping, text

_ON_THE_WAY = ("", "ContainerCreating", "PodInitializing")

Pod = Fields


@dataclass(frozen=True)
class Obstacle:
    """Why a pod does not start: the kubelet's or scheduler's reason, and its sentence."""

    reason: str
    message: str


@dataclass(frozen=True)
class Ending:
    """How a pod ended.

    Args:
        reason: such as OOMKilled, Evicted, DeadlineExceeded, Error, Completed.
        message: the sentence that goes with it, or nothing.
        exit_code: of the tracer, or None where it never ran.
    """

    reason: str
    message: str
    exit_code: int | None


def is_accepted(pod: Pod) -> bool:
    """Tell whether a kubelet has taken the pod up."""
    status = mapping(pod, "status")
    return bool(status.get("startTime") or status.get("containerStatuses"))


def is_running(pod: Pod) -> bool:
    """Tell whether the tracer's container runs."""
    return "running" in _state(pod)


def is_deleted(pod: Pod) -> bool:
    """Tell whether somebody asked for the pod's deletion."""
    return bool(mapping(pod, "metadata").get("deletionTimestamp"))


def obstacle_of(pod: Pod) -> Obstacle | None:
    """Return why the pod cannot start, or None where it is on its way, runs, or ended."""
    status = mapping(pod, "status")
    if status.get("phase") == "Failed" and not _state(pod).get("terminated"):
        # The kubelet refused it: OutOfcpu, NodeAffinity, ...
        return Obstacle(str(status.get("reason") or "Failed"), text(status, "message"))
    for condition in listed(status, "conditions"):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return Obstacle(text(condition, "reason"), text(condition, "message"))
    statuses = listed(status, "initContainerStatuses") + listed(status, "containerStatuses")
    for container in statuses:
        waiting = mapping(container, "state", "waiting")
        if text(waiting, "reason") not in _ON_THE_WAY:
            return Obstacle(text(waiting, "reason"), text(waiting, "message"))
    return None


def ending_of(pod: Pod) -> Ending | None:
    """Return how the tracer or its pod ended, or None where it did not."""
    status = mapping(pod, "status")
    terminated = mapping(_state(pod), "terminated")
    if not terminated and status.get("phase") not in ("Succeeded", "Failed"):
        return None
    code = terminated.get("exitCode")
    reason, message = text(terminated, "reason"), text(terminated, "message")
    if reason != "OOMKilled":
        # What ended the pod says more than how its process took it.
        for condition in listed(status, "conditions"):
            if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
                reason, message = text(condition, "reason"), text(condition, "message")
        reason = text(status, "reason") or reason
        message = text(status, "message") or message
    return Ending(reason or "Error", message, code if isinstance(code, int) else None)


def _state(pod: Pod) -> Fields:
    for container in listed(mapping(pod, "status"), "containerStatuses"):
        if container.get("name") == CONTAINER:
            return mapping(container, "state")
    return {}
