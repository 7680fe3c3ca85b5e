"""From what the user named to what the probes filter by."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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

    def as_fields(self) -> dict[str, Any]:
        """Return the target as the hello line has it."""
        return {
            "id": self.number,
            "type": self.type,
            "name": self.name,
            "cgroup": self.cgroup or None,
            "pid": self.pid or None,
            "namespace": None,
            "pod": None,
        }


@dataclass
class Scope:
    """The targets and how the probes tell that something is theirs."""

    targets: list[Target]
    known: cgroups.Hierarchies
    cgroup_ids: dict[int, int] = field(default_factory=dict)
    levels: tuple[int, ...] = ()
    pids: dict[int, int] = field(default_factory=dict)

    @property
    def packet_cgroups(self) -> tuple[str, ...]:
        """Directories at which every packet of the targets passes."""
        if not self.known.unified:
            return ()
        if self.pids:
            return (self.known.unified,)
        return tuple(target.cgroup for target in self.targets)

    def gone(self) -> list[int]:
        """Ids of target cgroups that no longer exist; kernels use such ids again."""
        missing = []
        for identity, number in self.cgroup_ids.items():
            folder = next(t.cgroup for t in self.targets if t.number == number)
            try:
                if os.stat(folder).st_ino != identity:
                    missing.append(identity)
            except FileNotFoundError:
                missing.append(identity)
        return missing


def cgroup_scope(path: str, name: str, kind: str = "cgroup") -> Scope:
    """Scope of a cgroup and its children; raises TracerError where there is none."""
    known = cgroups.hierarchies()
    return _of_folder(cgroups.resolve(path, known), name, kind, known)


def container_scope(container: str, name: str) -> Scope:
    """Scope of a container by its id; raises TracerError where there is none."""
    known = cgroups.hierarchies()
    folder = cgroups.container_folder(container, known)
    name = name or cgroups.container_of(folder)[: cgroups.SHORTEST_ID]
    return _of_folder(folder, name, "container", known)


def _of_folder(folder: str, name: str, kind: str, known: cgroups.Hierarchies) -> Scope:
    level = cgroups.depth(folder, known)
    target = Target(1, kind, name or os.path.basename(folder), folder)
    return Scope([target], known, {cgroups.cgroup_id(folder): 1}, (level,))


def process_scope(pid: int, name: str, kind: str = "pid") -> Scope:
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
    return Scope([target], cgroups.hierarchies(), pids={member: 1 for member in family(pid)})


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
