"""The first line of the stream: what is traced, by which probes, and what a report can show."""

from __future__ import annotations

import os
import platform
from typing import Any

from podtrace.wire.schema import SCHEMA
from podtrace.wire.version import VERSION
from podtracer.listeners import Listeners
from podtracer.plan import Thresholds
from podtracer.probes import SECTIONS
from podtracer.tables import DNS_TIMEOUT_NS
from podtracer.target import Scope


def hello_fields(
    scope: Scope,
    probes: list[dict[str, Any]],
    thresholds: Thresholds,
    node: str,
    listeners: Listeners | None,
) -> dict[str, Any]:
    """Return the fields that are known before the window begins."""
    fields = {
        "schema": "{}.{}".format(*SCHEMA),
        "tracer": VERSION,
        "kernel": platform.release(),
        "arch": platform.machine(),
        "cgroup_mode": scope.known.mode,
        "cpus": os.cpu_count() or 1,
        "targets": [target.as_fields() for target in scope.targets],
        "probes": probes,
        "sections": sections(probes),
        "thresholds": {
            "rtt_spike_ns": thresholds.rtt_spike_ns,
            "slow_file_ns": thresholds.slow_file_ns,
            "long_block_ns": thresholds.long_block_ns,
            "dns_timeout_ns": DNS_TIMEOUT_NS,
        },
        "node": node or None,
    }
    if listeners is not None:
        fields["listener_check"] = listeners.possible
        fields["listener_reason"] = listeners.reason
    return fields


def sections(probes: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Say which sections of the report are full, degraded or blank, and why."""
    states = {}
    for section, families in SECTIONS.items():
        missing = [
            probe
            for probe in probes
            if probe["family"] in families and probe["state"] != "attached"
        ]
        blank = any(probe["family"] == families[0] for probe in missing)
        reason = "; ".join(f"{probe['hook']}: {probe['reason']}" for probe in missing) or None
        state = "blank" if blank else "degraded" if missing else "full"
        states[section] = {"state": state, "reason": reason}
    return states
