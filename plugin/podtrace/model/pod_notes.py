"""What the cluster says of the traced pods, which no tracer sees: a container that waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PodNote:
    """One thing that is wrong with a pod: `shop/web-0`, `container app is in CrashLoopBackOff`."""

    pod: str
    text: str
