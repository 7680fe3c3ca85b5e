"""The report's section on the target: what was traced, and what each pod of it did."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from podtrace.model.coverage import Coverage
from podtrace.model.fleet import Fleet
from podtrace.model.hello import Line
from podtrace.model.histogram import NS_PER_SECOND
from podtrace.model.ledger import Ledger
from podtrace.model.snapshot import Target, TargetMember
from podtrace.model.targets import FILE_OPERATIONS
from podtrace.model.wording import number

MOST_CONTAINERS = 50
_UNNAMED = re.compile("[0-9a-f]{12}")


def target_section(fleet: Fleet, ledger: Ledger, coverage: Coverage) -> Target:
    """Return the target with a member for each of hello's targets."""
    hello = fleet.hello or {}
    containers = _containers(ledger, fleet.pods)
    members = tuple(
        _member(item, node, ledger, coverage, containers.get(item.get("id") or 0, {}))
        for node, item in fleet.targets
    )
    namespaces = {member.namespace for member in members}
    return Target(
        type=members[0].type if members else None,
        name=", ".join(member.name for member in members) if members else None,
        namespace=namespaces.pop() if len(namespaces) == 1 else None,
        pod=members[0].pod if len(members) == 1 else None,
        nodes=tuple(dict.fromkeys(node for tracer in fleet.members() if (node := tracer.node))),
        kernel=hello.get("kernel"),
        arch=hello.get("arch"),
        cgroup_mode=hello.get("cgroup_mode"),
        cpus=hello.get("cpus"),
        members=members,
    )


def subject(members: Sequence[TargetMember]) -> str | None:
    """Return the pods in words: `shop/web-0` or `3 pods of shop`; None if they are no pods."""
    if not members or not all(member.pod for member in members):
        return None
    first = members[0]
    if len(members) == 1:
        return f"{first.namespace}/{first.pod}" if first.namespace else first.pod
    namespaces = {member.namespace for member in members}
    pods = number(len(members), "pod")
    if len(namespaces) == 1 and first.namespace:
        return f"{pods} of {first.namespace}"
    return f"{pods} of {number(len(namespaces), 'namespace')}"


def _containers(ledger: Ledger, pods: Mapping[int, str]) -> dict[int, dict[str, None]]:
    """Return the names of containers that processes were seen in, by target.

    A container of a pod that nobody named, its sandbox above all, has the start of its id there.
    """
    found: dict[int, dict[str, None]] = {}
    for process in ledger.processes:
        if process.container is not None:
            if process.target in pods and _UNNAMED.fullmatch(process.container):
                continue
            names = found.setdefault(process.target, {})
            if len(names) < MOST_CONTAINERS:
                names[process.container] = None
    return found


def _member(
    item: Line, node: str | None, ledger: Ledger, coverage: Coverage, seen: dict[str, None]
) -> TargetMember:
    sums = ledger.targets.get(item.get("id") or 0)

    def measured(value: int, *metrics: str) -> int | None:
        return value if any(coverage.metric(metric) for metric in metrics) else None

    cpu_ns = measured(sums.total("cpu").durations.sum_ns, "cpu")
    return TargetMember(
        id=item.get("id") or 0,
        type=item.get("type") or "",
        name=item.get("name") or "",
        namespace=item.get("namespace"),
        pod=item.get("pod"),
        node=node,
        containers=tuple({**dict.fromkeys(item.get("containers") or ()), **seen}),
        cgroup=item.get("cgroup"),
        pid=item.get("pid"),
        events=sums.events,
        errors=sums.errors,
        cpu_seconds=None if cpu_ns is None else cpu_ns / NS_PER_SECOND,
        connects_failed=measured(sums.total("connect").failed, "connect"),
        dns_errors=measured(sums.dns_errors, "dns", "dns_timeout"),
        retransmits=measured(sums.total("retransmit").count, "retransmit"),
        slow_file_operations=measured(sums.slow_file_operations, *FILE_OPERATIONS),
        restarts=sums.restarts,
        oom_kills=sums.oom_kills,
    )
