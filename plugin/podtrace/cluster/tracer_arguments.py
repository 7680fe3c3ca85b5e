"""The command line of the tracer in its pod: what it traces, and for how long."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from podtrace.cluster.settings import METRICS_PORT, UNHEARD_SECONDS, LaunchSettings

if TYPE_CHECKING:
    from podtrace.cluster.target import TargetPod


def tracer_arguments(targets: Sequence[TargetPod], settings: LaunchSettings) -> list[str]:
    """Return the command line of the tracer."""
    listed = [
        {
            "id": target.number,
            "namespace": target.namespace,
            "pod": target.name,
            "uid": target.cgroup_uid,
            "containers": {part.id: part.name for part in target.containers if part.id},
            "only": list(target.only),
        }
        for target in targets
    ]
    arguments = ["--pods", json.dumps(listed, separators=(",", ":"))]
    if settings.window_seconds is not None:
        arguments += ["--for", f"{settings.window_seconds:g}"]
    arguments += ["--limit", str(settings.limit_seconds)]
    arguments += ["--until-unheard", str(UNHEARD_SECONDS)]
    thresholds = {
        "--rtt-spike": settings.rtt_spike_ns,
        "--slow-file": settings.slow_file_ns,
        "--long-block": settings.long_block_ns,
    }
    for option, value in thresholds.items():
        arguments += [] if value is None else [option, str(value)]
    if settings.metrics_processes is not None:
        arguments += ["--metrics", f"[::]:{METRICS_PORT}"]
        arguments += ["--metrics-processes", str(settings.metrics_processes)]
    return arguments
