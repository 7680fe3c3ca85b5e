"""Questions about quotas and LimitRanges of the tracer's namespace, asked before a trace.

Admission has the last word about one pod; this says how many tracers there is room for, and what is
in the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from http import HTTPStatus
from typing import Any

from podtrace.checkup import FAILED, OK, SKIPPED, Check, check_of
from podtrace.cluster.interface import ApiLike, Object
from podtrace.cluster.paths import object_path
from podtrace.cluster.quantity import quantity
from podtrace.errors import ApiError, ClusterError

QUOTA = "Quota"
LIMIT_RANGE = "LimitRange"

_OTHER_SCOPES = ("BestEffort", "NotTerminating")
"""Scopes that a tracer pod is outside of: it asks for memory, and has a deadline."""
_ELSEWHERE = "use a namespace of your own for the tracer: --tracer-namespace NAMESPACE"


def check_quota(api: ApiLike, namespace: str, pod: Object, tracers: int, with_job: bool) -> Check:
    """Ask how many tracers the quotas of a namespace have room for.

    Args:
        api: the cluster.
        namespace: the tracer pod's.
        pod: the tracer pod, as the server makes it where that is known.
        tracers: how many a trace would start.
        with_job: each has a Job around it.
    """
    quotas = _objects(api, QUOTA, "resourcequotas", namespace)
    if isinstance(quotas, Check):
        return quotas
    if not quotas:
        return Check(QUOTA, OK, f"namespace {namespace} has none")
    wanted = _demand(pod, with_job)
    rooms = {str(each["metadata"]["name"]): _room(each, wanted) for each in quotas}
    known = {name: room for name, room in rooms.items() if room is not None}
    if not known:
        return Check(QUOTA, OK, f"{', '.join(rooms)}: nothing in it concerns the tracer pod")
    name, (room, resource) = min(known.items(), key=lambda item: item[1][0])
    found = f"{name} has room for {room} of {tracers} tracer pods ({resource})"
    if room < tracers:
        fix = f"{_ELSEWHERE}; or ask for less with --patch, trace fewer nodes at once, or have the "
        return Check(QUOTA, FAILED, found, f"{fix}quota raised")
    return Check(QUOTA, OK, f"{name} has room for {room} tracer pods ({resource})")


def check_limit_ranges(api: ApiLike, namespace: str, pod: Object) -> Check:
    """Ask whether a LimitRange of a namespace forbids what the tracer pod asks for."""
    ranges = _objects(api, LIMIT_RANGE, "limitranges", namespace)
    if isinstance(ranges, Check):
        return ranges
    if not ranges:
        return Check(LIMIT_RANGE, OK, f"namespace {namespace} has none")
    broken = [text for each in ranges for text in _broken_bounds(each, pod)]
    if broken:
        return Check(
            LIMIT_RANGE,
            FAILED,
            "; ".join(broken),
            f"{_ELSEWHERE}; or change what the tracer asks for with --patch",
        )
    names = ", ".join(str(each["metadata"]["name"]) for each in ranges)
    return Check(LIMIT_RANGE, OK, f"{names}: the tracer pod fits")


def _objects(api: ApiLike, name: str, resource: str, namespace: str) -> list[Object] | Check:
    try:
        return list(api.items(object_path(resource, namespace=namespace)))
    except ApiError as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return Check(name, SKIPPED, f"you may not list {resource} in namespace {namespace}")
        return check_of(name, error, SKIPPED)
    except ClusterError as error:
        return check_of(name, error, SKIPPED)


def _demand(pod: Object, with_job: bool) -> dict[str, Fraction]:
    """Return what one tracer takes of each resource that a quota may count."""
    one = Fraction(1)
    demand = {"pods": one, "count/pods": one}
    if with_job:
        demand["count/jobs.batch"] = one
    for kind in ("requests", "limits"):
        for resource, amount in _sums(pod, kind).items():
            demand[f"{kind}.{resource}"] = amount
            if kind == "requests":
                demand[resource] = amount
    return demand


def _room(quota: Object, demand: Mapping[str, Fraction]) -> tuple[int, str] | None:
    """Return how many tracers fit, and what bounds them; None where nothing does."""
    spec, status = quota.get("spec") or {}, quota.get("status") or {}
    if spec.get("scopeSelector") or set(spec.get("scopes") or ()) & set(_OTHER_SCOPES):
        return None
    used = status.get("used") or {}
    rooms = []
    for resource, hard in (status.get("hard") or spec.get("hard") or {}).items():
        limit, taken = quantity(hard), quantity(used.get(resource, "0"))
        each = demand.get(resource)
        if limit is not None and taken is not None and each:
            room = max(int((limit - taken) // each), 0)
            rooms.append((room, f"{resource}: {used.get(resource, '0')} of {hard} used"))
    return min(rooms) if rooms else None


def _broken_bounds(limit_range: Object, pod: Object) -> Iterator[str]:
    name = limit_range["metadata"]["name"]
    for limit in (limit_range.get("spec") or {}).get("limits") or ():
        kind = limit.get("type")
        if kind == "Container":
            asked = [_amounts(container) for container in _containers(pod)]
        elif kind == "Pod":
            asked = [{which: _sums(pod, which) for which in ("requests", "limits")}]
        else:
            continue
        for bound, which, breaks in _BOUNDS:
            for resource, text in (limit.get(bound) or {}).items():
                allowed = quantity(text)
                amounts = [each[which][resource] for each in asked if resource in each[which]]
                if allowed is not None and any(breaks(amount, allowed) for amount in amounts):
                    yield f"{name}: {resource} of a {kind} is bounded by {bound} {text}"


_BOUNDS: Sequence[tuple[str, str, Callable[[Fraction, Fraction], bool]]] = (
    ("max", "limits", lambda asked, allowed: asked > allowed),
    ("min", "requests", lambda asked, allowed: asked < allowed),
)


def _containers(pod: Object) -> Iterable[Mapping[str, Any]]:
    return (pod.get("spec") or {}).get("containers") or ()


def _amounts(container: Mapping[str, Any]) -> dict[str, dict[str, Fraction]]:
    resources = container.get("resources") or {}
    return {
        kind: {
            str(resource): amount
            for resource, text in (resources.get(kind) or {}).items()
            if (amount := quantity(text)) is not None
        }
        for kind in ("requests", "limits")
    }


def _sums(pod: Object, kind: str) -> dict[str, Fraction]:
    sums: dict[str, Fraction] = {}
    for container in _containers(pod):
        for resource, amount in _amounts(container)[kind].items():
            sums[resource] = sums.get(resource, Fraction(0)) + amount
    return sums
