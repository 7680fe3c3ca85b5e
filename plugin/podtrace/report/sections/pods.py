"""The traced pods one by one: where each runs, what it did, what went wrong in it."""

from collections.abc import Callable, Sequence

from podtrace.model.snapshot import Snapshot, Target, TargetMember
from podtrace.report.prose import listing, more
from podtrace.report.quantities import count, duration
from podtrace.report.style import Style
from podtrace.report.table import name, number, table

MOST_PODS = 20
"""Rows of a table of pods."""

_TROUBLE: tuple[tuple[str, Callable[[TargetMember], int | None]], ...] = (
    ("failed connects", lambda member: member.connects_failed),
    ("DNS errors", lambda member: member.dns_errors),
    ("resent", lambda member: member.retransmits),
    ("slow files", lambda member: member.slow_file_operations),
    ("restarts", lambda member: member.restarts),
    ("OOM", lambda member: member.oom_kills),
)


def has_pods(target: Target) -> bool:
    """Return whether pods were traced."""
    return bool(target.members) and all(member.pod for member in target.members)


def has_several_pods(target: Target) -> bool:
    """Return whether rows of processes have to say of which pod they are."""
    return len(target.members) > 1 and has_pods(target)


def pod_of(member: TargetMember, target: Target) -> str:
    """Return the pod's name, with its namespace where the pods have several."""
    pod = member.pod or member.name
    return pod if target.namespace or not member.namespace else f"{member.namespace}/{pod}"


def whereabouts(target: Target) -> str | None:
    """Return `node node-a, containers web, sidecar`, or the nodes of several pods."""
    if not has_pods(target):
        return None
    if len(target.members) > 1:
        nodes = ", ".join(target.nodes)
        return f"{len(target.nodes)} nodes: {nodes}" if len(target.nodes) > 1 else f"node {nodes}"
    (member,) = target.members
    parts = [f"node {member.node}"] if member.node else []
    if member.containers:
        noun = "container" if len(member.containers) == 1 else "containers"
        parts.append(f"{noun} {', '.join(member.containers)}")
    return listing(parts) or None


def pods(snapshot: Snapshot, style: Style) -> list[str]:
    """Return a row for each pod, and what went wrong by pod, if there are several."""
    target = snapshot.target
    if not has_several_pods(target):
        return []
    busiest = sorted(target.members, key=lambda member: -member.events)
    rows = [
        (
            pod_of(member, target),
            ", ".join(member.containers),
            member.node or "",
            count(member.events),
            count(member.errors),
            duration(member.cpu_seconds),
        )
        for member in busiest[:MOST_PODS]
    ]
    columns = (
        name("pod"),
        name("containers"),
        name("node"),
        number("events", 6),
        number("errors"),
        number("CPU time", 8),
    )
    lines = ["", *table(columns, rows, style), *more(MOST_PODS, busiest, style)]
    return lines + _trouble(target, style)


def _trouble(target: Target, style: Style) -> list[str]:
    troubled = [
        (member, figures)
        for member in target.members
        if any(figures := [figure(member) for _, figure in _TROUBLE])
    ]
    if not troubled:
        return []
    troubled.sort(key=lambda item: -sum(figure or 0 for figure in item[1]))
    shown = _columns_with_figures([figures for _, figures in troubled])
    rows = [
        (pod_of(member, target), *(count(figures[index]) for index in shown))
        for member, figures in troubled[:MOST_PODS]
    ]
    columns = (name("trouble in pod"), *(number(_TROUBLE[index][0]) for index in shown))
    return ["", *table(columns, rows, style), *more(MOST_PODS, troubled, style)]


def _columns_with_figures(rows: Sequence[Sequence[int | None]]) -> list[int]:
    return [index for index in range(len(_TROUBLE)) if any(row[index] for row in rows)]
