"""The node's own file system, as its processes see it.

The tracer has a mount namespace of its own, in which the node's cgroups and the kubelet's links are
not there. With the node's PID namespace they are reached through /proc/PID/root of its first
process; where that one may not be looked into, through the next one that may.
"""

from __future__ import annotations

import os
from dataclasses import replace

from podtracer.cgroups import Hierarchies, hierarchies
from podtracer.errors import TracerError
from podtracer.root_level import root_level

_MOST_TRIED = 100


def node_files(
    proc: str = "/proc", hidden: frozenset[str] = frozenset()
) -> tuple[str, Hierarchies]:
    """Return the folder that is the node's root, and the hierarchies that are mounted in it.

    Raises TracerError where none can be seen, or where there is none to tell cgroups apart in.
    """
    pids = sorted(int(entry) for entry in os.listdir(proc) if entry.isdigit())
    without = False
    if os.getpid() != 1:
        # What we and the child that compiles see of ourselves is our container's.
        pids = [pid for pid in pids if os.getpid() not in (pid, _parent(f"{proc}/{pid}/stat"))]
    for pid in pids[:_MOST_TRIED]:
        root = f"{proc}/{pid}/root"
        try:
            known = hierarchies(f"{proc}/{pid}/mountinfo", root, hidden)
            os.listdir(root)
        except OSError:
            continue
        if known.top:
            return root, replace(known, level=root_level(known.top, known.subsystem))
        without = True
    if without:
        raise TracerError(
            "no_cgroups",
            "this machine has no cgroups mounted, of version 2 or with a controller",
            "Is it one that runs containers?",
        )
    raise TracerError(
        "no_node_root",
        "the tracer may not look into any process of this machine, so it does not see its cgroups",
        "It needs the capability SYS_PTRACE, and hostPID: use the privileged profile.",
    )


def _parent(stat: str) -> int:
    """Return the parent of a process, or 0 when it is gone."""
    try:
        with open(stat, encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0
