"""What the command line asks for, and the targets that it means."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from podtracer.address import Address
from podtracer.cgroups import Hierarchies
from podtracer.command import Command, Held
from podtracer.node import node_files
from podtracer.own_pod import OwnPod
from podtracer.plan import Thresholds
from podtracer.pod_scope import PodScope
from podtracer.pods import Pod
from podtracer.target import Scope, cgroup_scope, container_scope, process_scope


@dataclass(frozen=True)
class Request:
    """What the command line asks for; exactly one of the five scopes is given."""

    cgroup: str | None = None
    pid: int | None = None
    container: str | None = None
    command: tuple[str, ...] = ()
    pods: tuple[Pod, ...] = ()
    name: str = ""
    seconds: float | None = None
    unheard_seconds: float | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    metrics: Address | None = None
    metrics_processes: int = 100
    parent: int | None = None
    uid: int | None = None
    gid: int | None = None
    path: str | None = None
    held: Held | None = None
    hidden: frozenset[str] = frozenset()
    own: OwnPod = field(default_factory=OwnPod)


def scope_of(request: Request, command: Command | None, known: Hierarchies) -> Scope:
    """Find what is asked for; raises TracerError where there is none.

    `known` are the hierarchies of this process; pods are found in those of the node.
    """
    if request.pods:
        return _pod_scope(request)
    if command is not None:
        name = request.name or command.name
        if command.cgroup:
            return cgroup_scope(command.cgroup, name, known, "command")
        return process_scope(command.pid, name, known, "command")
    if request.cgroup is not None:
        return cgroup_scope(request.cgroup, request.name, known)
    if request.container is not None:
        return container_scope(request.container, request.name, known)
    assert request.pid is not None
    return process_scope(request.pid, request.name, known)


def _pod_scope(request: Request) -> Scope:
    root, known = node_files(hidden=request.hidden)
    return PodScope(request.pods, known, root, time.monotonic_ns())
