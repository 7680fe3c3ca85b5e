"""The tracers of a cluster as one line source.

One tracer a node, each in a thread: created, waited for, followed, removed. What they send is
merged; with several of them every line says in `stream` which one it is from. A node whose tracer
cannot start does not end the trace of the others: it is told at once, and is this source's trouble
in the end. Where none starts, the first reason is raised.
"""

from __future__ import annotations

import math
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from podtrace.cluster.interface import ApiLike
from podtrace.cluster.manifest import plan_tracers
from podtrace.cluster.settings import LaunchSettings
from podtrace.cluster.tracer import Tracer
from podtrace.cluster.tracer_pod import TracerPod
from podtrace.errors import PodtraceError
from podtrace.source import IDLE_SECONDS

if TYPE_CHECKING:
    from podtrace.cluster.target import TargetPod

END_SECONDS = 20.0
"""A tracer that was asked to end sends its last line within this."""
REMOVE_SECONDS = 10.0
LEAVE_SECONDS = 2.0
"""Who leaves at once waits so long for the removal to be on its way."""


class ClusterSource:
    """The merged stream of the tracers that trace these pods.

    Args:
        api: the cluster.
        pods: what is traced; each has a node.
        settings: how tracer pods are made.
        tell: shows the user a line; called from the thread that iterates.
        run: what names this run's objects; made up by default.

    Attributes:
        tracers: one for each node, in the order of the nodes.
    """

    patience_seconds = math.inf
    """It knows itself how long to wait for a first line: there is an image to be pulled."""

    def __init__(
        self,
        api: ApiLike,
        pods: Sequence[TargetPod],
        settings: LaunchSettings,
        tell: Callable[[str], None],
        run: str | None = None,
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._queue: queue.SimpleQueue[tuple[int, bytes | str | None]] = queue.SimpleQueue()
        plans = plan_tracers(run or secrets.token_hex(4), pods)
        self.tracers = [
            Tracer(api, plan, settings, self._queue.put, stamped=len(plans) > 1) for plan in plans
        ]
        self._stop_asked = False
        self._ending_at: float | None = None
        self._closed = False
        self._finished = False

    @property
    def _is_ending(self) -> bool:
        """Asked anew each time: signal handlers and other threads change it."""
        return self._stop_asked or self._closed

    @property
    def nodes(self) -> dict[int, str]:
        """The node of each stream, by the number that its lines carry."""
        return {tracer.plan.number: tracer.plan.node for tracer in self.tracers}

    def __iter__(self) -> Iterator[bytes]:
        """Start the tracers and yield their streams, with empty chunks while they say nothing.

        Raises:
            PodtraceError: no tracer could be started.
        """
        if self._is_ending:
            return
        for tracer in self.tracers:
            tracer.start()
        running = len(self.tracers)
        while running and not self._closed and not self._is_overdue():
            try:
                number, item = self._queue.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                yield b""
                continue
            if item is None:
                running -= 1
                self._note_end(self.tracers[number - 1])
            elif isinstance(item, str):
                self._tell(item)
            else:
                yield item
        self._finished = True

    def stop(self) -> None:
        """Ask the tracers for their last ticks and lines."""
        self._stop_asked = True

    def close(self) -> None:
        """Leave, and remove everything that was created."""
        self._closed = True
        for tracer in self.tracers:
            tracer.leave()
        removers = [_in_background(tracer.remove) for tracer in self.tracers if tracer.is_begun]
        until = time.monotonic() + (REMOVE_SECONDS if self._finished else LEAVE_SECONDS)
        for remover in removers:
            remover.join(max(0.0, until - time.monotonic()))
        while True:
            try:
                _, item = self._queue.get_nowait()
            except queue.Empty:
                return
            if isinstance(item, str):
                self._tell(item)

    def trouble(self) -> PodtraceError | None:
        """Say which tracer did not start, or ended before its time, and why."""
        troubles = self.troubles()
        return troubles[0] if troubles else None

    def troubles(self) -> list[PodtraceError]:
        """Return what went wrong on any node, in the order of the nodes."""
        return [
            tracer.trouble
            for tracer in self.tracers
            if tracer.trouble is not None and not (self._stop_asked and tracer.was_stopped)
        ]

    def _note_end(self, tracer: Tracer) -> None:
        """Raise the trouble of a tracer when no tracer has sent or can send anything."""
        if tracer.defect is not None:
            raise tracer.defect
        trouble = tracer.trouble
        if trouble is None or self._stop_asked:
            return
        others = [other for other in self.tracers if other is not tracer]
        if any(other.has_sent or not other.is_over for other in (*others, tracer)):
            if others:
                self._tell(f"node {tracer.plan.node}: {trouble.message}")
            return
        raise self.troubles()[0]

    def _is_overdue(self) -> bool:
        """Begin to end the tracers once that was asked for; tell when they took too long."""
        if not self._stop_asked:
            return False
        if self._ending_at is None:
            self._ending_at = time.monotonic()
            for tracer in self.tracers:
                _in_background(tracer.end)
        return time.monotonic() - self._ending_at > END_SECONDS


def dry_run(
    api: ApiLike, pods: Sequence[TargetPod], settings: LaunchSettings, *, on_server: bool
) -> list[dict[str, Any]]:
    """Return what a trace of these pods would create; `on_server`: as the API server admits it.

    Raises:
        PodtraceError: it would be refused, and why.
    """
    tracers = [TracerPod(api, plan, settings) for plan in plan_tracers(secrets.token_hex(4), pods)]
    return [tracer.rehearse() if on_server else tracer.job() for tracer in tracers]


def _in_background(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
