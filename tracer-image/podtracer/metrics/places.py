"""Label values: where something ran, and names made fit to be shown.

A process chooses its name, so it may hold what misleads or damages a terminal or a page; and who
can make cgroups can make containers without end, so their number is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable

from podtracer.target import Target

OTHER = "other"
MOST_CONTAINERS = 100

Place = tuple[str, str, str]
"""(namespace, pod, container), "" for each that there is not."""


def shown(name: str) -> str:
    r"""Return a name with every character that does not print as `\xNN` or `\u{NNNN}`.

    A report shows it the same.
    """
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else _escaped(ord(c)) for c in name)


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{{{code:x}}}"


class Places:
    """The places of the targets, of each at most MOST_CONTAINERS; the others are one together."""

    def __init__(self, targets: Iterable[Target]) -> None:
        self._pods = {t.number: (t.namespace or "", t.pod or "") for t in targets}
        self._containers: dict[int, set[str]] = {number: set() for number in self._pods}

    def of(self, target: int, container: str | None) -> Place:
        """Return the place of what belongs to a target, in a container or in none."""
        if target not in self._pods:
            return "", "", ""
        return (*self._pods[target], self._container(target, container))

    def of_all(self) -> Place:
        """Return the place of what may belong to any target."""
        return self.of(next(iter(self._pods)), None) if len(self._pods) == 1 else ("", "", "")

    def _container(self, target: int, name: str | None) -> str:
        if not name:
            return ""
        name = shown(name)
        known = self._containers[target]
        if name not in known:
            if len(known) >= MOST_CONTAINERS:
                return OTHER
            known.add(name)
        return name
