"""What the user decides about the tracer pod, apart from what it traces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from podtrace.cluster.patch import Patch

Profile = Literal["privileged", "capabilities"]
PROFILES: tuple[Profile, ...] = ("privileged", "capabilities")
PullPolicy = Literal["Always", "IfNotPresent", "Never"]
PULL_POLICIES: tuple[PullPolicy, ...] = ("Always", "IfNotPresent", "Never")

LIVE_SECONDS = 3600
"""A live view that nobody ends is ended after so long."""
SLACK_SECONDS = 120
"""A trace of a fixed length has so much more: attaching the probes, and the last lines."""
PULL_SECONDS = 300
"""The cluster's own limit has so much more than the tracer's: the image is pulled in that time."""
UNHEARD_SECONDS = 30
"""The tracer ends when nobody read its log for so long."""
METRICS_PORT = 3000
"""Of the tracer pod; on the workstation it may be another."""


@dataclass(frozen=True)
class LaunchSettings:
    """How tracer pods are made.

    Args:
        image: reference of the tracer image.
        namespace: the namespace that the tracer pods go to.
        window_seconds: length of the trace; None for a live view.
        profile: the rights of the tracer's container.
        pull_policy: when the node pulls the image.
        pull_secrets: names of secrets for the registry, in the tracer's namespace.
        keep: leave the finished pod in the cluster.
        patch: the user's changes to the pod.
        rtt_spike_ns: threshold that the tracer applies, or None for its own default.
        slow_file_ns: the same.
        long_block_ns: the same.
        metrics_processes: how many processes get series of their own; None for no metrics.
    """

    image: str
    namespace: str
    window_seconds: float | None = None
    profile: Profile = "privileged"
    pull_policy: PullPolicy = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    keep: bool = False
    patch: Patch | None = None
    rtt_spike_ns: int | None = None
    slow_file_ns: int | None = None
    long_block_ns: int | None = None
    metrics_processes: int | None = None

    @property
    def limit_seconds(self) -> int:
        """The longest life of the tracer, from the start of its process on."""
        if self.window_seconds is None:
            return LIVE_SECONDS
        return int(-(-self.window_seconds // 1)) + SLACK_SECONDS

    @property
    def deadline_seconds(self) -> int:
        """The longest life of the pod, from its acceptance by the node on."""
        return self.limit_seconds + PULL_SECONDS
