"""The process names that have series of their own: at most so many, the rest is `other`.

Processes of one name in one container share their series. Who leaves the list takes nothing along:
its counts are added to `other` of its place, so that a sum over a family never falls. The list
changes slowly, because every name that was ever on it stays in Prometheus for hours: a hundred
thousand short-lived processes of as many names must not make a hundred thousand series there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from podtracer.metrics.families import GAUGE
from podtracer.metrics.places import OTHER
from podtracer.metrics.samples import Labels, Samples

UNKNOWN, OVERFLOW = "(unknown)", "(overflow)"
UNCHANGED_TICKS = 60
"""After so long without work a name without processes gives way to any other."""
ESTABLISHED_TICKS = 10
"""A name whose processes have run for so long gets a place if it does more than others."""
_KEPT = 0.9
_AHEAD = 2.0
_MOST_CHALLENGES = 10


class Name:
    """One process name in one place; `labels` are those of a process.

    `living` counts its processes. `use` is the mean of its work by tick, recent ticks first.
    """

    def __init__(self, labels: Labels, tick: int) -> None:
        self.labels = labels
        self.living = 0
        self.listed = False
        self.since = self.changed = self._used = tick
        self._use = 0.0
        self._samples: dict[tuple[str, Labels], tuple[Samples, Labels]] = {}

    def work(self, amount: int, tick: int) -> None:
        """Note what it did in a tick."""
        self._use = self.use(tick) + (1 - _KEPT) * amount
        self._used = self.changed = tick

    def use(self, tick: int) -> float:
        """Return its mean work by tick."""
        return float(self._use * _KEPT ** (tick - self._used))

    def sample(self, samples: Samples, extra: Labels = ()) -> Labels:
        """Return the labels of its sample in a family; `extra` stand before those of a process."""
        key = samples.family.name, extra
        known = self._samples.get(key)
        if known is None:
            known = self._samples[key] = samples, (*extra, *self.labels)
        return known[1]

    def leave(self, other: Name) -> None:
        """Leave all that was counted to another name."""
        for (_, extra), (samples, labels) in self._samples.items():
            if samples.family.kind == GAUGE:
                samples.drop(labels)
            else:
                samples.move(labels, other.sample(samples, extra))
        self._samples.clear()
        self.listed = False


class Roster:
    """All names that are listed or have living processes, and who of them is listed."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tick = self._challenges = 0
        self._names: dict[Labels, Name] = {}
        self._listed: dict[Labels, Name] = {}
        self._permanent: dict[Labels, Name] = {}

    def born(self, labels: Labels) -> None:
        """Count a process that lives."""
        name = self._names.get(labels)
        if name is None:
            name = self._names[labels] = Name(labels, self._tick)
        elif not name.living:
            name.since = self._tick
        name.living += 1

    def died(self, labels: Labels) -> None:
        """Count a process that no longer does, or has another name now."""
        name = self._names[labels]
        name.living -= 1
        self._drop_unused(name)

    def _drop_unused(self, name: Name) -> None:
        if not name.living and not name.listed:
            del self._names[name.labels]

    def admit(self, work: Mapping[Labels, int]) -> dict[Labels, Name]:
        """Say who counts what was done in a tick, by the labels of those that did it."""
        self._tick += 1
        found = {labels: self._known(labels) for labels in work}
        for labels, name in found.items():
            if name is not None:
                name.work(work[labels], self._tick)
        strangers = [labels for labels, name in found.items() if name is None or not name.listed]
        strangers.sort(key=lambda labels: work[labels], reverse=True)
        idle = self._idle()
        self._challenges = _MOST_CHALLENGES
        for labels in strangers:
            found[labels] = self._place(labels, idle)
        # Who was listed at first may have given way.
        return {
            labels: name if name is not None and name.listed else self.other(labels)
            for labels, name in found.items()
        }

    def _known(self, labels: Labels) -> Name | None:
        if labels[0] in (OTHER, UNKNOWN, OVERFLOW):
            return self._always(labels)
        return self._names.get(labels)

    def _always(self, labels: Labels) -> Name:
        name = self._permanent.get(labels)
        if name is None:
            name = self._permanent[labels] = Name(labels, self._tick)
            name.listed = True
        return name

    def other(self, labels: Labels) -> Name:
        """Return the name that counts for all that are not listed, in the same place."""
        return self._always((OTHER, *labels[1:]))

    def _idle(self) -> Iterator[Name]:
        """Yield the listed names that anybody may take the place of, longest unchanged first."""
        limit = self._tick - UNCHANGED_TICKS
        return iter(_longest_unchanged(n for n in self._listed.values() if n.changed <= limit))

    def _place(self, labels: Labels, idle: Iterator[Name]) -> Name:
        if len(self._listed) < self._most:
            return self._enlist(labels)
        leaving = next(idle, None) or self._weaker(self._names.get(labels))
        if leaving is None:
            return self.other(labels)
        self._strike(leaving)
        return self._enlist(labels)

    def _weaker(self, name: Name | None) -> Name | None:
        """Return who has to give way to an established name, None: nobody."""
        if name is None or not name.living or self._tick - name.since < ESTABLISHED_TICKS:
            return None
        if not self._challenges:
            return None
        self._challenges -= 1
        dead = _longest_unchanged(n for n in self._listed.values() if n.changed < self._tick)
        if dead:
            return dead[0]
        least = min(self._listed.values(), key=lambda n: n.use(self._tick), default=None)
        if least is not None and least.use(self._tick) * _AHEAD < name.use(self._tick):
            return least
        return None

    def _enlist(self, labels: Labels) -> Name:
        name = self._names.get(labels)
        if name is None:
            name = self._names[labels] = Name(labels, self._tick)
        name.listed = True
        name.changed = self._tick
        self._listed[labels] = name
        return name

    def _strike(self, name: Name) -> None:
        name.leave(self.other(name.labels))
        del self._listed[name.labels]
        self._drop_unused(name)


def _longest_unchanged(names: Iterable[Name]) -> list[Name]:
    return sorted((name for name in names if not name.living), key=lambda name: name.changed)
