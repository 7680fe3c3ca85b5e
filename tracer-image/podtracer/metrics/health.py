"""The families that tell of the trace itself: what was lost, what it costs, how it is now."""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping
from typing import Any

from podtrace.wire.schema import SCHEMA
from podtrace.wire.version import VERSION
from podtracer.metrics import families
from podtracer.metrics.meter import Meter
from podtracer.metrics.places import Places
from podtracer.target import Target

_GAUGES = {
    "connects_in_progress": (families.CONNECTS_IN_PROGRESS, "tcp"),
    "dns_pending": (families.DNS_PENDING, "dns"),
    "processes": (families.PROCESSES, "process"),
}
"""Gauges of the health line, and the family of probes without which nothing is known."""


class Health:
    """Fills those families; `attached` are the families of probes that see something."""

    def __init__(self, meter: Meter, attached: Collection[str], node: str) -> None:
        self._meter = meter
        self._attached = attached
        build = meter.table(families.BUILD)
        schema = "{}.{}".format(*SCHEMA)
        build.set((VERSION, schema, platform.release(), platform.machine(), node), 1)

    def begin(self, places: Places, targets: Collection[Target]) -> None:
        """Let what is rare begin with 0, so that its first rise is seen."""
        tables = []
        if "oom" in self._attached:
            tables.append(self._meter.table(families.OOM_KILLS))
        for target in targets:
            for container in target.containers or (None,):
                for table in tables:
                    table.add(places.of(target.number, container), 0)
            # Only of pods it is known which container takes another's place.
            for container in target.containers or ():
                self._meter.table(families.RESTARTS).add(places.of(target.number, container), 0)

    def tick(self, health: Mapping[str, Any]) -> None:
        """Take the fields of a health line."""
        table = self._meter.table
        for place, count in health["lost"].items():
            table(families.LOST).add((place,), count)
        table(families.SUPPRESSED).add((), health["suppressed"])
        table(families.TRACER_CPU).add((), health["tracer_cpu_ns"])
        table(families.TRACER_MEMORY).set((), health["tracer_rss_bytes"])
        if health["bpf_ns_estimate"] is not None:
            table(families.TRACER_BPF).add((), health["bpf_ns_estimate"])
        table(families.TICKS).add((), 1)
        for gauge, (family, needed) in _GAUGES.items():
            if needed in self._attached:
                table(family).set((), health["gauges"][gauge])
