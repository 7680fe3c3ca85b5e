"""Metrics as the run sees them, asked for or not: without, nothing is imported and nothing done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from podtracer.containers import ContainerNames
from podtracer.request import Request
from podtracer.target import Scope

if TYPE_CHECKING:
    from podtracer.metrics.meter import Meter
    from podtracer.metrics.service import Metrics


class Metering:
    """The page of metrics of one run; raises TracerError where one is wanted and cannot be.

    The port is taken at once, before anything is compiled.
    """

    def __init__(self, request: Request) -> None:
        self._node = request.own.node
        self._metrics: Metrics | None = None
        if request.metrics is not None:
            from podtracer.metrics.service import Metrics  # Ten MiB, and a library.

            self._metrics = Metrics(request.metrics, request.metrics_processes)

    @property
    def address(self) -> str | None:
        """Where the page is served, None: nowhere."""
        return None if self._metrics is None else self._metrics.address

    def scraped_ns(self) -> int | None:
        """When the page was last read to its end, in monotonic nanoseconds; None: never."""
        return None if self._metrics is None else self._metrics.scraped_ns

    def start(self) -> None:
        """Begin to answer; call when nothing will be forked any more."""
        if self._metrics is not None:
            self._metrics.start()

    def begin(
        self, scope: Scope, probes: Iterable[Mapping[str, Any]], names: ContainerNames
    ) -> Meter | None:
        """Take what is traced and by which probes; return what counts the ticks, if anything."""
        if self._metrics is None:
            return None
        return self._metrics.begin(scope, probes, self._node, names)

    def tick(
        self,
        events: Iterable[Mapping[str, Any]],
        throttled: Mapping[tuple[int, str], tuple[int, int]],
        health: Mapping[str, Any],
        now_ns: int,
    ) -> None:
        """Show what a tick counted."""
        if self._metrics is not None:
            self._metrics.tick(events, throttled, health, now_ns)

    def close(self) -> None:
        """Stop answering."""
        if self._metrics is not None:
            self._metrics.close()
