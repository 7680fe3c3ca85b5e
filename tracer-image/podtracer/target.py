"""From what the user named to what the probes filter by."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

from podtracer import cgroups
from podtracer.errors import TracerError


@dataclass(frozen=True)
class Target:
    """One thing that is traced; `cgroup` is its directory, "" where it is a set of processes."""

    number: int
    type: str
    name: str
    cgroup: str = ""
    pid: int = 0
    namespace: str | None = None
    pod: str | None = None
    containers: tuple[str, ...] | None = None

    def as_fields(self) -> dict[str, Any]:
        """Return the target as the hello line has it."""
        fields: dict[str, Any] = {
            "id": self.number,
            "type": self.type,
            "name": self.name,
            "cgroup": self.cgroup or None,
            "pid": self.pid or None,
            "namespace": self.namespace,
            "pod": self.pod,
        }
        if self.containers is not None:
            fields["containers"] = list(self.containers)
        return fields


@dataclass
class Changes:
    """What became of the targets since the last look.

    `added` maps ids of cgroups that belong to a target now to their directories, `removed` are ids
    that no longer do, `events` the fields of event lines, `named` ids of containers whose name is
    known from now on.
    """

    added: dict[int, str] = field(default_factory=dict)
    removed: list[int] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    named: set[str] = field(default_factory=set)


@dataclass
class Scope:
    """The targets and how the probes tell that something is theirs."""

    targets: list[Target]
    known: cgroups.Hierarchies
    cgroup_ids: dict[int, int] = field(default_factory=dict)
    levels: tuple[int, ...] = ()
    pids: dict[int, int] = field(default_factory=dict)
    exit_code_of: Callable[[int], int | None] = lambda cgroup: None

    @property
    def packet_cgroups(self) -> tuple[str, ...]:
        """Directories at which every packet of the targets passes."""
        if not self.known.unified:
            return ()
        if self.pids:
            return (self.known.unified,)
        return tuple(target.cgroup for target in self.targets)

    @property
    def moving(self) -> bool:
        """Whether directories come and go; else they are there from the start or never."""
        return False

    @property
    def container_names(self) -> Mapping[str, str]:
        """Names of containers by id, as far as the targets tell them."""
        return {}

    def container_at(self, cgroup: int) -> str | None:
        """Id of the container that has or had this cgroup, None where the scope notes none."""
        return None

    def folders(self, number: int) -> list[str]:
        """Directories of a target."""
        return [target.cgroup for target in self.targets if target.number == number]

    def gone(self) -> list[int]:
        """Ids of target cgroups that no longer exist; kernels use such ids again."""
        missing = []
        for identity, number in self.cgroup_ids.items():
            if _inode(self.folders(number)[0]) != identity:
                missing.append(identity)
        return missing

    def changes(self, now_ns: int) -> Changes:
        """Look again what there is of the targets, in monotonic nanoseconds."""
        changed = Changes(removed=self.gone())
        for identity in changed.removed:
            changed.events.append(gone_event(self.cgroup_ids.pop(identity)))
        return changed

    def first_changes(self) -> Changes:
        """What the probes were not told when they were loaded."""
        return Changes()

    def arrivals(self) -> list[str]:
        """Directories in which more of the targets may appear."""
        return []

    def is_over(self, now_ns: int) -> bool:
        """Whether nothing of the targets will come any more; not told of a set of processes."""
        return not self.pids and not self.cgroup_ids


def _inode(folder: str) -> int:
    """Inode number of a directory, 0 where there is none."""
    try:
        return os.stat(folder).st_ino
    except FileNotFoundError:
        return 0


def gone_event(number: int) -> dict[str, Any]:
    """Return the fields of the event that says that a target is gone."""
    return {"event": "target_gone", "process": 0, "target": number}


def cgroup_scope(path: str, name: str, known: cgroups.Hierarchies, kind: str = "cgroup") -> Scope:
    """Scope of a cgroup and its children; raises TracerError where there is none."""
    folder, chosen = cgroups.resolve(path, known)
    return _of_folder(folder, name, kind, chosen)


def container_scope(container: str, name: str, known: cgroups.Hierarchies) -> Scope:
    """Scope of a container by its id; raises TracerError where there is none."""
    folder = cgroups.container_folder(container, known)
    name = name or cgroups.container_of(folder)[: cgroups.SHORTEST_ID]
    return _of_folder(folder, name, "container", known)


def _of_folder(folder: str, name: str, kind: str, known: cgroups.Hierarchies) -> Scope:
    level = cgroups.depth(folder, known)
    target = Target(1, kind, name or os.path.basename(folder), folder)
    return Scope([target], known, {cgroups.cgroup_id(folder): 1}, (level,))


def process_scope(pid: int, name: str, known: cgroups.Hierarchies, kind: str = "pid") -> Scope:
    """Scope of a process and its descendants; raises TracerError where there is no such process."""
    if pid <= 0:
        raise TracerError("no_process", f"{pid} is not a process id", "Give a PID as ps shows it.")
    status = _status(pid)
    if status is None or status["State"].startswith(("Z", "X")):
        raise TracerError(
            "no_process",
            f"there is no process {pid}",
            "List processes with: ps -e; inside a container PIDs differ from the host's.",
        )
    leader = int(status["Tgid"])
    if leader != pid:
        raise TracerError(
            "no_process",
            f"{pid} is a thread of process {leader}",
            f"Trace the process: --pid {leader}",
        )
    target = Target(1, kind, name or status["Name"], pid=pid)
    return Scope([target], known, pids={member: 1 for member in family(pid)})


def family(pid: int) -> set[int]:
    """Return a process and all its descendants that exist now."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            parent = _parent(int(entry))
            if parent is not None:
                children[parent].append(int(entry))
    members = {pid}
    waiting = [pid]
    while waiting:
        found = [child for child in children[waiting.pop()] if child not in members]
        members.update(found)
        waiting += found
    return members


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name in parentheses may hold anything, parentheses too.
    return int(stat.rpartition(b")")[2].split()[1])


def _status(pid: int) -> dict[str, str] | None:
    try:
        text = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return None
    pairs = (line.partition(":") for line in text.splitlines())
    return {key: value.strip() for key, _, value in pairs}


def alive(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    status = _status(pid)
    return status is not None and not status["State"].startswith(("Z", "X"))
