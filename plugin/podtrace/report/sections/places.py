"""The column that says where a process runs: its container, or its pod where there are several."""

from collections.abc import Sequence
from typing import Protocol

from podtrace.report.table import Cell, Column, name


class Placed(Protocol):
    """A row of a list of processes."""

    @property
    def container(self) -> str | None:
        """Name of the container."""

    @property
    def pod(self) -> str | None:
        """Name of the pod."""


def place_columns(rows: Sequence[Placed], pods: bool) -> list[Column]:
    """Return the column, none where all rows are of the same place."""
    if pods:
        return [name("pod")]
    return [name("container")] if any(row.container for row in rows) else []


def place_cells(row: Placed, rows: Sequence[Placed], pods: bool) -> tuple[Cell, ...]:
    """Return the row's cell for that column; the container stands behind the pod if it fits."""
    if pods:
        pod = row.pod or ""
        return ((f"{pod}/{row.container}", pod) if pod and row.container else pod,)
    return (row.container or "",) if any(row.container for row in rows) else ()
