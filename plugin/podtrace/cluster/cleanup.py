"""What runs left in the cluster: found by the labels of this program's own objects, and removed.

A tracer that runs may have somebody who reads it, on another machine: it stays unless that is
forced. It ends by itself soon after its last reader has gone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from podtrace.cluster.interface import ApiLike
from podtrace.cluster.manifest import (
    GRACE_SECONDS,
    OWN_SELECTOR,
    TARGETS_ANNOTATION,
)
from podtrace.cluster.paths import object_path
from podtrace.cluster.settings import UNHEARD_SECONDS
from podtrace.durations import NANOSECONDS, format_duration
from podtrace.errors import ApiError, ClusterError

CLOCK_SECONDS = 3600
"""A clock that nobody compared with the server's may be wrong by so much."""
_REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_FINISHED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Leaving:
    """A Job or pod of this program.

    Args:
        resource: `jobs` or `pods`.
        namespace: where it is.
        name: its name.
        targets: what it traces, as far as it says so.
        age_seconds: how long ago it was created, by the server's clock if it tells it.
        is_finished: nothing of it runs.
        is_overdue: it is older than it may get.
        is_going: it was deleted already, and its node has not let it go.
    """

    resource: str
    namespace: str
    name: str
    targets: str
    age_seconds: float
    is_finished: bool
    is_overdue: bool
    is_going: bool

    @property
    def label(self) -> str:
        """Kind, namespace and name, and what it is about."""
        about = f", which traces {self.targets}" if self.targets else ""
        return f"{self.resource[:-1]} {self.namespace}/{self.name}{about}"


@dataclass
class Cleanup:
    """What became of what was left: `lines` for the user, one an object, and what failed."""

    lines: list[str] = field(default_factory=list)
    failures: list[ClusterError] = field(default_factory=list)

    def check(self) -> None:
        """Raise where something could not be removed.

        Raises:
            ClusterError: how much that is.
        """
        if not self.failures:
            return
        raise ClusterError(
            f"{len(self.failures)} of {len(self.lines)} could not be removed", self.failures[0].hint
        )


def clean_up(api: ApiLike, namespace: str | None, *, force: bool = False) -> Cleanup:
    """Remove what runs left, and say of each object what became of it.

    Args:
        api: the cluster.
        namespace: where to look; None is everywhere.
        force: remove tracers that still run, too.

    Raises:
        ClusterError: the cluster did not let us look.
    """
    done = Cleanup()
    for leaving in find_leavings(api, namespace):
        try:
            line = _remove(api, leaving, force)
        except ClusterError as error:
            line = f"could not remove {leaving.label}: {error.message}"
            done.failures.append(error)
        done.lines.append(line)
    return done


def find_leavings(api: ApiLike, namespace: str | None) -> list[Leaving]:
    """Return this program's Jobs, and its pods that belong to none of them.

    Raises:
        ClusterError: the user may list neither, or the cluster does not answer.
    """
    now, doubt = _clock(api)
    refused: list[ApiError] = []
    found: list[Leaving] = []
    jobs: set[str] = set()
    for resource in ("jobs", "pods"):
        try:
            objects = list(
                api.items(object_path(resource, namespace=namespace), labelSelector=OWN_SELECTOR)
            )
        except ApiError as error:
            if error.status != 403:
                raise
            refused.append(error)
            continue
        if resource == "jobs":
            jobs = {str(each["metadata"].get("uid")) for each in objects}
        found += [
            _leaving(resource, each, now, doubt) for each in objects if not _is_of(each, jobs)
        ]
    if len(refused) == 2:
        hint = "name a namespace where you may list pods: -n NAMESPACE"
        raise ClusterError(f"cannot look for tracers: {refused[-1].message}", hint)
    return sorted(found, key=lambda each: (each.namespace, each.name))


def _is_of(item: Mapping[str, Any], jobs: set[str]) -> bool:
    owners = item["metadata"].get("ownerReferences") or ()
    return any(str(owner.get("uid")) in jobs for owner in owners)


def _clock(api: ApiLike) -> tuple[float, float]:
    """Return the seconds of the clock that stamps objects, and by how much that may be wrong.

    The server stamps its answer to who the user is. Where it does not, there is this machine's
    clock, which may be so far ahead that a tracer at work looks as if it were beyond its limit.
    """
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        metadata = api.post(_REVIEWS, review).get("metadata")
    except ClusterError:
        metadata = None
    stamp = metadata.get("creationTimestamp") if isinstance(metadata, dict) else None
    told = _seconds(stamp, 0)
    return (told, 0) if told else (time.time(), CLOCK_SECONDS)


def _leaving(resource: str, item: Mapping[str, Any], now: float, doubt: float) -> Leaving:
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    age = now - _seconds(metadata.get("creationTimestamp"), now)
    limit = spec.get("activeDeadlineSeconds")
    finished = status.get("phase") in _FINISHED or any(
        condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True"
        for condition in status.get("conditions") or ()
        if resource == "jobs"
    )
    return Leaving(
        resource=resource,
        namespace=str(metadata.get("namespace")),
        name=str(metadata.get("name")),
        targets=str((metadata.get("annotations") or {}).get(TARGETS_ANNOTATION) or ""),
        age_seconds=age,
        is_finished=finished,
        is_overdue=isinstance(limit, int) and age > limit + doubt,
        is_going=bool(metadata.get("deletionTimestamp")),
    )


def _seconds(text: object, default: float) -> float:
    """Return a timestamp of the API in seconds of the wall clock."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return default


def _remove(api: ApiLike, leaving: Leaving, force: bool) -> str:
    age = format_duration(max(1, int(leaving.age_seconds)) * NANOSECONDS["s"])
    if leaving.is_going and not leaving.is_finished:
        return (
            f"left {leaving.label}: it was deleted already, and goes when its tracer ends "
            f"(at most {UNHEARD_SECONDS} s after its last reader), or its node is back"
        )
    if not (leaving.is_finished or leaving.is_overdue or force):
        return (
            f"left {leaving.label}: it runs, since {age}; it ends by itself {UNHEARD_SECONDS} s "
            "after its last reader has gone, or now with --force"
        )
    options = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": GRACE_SECONDS,
        "propagationPolicy": "Background",
    }
    path = object_path(leaving.resource, namespace=leaving.namespace, name=leaving.name)
    try:
        api.delete(path, options)
    except ApiError as error:
        if error.status != 404:
            raise
        return f"{leaving.label} was gone already"
    how = "finished" if leaving.is_finished else "overdue" if leaving.is_overdue else "running"
    return f"removed {leaving.label}: {how}, created {age} ago"
