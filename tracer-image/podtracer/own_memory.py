"""The file that tells what the kernel charges the tracer's own container with."""

from __future__ import annotations

import os
from pathlib import Path

_V2_FILE, _V1_FILE = "memory.current", "memory.usage_in_bytes"
_ONLY_IN_A_ROOT = "release_agent"


def own_memory_file(process: str = "/proc/self") -> str | None:
    """Path of the memory file of the cgroup that this process is in, None where there is none.

    A container sees its own cgroup as the root of the hierarchy, or the node's hierarchies whole,
    or with its own cgroup as all there is of them: so the path that the process is told
    (cgroups(7), /proc/PID/cgroup) is taken relative to what the mount begins with.
    """
    paths = {}
    for line in Path(process, "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        paths[controllers] = path
    mounts = _mounts(process)
    memory = next((path for names, path in paths.items() if "memory" in names.split(",")), None)
    candidates = []
    if memory is not None:
        candidates = [(mounts.get("memory"), memory, _V1_FILE)]
    elif "" in paths:
        candidates = [(mounts.get(""), paths[""], _V2_FILE)]
    for mount, path, name in candidates:
        if mount is None:
            continue
        root, point = mount
        inside = os.path.relpath(path, root)
        folder = point if inside.startswith("..") else os.path.normpath(os.path.join(point, inside))
        file = os.path.join(folder, name)
        if os.path.exists(file) and not os.path.exists(os.path.join(folder, _ONLY_IN_A_ROOT)):
            return file
    return None


def _mounts(process: str) -> dict[str, tuple[str, str]]:
    """Return root and mount point of the memory hierarchy of version 1 and, as "", version 2."""
    found: dict[str, tuple[str, str]] = {}
    for line in Path(process, "mountinfo").read_text(errors="replace").splitlines():
        fields, _, source = line.partition(" - ")
        kind, _, options = source.split(" ", 2)
        root, point = fields.split(" ")[3:5]
        if kind == "cgroup2":
            found.setdefault("", (root, point))
        elif kind == "cgroup" and "memory" in options.split(" ")[-1].split(","):
            found.setdefault("memory", (root, point))
    return found
