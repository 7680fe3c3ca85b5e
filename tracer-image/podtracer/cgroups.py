"""The machine's cgroup hierarchies: where they are mounted and who is in them.

Inside a tracer pod the node's hierarchies are those of its first process, seen through
/proc/1/root; /proc/PID/cgroup is relative to a cgroup namespace and is used for the CPU controller
of version 1 only.

Cgroups are told apart in one hierarchy: that of version 2 or, where none is mounted, that of one
controller of version 1. Ids of cgroups mean something else in every hierarchy.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from podtracer.errors import TracerError

_CONTAINER_NAME = re.compile(
    r"^(?:(?:cri-containerd|crio|docker|libpod)-)?([0-9a-f]{64})(?:\.scope)?$"
)
SHORTEST_ID = 12
CGROUP2 = "cgroup2"
CONTROLLERS = (
    "memory", "pids", "cpu", "cpuacct", "devices", "freezer", "blkio", "perf_event", "net_cls",
    "net_prio", "hugetlb", "cpuset", "rdma", "misc",
)  # fmt: skip
"""Of version 1; first those that every runtime uses for every container."""
_KERNEL_NAMES = {"blkio": "io"}


@dataclass(frozen=True)
class Hierarchies:
    """Mount points: of version 2, "" where there is none, and of version 1 by controller.

    `level` is how deep below the kernel's root the one begins in which cgroups are told apart.
    `chosen` is the controller whose hierarchy that is, if it is of version 1 and not the usual one.
    """

    unified: str
    controllers: dict[str, str]
    level: int = 0
    chosen: str = ""

    @property
    def controller(self) -> str:
        """Controller in whose hierarchy cgroups are told apart, "" where it is of version 2."""
        if self.unified:
            return ""
        usual = (name for name in CONTROLLERS if name in self.controllers)
        return self.chosen or next(usual, "")

    @property
    def subsystem(self) -> str:
        """The same controller as the kernel's enum cgroup_subsys_id names it."""
        name = self.controller
        return f"{_KERNEL_NAMES.get(name, name)}_cgrp_id" if name else ""

    @property
    def top(self) -> str:
        """Mount point of the hierarchy in which cgroups are told apart, "" where there is none."""
        return self.unified or self.controllers.get(self.controller, "")

    def choosing(self, controller: str) -> Hierarchies:
        """Return the same with another hierarchy of version 1 to tell cgroups apart in."""
        known = controller in CONTROLLERS and controller in self.controllers
        return replace(self, chosen=controller) if known and not self.unified else self

    @property
    def mode(self) -> str:
        """v1, v2 or hybrid, as the stream's hello says it."""
        if not self.unified:
            return "v1"
        return "hybrid" if self.controllers else "v2"


def hierarchies(
    mountinfo: str = "/proc/self/mountinfo", root: str = "", hidden: frozenset[str] = frozenset()
) -> Hierarchies:
    """Read where cgroups are mounted (proc(5), mountinfo); `root` goes before every path.

    With `cgroup2` among what is `hidden`, version 2 counts as not mounted.
    """
    unified = ""
    controllers: dict[str, str] = {}
    # Only the newline is escaped in paths, not what else Python takes for the end of a line.
    for line in os.fsdecode(Path(mountinfo).read_bytes()).split("\n")[:-1]:
        fields, _, source = line.partition(" - ")
        kind, _, options = source.split(" ", 2)
        path = root + re.sub(
            r"\\(\d{3})", lambda match: chr(int(match[1], 8)), fields.split(" ")[4]
        )
        if kind == CGROUP2:
            unified = unified or ("" if CGROUP2 in hidden else path)
        elif kind == "cgroup":
            for option in options.split(" ")[-1].split(","):
                controllers.setdefault(option, path)
    return Hierarchies(unified, controllers)


def resolve(path: str, known: Hierarchies) -> tuple[str, Hierarchies]:
    """Return the directory that a user means by `path`, and `known` with its hierarchy chosen.

    It may be the directory itself, the same cgroup in another hierarchy, or a path below the root.
    Raises TracerError when there is no such cgroup, or when it is a root.
    """
    _require(known)
    given = os.path.realpath(path) if os.path.isabs(path) else path
    inside = _below(given, known.unified) if known.unified else None
    meant = known
    if inside is None:
        for controller, root in known.controllers.items():
            inside = _below(given, root)
            if inside is not None:
                meant = known.choosing(controller)
                break
    if inside is None:
        inside = os.path.normpath("/" + path).strip("/")
    usual = (known, *(known.choosing(controller) for controller in CONTROLLERS))
    for each in (meant, *usual):
        folder = os.path.join(each.top, inside) if inside else each.top
        if os.path.isfile(os.path.join(folder, "cgroup.procs")):
            break
    else:
        raise _missing(path, given, known)
    if not inside:
        raise TracerError(
            "root_cgroup",
            f"{path!r} is a root cgroup: it holds {_count_processes(folder)} processes, all that"
            " are in no other",
            "Name a cgroup below it, or one process: --pid PID",
        )
    return folder, each


def _missing(path: str, given: str, known: Hierarchies) -> TracerError:
    roots = known.controllers.values() if known.unified else ()
    in_version_1 = any(_below(given, root) is not None for root in roots)
    if in_version_1 and os.path.isfile(os.path.join(given, "cgroup.procs")):
        return TracerError(
            "no_cgroup",
            f"{path!r} is a cgroup of version 1, and cgroups are told apart in the hierarchy of"
            f" version 2 here, {known.unified}",
            "Name the cgroup there, as in the line 0:: of /proc/PID/cgroup of its processes, or"
            " trace one process: --pid PID",
        )
    return TracerError(
        "no_cgroup",
        f"there is no cgroup {path!r}",
        f"List cgroups with: find {known.top} -type d",
    )


def _require(known: Hierarchies) -> None:
    if not known.top:
        raise TracerError(
            "no_cgroups",
            "no cgroups are mounted on this machine, of version 2 or with a controller",
            "Trace a process and its descendants instead: --pid PID",
        )


def _below(path: str, root: str) -> str | None:
    if path == root:
        return ""
    return path[len(root) + 1 :] if path.startswith(root + "/") else None


def _count_processes(folder: str) -> int:
    return len(Path(folder, "cgroup.procs").read_text().split())


def container_folder(container: str, known: Hierarchies) -> str:
    """Find the cgroup of a container by its id, or by the first 12 or more characters of it.

    Raises TracerError when none or several match.
    """
    wanted = container.rpartition("://")[2].lower()
    if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST_ID},64}}", wanted):
        raise TracerError(
            "bad_container",
            f"{container!r} is not a container id",
            "Give the id, or at least its first 12 characters, as crictl ps or docker ps shows it.",
        )
    _require(known)
    found = sorted(
        folder
        for folder, _, _ in os.walk(known.top)
        if (match := _CONTAINER_NAME.match(os.path.basename(folder)))
        and match[1].startswith(wanted)
    )
    if not found:
        raise TracerError(
            "no_container",
            f"no container {container!r} runs on this machine",
            "List the running ones with crictl ps or docker ps.",
        )
    outermost = [f for f in found if not any(f.startswith(o + "/") for o in found)]
    if len(outermost) > 1:
        raise TracerError(
            "ambiguous_container",
            f"{len(outermost)} containers begin with {container!r}",
            "Give more characters of the id.",
        )
    return outermost[0]


def container_of(folder: str) -> str:
    """Id of the innermost container that a cgroup path is in, "" where it is in none."""
    for part in reversed(folder.split("/")):
        match = _CONTAINER_NAME.match(part)
        if match:
            return match[1]
    return ""


def depth(folder: str, known: Hierarchies) -> int:
    """Level of a cgroup: 1 is a child of the kernel's root."""
    return known.level + len(Path(folder).relative_to(known.top).parts)


def cgroup_id(folder: str) -> int:
    """The kernel's id of a cgroup: the inode number of its directory."""
    return os.stat(folder).st_ino


def processes(folder: str) -> Iterator[int]:
    """Yield the PIDs in a cgroup and below it."""
    for path, _, _ in os.walk(folder):
        try:
            text = Path(path, "cgroup.procs").read_text()
        except OSError:
            continue
        yield from map(int, text.split())
