"""Questions about what the user may do, asked before a trace, and what is lost without.

A tracer needs a Job, which removes it whatever happens to this program, or a pod of its own; either
is enough. All other rights make a trace better.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from podtrace.checkup import FAILED, OK, WARNING, Check, check_of
from podtrace.cluster.interface import ApiLike
from podtrace.cluster.rights import (
    Right,
    allowed_rights,
    job_rights,
    metrics_rights,
    role_text,
    run_rights,
)
from podtrace.cluster.target import Selection
from podtrace.cluster.workloads import parse_word
from podtrace.errors import ClusterError, UsageError

TRACER = "Rights: tracer"
TARGETS = "Rights: traced pods"
_USER = "USER"


@dataclass(frozen=True)
class Convenience:
    """Rights that a trace can do without, and what is lost then."""

    name: str
    rights: tuple[Right, ...]
    lost: str


def conveniences(namespace: str, tracer_namespace: str) -> list[Convenience]:
    """Return what better traces need, with the tracer pod in a namespace of its own or not."""
    return [
        Convenience(
            "Rights: Jobs",
            tuple(job_rights(namespace, tracer_namespace)),
            "a bare pod does a Job's work, and a finished one may stay if this program is killed "
            "in the wrong moment",
        ),
        Convenience(
            "Rights: events",
            (Right("list", "events", tracer_namespace),),
            "some reasons why a tracer does not start stand in events only",
        ),
        Convenience(
            "Rights: nodes",
            (Right("get", "nodes", None),),
            "that a node cannot be traced shows only when the tracer does not start",
        ),
        Convenience(
            "Rights: names",
            (Right("list", "services", namespace), Right("list", "pods", namespace)),
            "connections show addresses without the Services and pods behind them",
        ),
        Convenience(
            "Rights: metrics",
            tuple(metrics_rights(namespace, tracer_namespace)),
            "--metrics cannot bring the metrics to this machine",
        ),
    ]


def check_rights(
    api: ApiLike, selection: Selection, tracer_namespace: str, user: str | None
) -> list[Check]:
    """Ask for every right that a trace uses.

    Args:
        api: the cluster.
        selection: the pods that are meant.
        tracer_namespace: the tracer pod's.
        user: the name that the cluster knows the user by; None where it does not tell.
    """
    namespace = selection.namespace or api.namespace
    needed, tracer = _target_rights(selection, namespace), run_rights(tracer_namespace)
    by_job = [right for right in tracer if right.verb == "get"]
    by_job += job_rights(namespace, tracer_namespace)
    better = conveniences(namespace, tracer_namespace)
    asked = {*needed, *tracer, *by_job, *(right for each in better for right in each.rights)}
    try:
        allowed = allowed_rights(api, sorted(asked, key=str))
    except ClusterError as error:
        return [check_of("Rights", error)]
    missing = _missing(tracer, allowed)
    is_by_job = bool(missing) and not _missing(by_job, allowed)
    role = role_text(
        namespace,
        tracer_namespace=tracer_namespace,
        user=user or _USER,
        with_choice=any(right.verb == "list" for right in needed),
    )
    checks = [
        _check_needed(TARGETS, _missing(needed, allowed), "you may look at the pods", role),
        _check_needed(
            TRACER,
            () if is_by_job else missing,
            f"you may run tracers in namespace {tracer_namespace}"
            + (", as Jobs only" if is_by_job else ""),
            # One Role is for both; it is not printed twice.
            role if not _missing(needed, allowed) else None,
        ),
    ]
    return [*checks, *(_check_convenience(each, allowed) for each in better)]


def _check_needed(name: str, missing: Collection[Right], fine: str, role: str | None) -> Check:
    if not missing:
        return Check(name, OK, fine)
    if role is None:
        fix = f"the Role above, under {TARGETS}, allows this too"
    else:
        lines = [f"  {line}" for line in role.splitlines()]
        fix = "\n".join(
            ["give this to whoever manages the cluster, for: kubectl apply -f FILE", *lines]
        )
    return Check(name, FAILED, f"you may not {_listed(missing)}", fix)


def _check_convenience(convenience: Convenience, allowed: Mapping[Right, bool]) -> Check:
    missing = _missing(convenience.rights, allowed)
    if not missing:
        return Check(convenience.name, OK, f"you may {_listed(convenience.rights)}")
    found = f"you may not {_listed(missing)}: {convenience.lost}"
    return Check(convenience.name, WARNING, found, f"ask for the right to {_listed(missing)}")


def _target_rights(selection: Selection, namespace: str) -> list[Right]:
    """Return what it takes to find the pods, by the way in which they are named."""
    get_pods, list_pods = Right("get", "pods", namespace), Right("list", "pods", namespace)
    if not selection.words:
        return [get_pods, list_pods]
    rights = {get_pods: None}
    for word in selection.words:
        try:
            resource = parse_word(word).resource
        except UsageError:
            continue
        if resource != "pods":
            rights |= {Right("get", resource, namespace): None, list_pods: None}
    return list(rights)


def _missing(rights: Iterable[Right], allowed: Mapping[Right, bool]) -> list[Right]:
    return [right for right in rights if not allowed[right]]


def _listed(rights: Iterable[Right]) -> str:
    """Return rights as in `create, get jobs; list pods in namespace shop`."""
    places: dict[str | None, dict[str, list[str]]] = {}
    for right in rights:
        verbs = places.setdefault(right.namespace, {}).setdefault(right.resource, [])
        verbs.append(right.verb)
    return "; ".join(
        "; ".join(f"{', '.join(verbs)} {resource}" for resource, verbs in resources.items())
        + (f" in namespace {place}" if place else " in the whole cluster")
        for place, resources in places.items()
    )
