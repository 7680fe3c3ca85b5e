"""The column that says where a process runs: its container, and its pod if there are several."""

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from podtrace.report.style import Style
from podtrace.report.table import Cell, Column, name

_MOST_PARTS = 3
_LONGEST_HEAD = 40
_STEP = 2


class Placed(Protocol):
    """A row of a list of processes."""

    @property
    def container(self) -> str | None:
        """Name of the container."""

    @property
    def pod(self) -> str | None:
        """Name of the pod."""


class Places:
    """The column and its cells for a list of processes.

    A cell names pod and container where there are several pods, and never the one without the
    other: where they do not fit, the pod's name loses its middle, but not the end that tells it
    from the others. The column is left out where there is nothing to say.

    Args:
        rows: the processes.
        pods: whether there are several pods.
        style: what the output can show.
    """

    def __init__(self, rows: Sequence[Placed], pods: bool, style: Style) -> None:
        self._pods = pods
        self._containers = any(row.container for row in rows)
        self._ellipsis = style.ellipsis
        self._ends = _unique_ends({row.pod for row in rows if row.pod})

    @property
    def columns(self) -> list[Column]:
        """The column, or none."""
        if self._pods:
            return [name("pod/container" if self._containers else "pod")]
        return [name("container")] if self._containers else []

    def cells(self, row: Placed) -> tuple[Cell, ...]:
        """Return the row's cell for that column."""
        if not self._pods:
            return (row.container or "",) if self._containers else ()
        if not (row.pod and row.container):
            return (row.pod or "",)
        container = row.container
        return (tuple(f"{pod}/{container}" for pod in self._shorter(row.pod)),)

    def _shorter(self, pod: str) -> Iterator[str]:
        """Yield the name of a pod in shorter and shorter forms."""
        yield pod
        end = self._ends.get(pod, pod)
        head = len(pod) - len(end)
        for kept in range(min(head - 2, _LONGEST_HEAD), 0, -_STEP):
            yield f"{pod[:kept]}{self._ellipsis}{end}"
        if head:
            yield end


def _unique_ends(pods: Collection[str]) -> dict[str, str]:
    """Return, for each pod, as few of the last parts of its name as no other pod ends with."""
    return {
        pod: next(
            (
                end
                for end in _ends(pod)
                if not any(other != pod and other.endswith(end) for other in pods)
            ),
            pod,
        )
        for pod in pods
    }


def _ends(pod: str) -> list[str]:
    parts = pod.rsplit("-", _MOST_PARTS)[1:]
    return ["-".join(parts[-count:]) for count in range(1, len(parts) + 1)]
