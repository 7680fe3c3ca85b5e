"""Where a node keeps the cgroups of its pods.

The kubelet makes a directory for each pod, named after its uid: `pod<uid>` with the cgroupfs
driver, `kubepods-burstable-pod<uid>.slice` with systemd's, whose unit names have no room for
dashes. It lies in `kubepods` or below it, by the pod's quality of service; `kubepods` itself lies
wherever the kubelet's cgroup root is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

_BASE = "kubepods"
_SLICE = ".slice"
_CLASSES = ("", "burstable", "besteffort")
_DEEPEST = 16


def is_pod_folder(name: str, uid: str) -> bool:
    """Whether a directory of this name is that of the pod."""
    return name == f"pod{uid}" or name.endswith(f"-pod{_in_unit(uid)}{_SLICE}")


class PodTree:
    """Finds the directories of pods in a hierarchy, by its mount point."""

    def __init__(self, top: str) -> None:
        self._top = top
        usual = (os.path.join(top, name) for name in (_BASE, _BASE + _SLICE))
        self._bases = [folder for folder in usual if os.path.isdir(folder)]
        self._found: dict[str, str] = {}

    @property
    def bases(self) -> list[str]:
        """Directories of the kubelets that are known so far."""
        return list(self._bases)

    @property
    def parents(self) -> list[str]:
        """Directories in which the kubelets make those of pods."""
        places = (place for base in self._bases for place in _places(base, ""))
        parents = {os.path.dirname(place) for place in places}
        return [folder for folder in parents if os.path.isdir(folder)]

    def find(self, uid: str) -> str | None:
        """Look for a pod's directory where the kubelet would put it."""
        if uid in self._found and os.path.isdir(self._found[uid]):
            return self._found[uid]
        for base in self._bases:
            for folder in _places(base, uid):
                if os.path.isdir(folder):
                    self._found[uid] = folder
                    return folder
        return None

    def search(self, uids: Iterable[str]) -> None:
        """Look for pods everywhere, so that `find` knows them, and for other kubelets' places."""
        wanted = set(uids)
        for folder, name in _walk(self._top, _DEEPEST):
            if name in (_BASE, _BASE + _SLICE) or name.endswith(f"-{_BASE}{_SLICE}"):
                if folder not in self._bases:
                    self._bases.append(folder)
            elif "pod" in name:
                for uid in wanted:
                    if is_pod_folder(name, uid):
                        self._found[uid] = folder


def _in_unit(uid: str) -> str:
    return uid.replace("-", "_")


def _places(base: str, uid: str) -> Iterator[str]:
    name = os.path.basename(base)
    if not name.endswith(_SLICE):
        for quality in _CLASSES:
            yield os.path.join(base, quality, f"pod{uid}")
        return
    prefix = name[: -len(_SLICE)]
    for quality in _CLASSES:
        unit = f"{prefix}-{quality}" if quality else prefix
        parent = os.path.join(base, unit + _SLICE) if quality else base
        yield os.path.join(parent, f"{unit}-pod{_in_unit(uid)}{_SLICE}")


def _walk(folder: str, depth: int) -> Iterator[tuple[str, str]]:
    """Yield every directory below a folder with its name."""
    try:
        with os.scandir(folder) as entries:
            inner = [
                (entry.path, entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return
    for path, name in inner:
        yield path, name
        if depth:
            yield from _walk(path, depth - 1)
