"""From a created tracer pod to its open log, or to the reason why there will be none.

The log is asked for again and again while the container is being made: the kubelet serves it as
soon as it has noticed that the container runs. Once a second the pod is looked at for reasons; its
events are looked at too where the user may list them, because some reasons stand nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from podtrace.cluster import explain, obstacles
from podtrace.cluster.interface import ByteStream
from podtrace.cluster.pod_log import PodLog
from podtrace.cluster.pod_status import (
    Obstacle,
    ending_of,
    is_accepted,
    is_deleted,
    is_running,
    obstacle_of,
)
from podtrace.cluster.settings import PULL_SECONDS
from podtrace.cluster.tracer_pod import TracerPod
from podtrace.errors import ClusterError, LaunchError

FIRST_LOOK_SECONDS = 0.25
LOOK_SECONDS = 1.0
EVENTS_SECONDS = 2.0
"""What is ordinary goes by before this."""
LASTING_SECONDS = 2.0
"""A kubelet tries again by itself: an event that nothing came of for so long is a failure."""
POD_SECONDS = 20.0
"""A Job has its pod within a moment; a controller that is away never makes it."""
ACCEPT_SECONDS = 20.0
"""A kubelet that has not taken a pod up after so long is away."""
NODE_SECONDS = 3.0
FIRST_LINE_SECONDS = 60.0
"""The first line comes when all probes are attached; a slow machine takes long to compile them."""
AWAY_SECONDS = 30.0
TOLD_SECONDS = 5.0
LOG_SECONDS = 5.0
"""The log of a container that has ended can be read, or cannot be read at all."""
_TROUBLED_EVENTS = ("FailedMount", "FailedCreatePodSandBox", "FailedAttachVolume")


class TracerStart:
    """The wait for one tracer.

    Args:
        tracer: the objects, which have been created.
        log: the log that is to be opened.
        tell: shows the user a line.
        is_leaving: tells that nobody wants the stream any more.
    """

    def __init__(
        self,
        tracer: TracerPod,
        log: PodLog,
        tell: Callable[[str], None],
        is_leaving: Callable[[], bool],
    ) -> None:
        self._tracer = tracer
        self._log = log
        self._tell = tell
        self._is_leaving = is_leaving
        self._began = time.monotonic()
        self._told = False
        self._has_node = False
        self._running_at: float | None = None
        self._ended_at: float | None = None
        self._log_error: ClusterError | None = None
        self._seen: dict[str, float] = {}
        self._answered_at = self._began

    def open_log(self) -> ByteStream | None:
        """Wait for the log and return it; None when nobody wants it any more.

        Raises:
            PodtraceError: the tracer cannot start, and why.
        """
        look_at = self._began
        while not self._is_leaving():
            now = time.monotonic()
            if now >= look_at:
                found = self._tracer.pod_name is not None
                self._look()
                # Until the Job has made its pod there is nothing else to ask.
                named = found or self._tracer.pod_name is not None
                look_at = now + (LOOK_SECONDS if named else self._pause())
            # A pod without a node has an empty log, which is no error.
            if self._has_node and now - self._began >= FIRST_LOOK_SECONDS:
                try:
                    return self._log.open()
                except ClusterError as error:
                    # Not yet: what stands in the way is the pod's to say.
                    self._log_error = error
                    self._tracer.check_log_right(error)
            time.sleep(self._pause())
        return None

    def _pause(self) -> float:
        return 0.05 if time.monotonic() - self._began < 5 else 0.25

    def _look(self) -> None:
        """Raise what stands in the way, if anything does."""
        try:
            pod = self._tracer.find()
        except ClusterError as error:
            if time.monotonic() - self._answered_at > AWAY_SECONDS:
                raise
            self._tell_once(f"the API server does not answer, trying again: {error.message}")
            return
        self._answered_at = now = time.monotonic()
        if pod is None:
            self._look_for_pod(now - self._began)
            return
        tracer, node = self._tracer, self._tracer.plan.node
        self._has_node = bool((pod.get("spec") or {}).get("nodeName"))
        if (obstacle := obstacle_of(pod)) is not None:
            raise obstacles.start_error(obstacle, tracer.where, node, tracer.settings)
        if (ending := ending_of(pod)) is not None:
            if self._ended_at is None:
                self._ended_at = now
            if ending.reason in obstacles.NEVER_STARTED or now - self._ended_at > LOG_SECONDS:
                raise obstacles.early_end_error(ending, (), tracer.where, node, tracer.settings)
        elif is_deleted(pod):
            raise self._deleted()
        elif is_running(pod):
            self._look_at_silence(now)
        else:
            self._look_around(pod, now - self._began)

    def _look_for_pod(self, seconds: float) -> None:
        tracer = self._tracer
        if tracer.pod_name is not None:
            raise self._deleted()
        if seconds < LOOK_SECONDS:
            return
        for event in tracer.events("Job", tracer.plan.name):
            if event.get("reason") == "FailedCreate":
                raise explain.refusal_text(str(event.get("message") or ""), tracer.settings)
        self._tell_once(f"waiting for the cluster to make the pod of {tracer.kind_and_name}")
        if seconds > POD_SECONDS:
            namespace = tracer.settings.namespace
            raise LaunchError(
                f"the cluster made no pod of the Job {namespace}/{tracer.plan.name} within "
                f"{POD_SECONDS:.0f} s",
                f"see why: run again with --keep, then kubectl describe job -n {namespace}; "
                "does kube-controller-manager run?",
            )

    def _look_at_silence(self, now: float) -> None:
        """Give up a tracer that runs, but says nothing or cannot be heard."""
        if self._running_at is None:
            self._running_at = now
        if now - self._running_at <= FIRST_LINE_SECONDS:
            return
        tracer, node = self._tracer, self._tracer.plan.node
        raise LaunchError(
            f"the tracer in pod {tracer.where} on node {node} runs, but nothing was heard of it "
            f"for {FIRST_LINE_SECONDS:.0f} s",
            f"can its log be read? Run again with --keep, then kubectl logs -n "
            f"{tracer.settings.namespace} of the pod",
            () if self._log_error is None else (self._log_error.message,),
        )

    def _look_around(self, pod: Mapping[str, Any], seconds: float) -> None:
        """Look at what the pod's own status does not tell: its node and its events."""
        tracer, node = self._tracer, self._tracer.plan.node
        if not is_accepted(pod):
            if seconds > NODE_SECONDS and (trouble := tracer.node_trouble()) is not None:
                raise trouble
            self._tell_once(f"waiting for node {node} to take the tracer pod up")
            if seconds > ACCEPT_SECONDS:
                raise LaunchError(
                    f"node {node} did not take the tracer pod {tracer.where} up within "
                    f"{ACCEPT_SECONDS:.0f} s",
                    f"see whether its kubelet works: kubectl describe node {node}",
                )
            return
        if seconds > EVENTS_SECONDS:
            events = tracer.events("Pod", tracer.pod_name or "")
            for event in events:
                self._weigh(str(event.get("reason") or ""), str(event.get("message") or ""))
            latest = events[-1] if events else {"message": "ContainerCreating"}
            if latest.get("reason") == "Started":
                # Told before the pod's status is, and before the log can be read.
                self._tell_once(f"the tracer runs on {node} and attaches its probes")
            else:
                what = latest.get("message") or ""
                self._tell_once(f"waiting for node {node} to start the tracer: {what}")
        if seconds > PULL_SECONDS:
            raise LaunchError(
                f"node {node} did not start the tracer pod {tracer.where} within {PULL_SECONDS} s",
                f"see what the node does: kubectl describe pod -n {tracer.settings.namespace} "
                "(with --keep the pod stays)",
            )

    def _weigh(self, reason: str, message: str) -> None:
        if reason not in _TROUBLED_EVENTS:
            return
        now = time.monotonic()
        if now - self._seen.setdefault(reason, now) >= LASTING_SECONDS:
            tracer = self._tracer
            raise obstacles.start_error(
                Obstacle(reason, message), tracer.where, tracer.plan.node, tracer.settings
            )

    def _deleted(self) -> LaunchError:
        return LaunchError(
            f"the tracer pod {self._tracer.where} was deleted before it started",
            "somebody or something removed it, or the Job around it; run the same command again",
        )

    def _tell_once(self, line: str) -> None:
        if not self._told and time.monotonic() - self._began > TOLD_SECONDS:
            self._told = True
            self._tell(line)
