"""Pods as targets: their directories come and go, and so do the containers in them.

A pod is traced at its own directory, which covers whatever starts in it; when only some of its
containers are wanted, at theirs. The directory may not be there yet, or vanish and come back.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from podtracer import cgroups
from podtracer.containers import LOG_LINKS, log_links
from podtracer.errors import TracerError
from podtracer.plan import MOST_LEVELS
from podtracer.pod_tree import PodTree
from podtracer.pod_watch import PodWatch
from podtracer.pods import Pod
from podtracer.target import Changes, Scope, Target, gone_event

SECOND_NS = 1_000_000_000
MISSED_NS = 10 * SECOND_NS
"""How long a pod may be nowhere before it counts as gone, or as never there."""
_SEARCH_NS = 5 * SECOND_NS
_QUALITY_LEVELS = (1, 2)


class PodScope(Scope):
    """The scope of pods; `changes` says what to add to the probes' table and what to take out.

    `root` is the folder in which the node's files are seen.
    """

    def __init__(
        self, pods: Sequence[Pod], known: cgroups.Hierarchies, root: str, now_ns: int
    ) -> None:
        self._names = {key: name for pod in pods for key, name in pod.containers.items()}
        self._pods = [PodWatch(pod, known, self._names) for pod in pods]
        self._root = root
        self._tree = PodTree(known.top)
        self._searched_ns = -_SEARCH_NS
        self._now_ns = self._there_ns = now_ns
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

    def container_at(self, cgroup: int) -> str | None:
        """Id of the container that has or had this cgroup, None where none was seen."""
        found = (watched.container_at(cgroup) for watched in self._pods)
        return next(filter(None, found), None)

    def folders(self, number: int) -> list[str]:
        """Directories of a target."""
        watched = next(watched for watched in self._pods if watched.pod.number == number)
        return list(watched.wanted().values())

    def changes(self, now_ns: int) -> Changes:
        """Look at every pod's directory and at the containers in it.

        Raises TracerError when no pod could be found for ten seconds, or where one cannot be told.
        """
        changed = Changes()
        self._search(now_ns)
        for watched in self._pods:
            if watched.look(self._tree.find(watched.pod.uid) or "", now_ns):
                changed.events.append(gone_event(watched.pod.number))
        changed.named = self._new_names(now_ns)
        for watched in self._pods:
            changed.events += watched.restarts(self.exit_code_of)
        wanted = {
            cgroup: (watched.pod.number, folder)
            for watched in self._pods
            for cgroup, folder in watched.wanted().items()
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

    def arrivals(self) -> list[str]:
        """Directories where what is wanted may come: of pods, of containers, of their names."""
        places: list[str] = []
        if not all(watched.folder for watched in self._pods):
            places += self._tree.parents
        there = [watched for watched in self._pods if watched.folder]
        places += [watched.folder for watched in there]
        if any(watched.nameless(self._now_ns) for watched in there if watched.pod.only):
            places.append(self._root + LOG_LINKS)
        return places

    def is_over(self, now_ns: int) -> bool:
        """Whether every pod has been gone for ten seconds."""
        return now_ns - self._there_ns > MISSED_NS

    def _search(self, now_ns: int) -> None:
        missing = [watched.pod.uid for watched in self._pods if not watched.folder]
        if now_ns - self._searched_ns >= _SEARCH_NS and not all(map(self._tree.find, missing)):
            self._searched_ns = now_ns
            self._tree.search(missing)

    def _new_names(self, now_ns: int) -> set[str]:
        """Name the containers that have none yet; return the ids of those that got one."""
        self._now_ns = now_ns
        nameless = {identity for watched in self._pods for identity in watched.nameless(now_ns)}
        links = log_links(self._root + LOG_LINKS) if nameless else {}
        named = nameless & links.keys()
        self._names.update({identity: links[identity] for identity in named})
        return named

    def first_changes(self) -> Changes:
        """What was there from the start."""
        return self._first

    def _target(self, watched: PodWatch) -> Target:
        return Target(
            number=watched.pod.number,
            type="pod",
            name=watched.pod.name,
            cgroup=watched.folder[len(self._root) :],
            namespace=watched.pod.namespace,
            pod=watched.pod.name,
            containers=watched.container_names(),
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
        top = self.known.top[len(self._root) :]
        hint = (
            "Is a container of it running? A sandboxed runtime (gVisor, Kata) keeps its containers"
            " where the node's kernel does not see them."
        )
        if os.getpid() == 1:
            hint = "The tracer sees no other processes than its own: its pod needs hostPID."
        return TracerError(
            "no_pod_cgroup",
            f"no cgroup of {pods} was found on the node within {MISSED_NS // SECOND_NS} s: no"
            f" directory pod<uid> or ...-pod<uid>.slice below {top}",
            hint,
        )
