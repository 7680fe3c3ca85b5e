"""Pods as targets: their directories come and go, and so do the containers in them.

A pod is traced at its own directory, which covers whatever starts in it; when only some of its
containers are wanted, at theirs. The directory may not be there yet, or vanish and come back.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from podtracer import cgroups
from podtracer.containers import LOG_LINKS, log_links
from podtracer.errors import TracerError
from podtracer.plan import MOST_LEVELS
from podtracer.pod_tree import PodTree
from podtracer.pods import Pod
from podtracer.target import Changes, Scope, Target, gone_event

SECOND_NS = 1_000_000_000
MISSED_NS = 10 * SECOND_NS
"""How long a pod may be nowhere before it counts as gone, or as never there."""
_SEARCH_NS = 5 * SECOND_NS
_NAMED_NS = 30 * SECOND_NS
_QUALITY_LEVELS = (1, 2)
_V1_CONTROLLERS = ("cpu", "memory", "pids")


@dataclass
class _Container:
    folder: str
    cgroup: int
    seen_ns: int


@dataclass
class _Watched:
    """What is known of a pod now; `latest` is the newest container id of each name."""

    pod: Pod
    folder: str = ""
    cgroup: int = 0
    had_v1: bool = False
    containers: dict[str, _Container] = field(default_factory=dict)
    latest: dict[str, str] = field(default_factory=dict)
    judged: set[str] = field(default_factory=set)


class PodScope(Scope):
    """The scope of pods; `changes` says what to add to the probes' table and what to take out.

    `root` is the folder in which the node's files are seen.
    """

    def __init__(
        self, pods: Sequence[Pod], known: cgroups.Hierarchies, root: str, now_ns: int
    ) -> None:
        self._pods = [
            _Watched(pod, latest={name: identity for identity, name in pod.containers.items()})
            for pod in pods
        ]
        self._names = {key: name for pod in pods for key, name in pod.containers.items()}
        self._root = root
        self._tree = PodTree(known.unified)
        self._searched_ns = -_SEARCH_NS
        self._there_ns = now_ns
        self._ever = False
        super().__init__([], known)
        self._first = self.changes(now_ns)
        self.levels = self._levels()
        self.targets = [self._target(watched) for watched in self._pods]

    @property
    def packet_cgroups(self) -> tuple[str, ...]:
        """None to begin with: they are attached to as they come."""
        return ()

    @property
    def moving(self) -> bool:
        """Directories come and go."""
        return True

    @property
    def container_names(self) -> Mapping[str, str]:
        """Names of containers by id."""
        return self._names

    def folders(self, number: int) -> list[str]:
        """Directories of a target."""
        watched = next(watched for watched in self._pods if watched.pod.number == number)
        return list(self._wanted(watched).values())

    def changes(self, now_ns: int) -> Changes:
        """Look at every pod's directory and at the containers in it.

        Raises TracerError when no pod could be found for ten seconds, or where one cannot be told.
        """
        changed = Changes()
        self._search(now_ns)
        for watched in self._pods:
            self._look(watched, now_ns, changed)
        self._update_names(now_ns, changed)
        wanted = {
            cgroup: (watched.pod.number, folder)
            for watched in self._pods
            for cgroup, folder in self._wanted(watched).items()
        }
        for cgroup in [known for known in self.cgroup_ids if known not in wanted]:
            del self.cgroup_ids[cgroup]
            changed.removed.append(cgroup)
        for cgroup, (number, folder) in wanted.items():
            if cgroup not in self.cgroup_ids:
                self._check_level(folder)
                self.cgroup_ids[cgroup] = number
                changed.added[cgroup] = folder
        if any(watched.folder for watched in self._pods):
            self._there_ns = now_ns
            self._ever = True
        elif not self._ever and now_ns - self._there_ns > MISSED_NS:
            raise self._not_found()
        return changed

    def is_over(self, now_ns: int) -> bool:
        """Whether every pod has been gone for ten seconds."""
        return now_ns - self._there_ns > MISSED_NS

    def _search(self, now_ns: int) -> None:
        missing = [watched.pod.uid for watched in self._pods if not watched.folder]
        if now_ns - self._searched_ns >= _SEARCH_NS and not all(map(self._tree.find, missing)):
            self._searched_ns = now_ns
            self._tree.search(missing)

    def _look(self, watched: _Watched, now_ns: int, changed: Changes) -> None:
        folder = self._tree.find(watched.pod.uid) or ""
        cgroup = _identity(folder) if folder and self._is_in_use(watched, folder) else 0
        if watched.folder and not cgroup:
            watched.folder, watched.cgroup = "", 0
            watched.containers.clear()
            changed.events.append(gone_event(watched.pod.number))
        if cgroup:
            watched.folder, watched.cgroup = folder, cgroup
            found = _containers(folder)
            for identity in watched.containers.keys() - found.keys():
                if watched.latest.get(self._names.get(identity, "")) != identity:
                    del watched.containers[identity]
            for identity, (path, number) in found.items():
                known = watched.containers.get(identity)
                if known is None or known.cgroup != number:
                    watched.containers[identity] = _Container(path, number, now_ns)

    def _is_in_use(self, watched: _Watched, folder: str) -> bool:
        """Whether a directory is more than what a kubelet leaves behind.

        One that manages version 1 knows nothing of what a runtime made for it in version 2.
        """
        known = self.known
        inside = folder[len(known.unified) :]
        roots = (known.controllers.get(name) for name in _V1_CONTROLLERS)
        there = any(os.path.isdir(root + inside) for root in roots if root)
        watched.had_v1 |= there
        return there or not watched.had_v1 or _is_populated(folder)

    def _wanted(self, watched: _Watched) -> dict[int, str]:
        """Cgroups to trace of a pod, by id."""
        if not watched.folder:
            return {}
        if not watched.pod.only:
            return {watched.cgroup: watched.folder}
        return {
            container.cgroup: container.folder
            for identity, container in watched.containers.items()
            if watched.pod.wants(self._names.get(identity)) and os.path.isdir(container.folder)
        }

    def _update_names(self, now_ns: int, changed: Changes) -> None:
        """Name the containers that have none yet, and tell those that came in another's place."""
        nameless = {
            identity
            for watched in self._pods
            for identity, container in watched.containers.items()
            # What has none after so long is the one that holds the pod's namespaces.
            if identity not in self._names and now_ns - container.seen_ns < _NAMED_NS
        }
        if nameless:
            links = log_links(self._root + LOG_LINKS)
            changed.named = nameless & links.keys()
            self._names.update({identity: links[identity] for identity in changed.named})
        for watched in self._pods:
            for identity in list(watched.containers):
                name = self._names.get(identity)
                if name is not None and identity not in watched.judged:
                    watched.judged.add(identity)
                    self._judge(watched, name, identity, changed)

    def _judge(self, watched: _Watched, name: str, identity: str, changed: Changes) -> None:
        """Find out whether a container came in another's place."""
        before = watched.latest.get(name, identity)
        old = watched.containers.get(before)
        # Cgroup ids only grow: what a runtime has left of an earlier one is no news.
        if old is not None and old.cgroup > watched.containers[identity].cgroup:
            return
        watched.latest[name] = identity
        if before == identity or not watched.pod.wants(name):
            return
        code = self.exit_code_of(old.cgroup) if old is not None else None
        ended = "" if code is None else f", which ended with exit code {code}"
        shortest = cgroups.SHORTEST_ID
        changed.events.append(
            {
                "event": "container_restart",
                "process": 0,
                "target": watched.pod.number,
                "name": name,
                "detail": f"{identity[:shortest]} in place of {before[:shortest]}{ended}",
            }
        )

    def first_changes(self) -> Changes:
        """What was there from the start."""
        return self._first

    def _target(self, watched: _Watched) -> Target:
        names = [self._names.get(identity) for identity in watched.containers]
        return Target(
            number=watched.pod.number,
            type="pod",
            name=watched.pod.name,
            cgroup=watched.folder[len(self._root) :],
            namespace=watched.pod.namespace,
            pod=watched.pod.name,
            containers=tuple(sorted(n for n in names if n is not None and watched.pod.wants(n))),
        )

    def _levels(self) -> tuple[int, ...]:
        """Levels at which targets lie or may appear; the former come first where room is short."""
        deeper = {bool(watched.pod.only) for watched in self._pods}
        found = {
            cgroups.depth(w.folder, self.known) + bool(w.pod.only) for w in self._pods if w.folder
        }
        if len(found) > MOST_LEVELS:
            raise TracerError(
                "too_many_levels",
                f"the pods' cgroups lie at {len(found)} different depths, podtrace can tell"
                f" {MOST_LEVELS} apart",
                "Trace fewer pods at once.",
            )
        likely = []
        if not all(watched.folder for watched in self._pods):
            likely = [
                cgroups.depth(base, self.known) + quality + extra
                for base in self._tree.bases
                for quality in _QUALITY_LEVELS
                for extra in deeper
            ]
        levels = [*sorted(found), *sorted(set(likely) - found)]
        usual = [self.known.level + 1 + quality for quality in _QUALITY_LEVELS]
        return tuple(sorted(levels[:MOST_LEVELS] or usual))

    def _check_level(self, folder: str) -> None:
        if self.levels and cgroups.depth(folder, self.known) not in self.levels:
            raise TracerError(
                "unexpected_level",
                f"a pod's cgroup appeared at {folder}, deeper or higher than others of the node",
                "Start the trace again.",
            )

    def _not_found(self) -> TracerError:
        pods = ", ".join(f"{w.pod.described} (uid {w.pod.uid})" for w in self._pods)
        top = self.known.unified[len(self._root) :]
        return TracerError(
            "no_pod_cgroup",
            f"no cgroup of {pods} was found on the node within {MISSED_NS // SECOND_NS} s: no"
            f" directory pod<uid> or ...-pod<uid>.slice below {top}",
            "Is a container of it running? A sandboxed runtime (gVisor, Kata) keeps its containers"
            " where the node's kernel does not see them.",
        )


def _identity(folder: str) -> int:
    """Id of a cgroup, 0 where it has just gone."""
    try:
        return cgroups.cgroup_id(folder)
    except OSError:
        return 0


def _is_populated(folder: str) -> bool:
    return next(cgroups.processes(folder), None) is not None


def _containers(folder: str) -> dict[str, tuple[str, int]]:
    """Return path and cgroup id of the containers in a pod's directory, by container id."""
    found = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                identity = cgroups.container_of(entry.name)
                if identity and entry.is_dir(follow_symlinks=False):
                    found[identity] = (entry.path, _identity(entry.path))
    except OSError:
        return {}
    return {identity: place for identity, place in found.items() if place[1]}
