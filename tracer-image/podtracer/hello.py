"""The first line of the stream: what is traced, by which probes, and what a report can show."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
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
    metrics: str | None,
) -> dict[str, Any]:
    """Return the fields that are known before the window begins."""
    fields = {
        "schema": "{}.{}".format(*SCHEMA),
        "tracer": VERSION,
        "kernel": platform.release(),
        "arch": platform.machine(),
        "cgroup_mode": scope.known.mode,
        "cpus": os.cpu_count() or 1,
        "started_ns": process_start_ns(),
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
        "metrics": metrics,
    }
    if listeners is not None:
        fields["listener_check"] = listeners.possible
        fields["listener_reason"] = listeners.reason
    return fields


def process_start_ns() -> int:
    """Return when this process began, on the wall clock; exact to the kernel's clock tick."""
    stat = Path("/proc/self/stat").read_bytes()
    ticks = int(stat.rpartition(b")")[2].split()[19])  # starttime, field 22 of proc(5)
    booted_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return booted_ns + ticks * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


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
