"""The cgroups of a cluster: one directory in every hierarchy that this machine has mounted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

_REMOVE_SECONDS = 60.0


def hierarchies() -> list[Path]:
    """Return where cgroup hierarchies are mounted; one each, bind mounts left out."""
    found: dict[tuple[str, str], Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        kind = rest.split()[0]
        number, root, point = fields.split()[2:5]
        if kind in ("cgroup", "cgroup2") and root == "/":
            found.setdefault((kind, number), Path(point))
    return list(found.values())


def create(path: str) -> None:
    """Make a directory in every hierarchy, such that processes may enter it."""
    for hierarchy in hierarchies():
        directory = hierarchy
        for part in path.strip("/").split("/"):
            parent, directory = directory, directory / part
            directory.mkdir(exist_ok=True)
            # A new cpuset of v1 has neither processors nor memory.
            for name in ("cpuset.cpus", "cpuset.mems"):
                value = directory / name
                if value.exists() and (parent / "cgroup.clone_children").exists():
                    value.write_text((parent / name).read_text())


def processes(path: str) -> Iterator[int]:
    """Return the processes in a directory of any hierarchy and below."""
    for hierarchy in hierarchies():
        top = hierarchy / path.strip("/")
        for file in list(top.rglob("cgroup.procs")):
            try:
                lines = file.read_text().split()
            except OSError:
                continue
            yield from map(int, lines)


def remove(path: str) -> None:
    """Remove a directory with all below it from every hierarchy; its processes have ended."""
    deadline = time.monotonic() + _REMOVE_SECONDS
    for hierarchy in hierarchies():
        top = hierarchy / path.strip("/")
        while top.exists():
            below = [entry for entry in top.rglob("*") if entry.is_dir()]
            for directory in [*sorted(below, key=lambda entry: -len(entry.parts)), top]:
                try:
                    directory.rmdir()
                except FileNotFoundError:
                    continue
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)
