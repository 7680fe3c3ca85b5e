"""What this trace could measure at all, as far as its hello line tells.

It decides between 0 and null: a section that is blank, or a metric without a source, is not
measured, unless data of it came all the same. Without a hello line only what came is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from podtrace.model.histogram import NS_PER_SECOND
from podtrace.model.snapshot import DegradedSection, Operations, Probe
from podtrace.model.tally import SECTION_METRICS, SECTION_OF_EVENT, SECTION_OF_METRIC, Tally

FULL = "full"
BLANK = "blank"


class Coverage:
    """Answers for sections and metrics from the hello line and the totals at one moment."""

    def __init__(self, hello: Mapping[str, Any] | None, totals: Mapping[str, Tally]) -> None:
        self._hello: Mapping[str, Any] = hello or {}
        self._totals = totals
        self._states: Mapping[str, Any] = self._hello.get("sections") or {}
        self._unmeasured = frozenset(self._hello.get("unmeasured") or ())

    def metric(self, name: str) -> bool:
        """Return whether 0 of this metric would mean that nothing happened."""
        if name in self._totals:
            return True
        if not self._hello or name in self._unmeasured:
            return False
        state = self._states.get(SECTION_OF_METRIC[name]) or {}
        return bool(state.get("state") != BLANK)

    def section(self, name: str) -> bool:
        """Return whether any metric of the section is measured."""
        return any(self.metric(metric) for metric in SECTION_METRICS[name])

    @cached_property
    def event_sections(self) -> frozenset[str]:
        """The keys of `Operations` that are measured."""
        return frozenset(
            section for metric, section in SECTION_OF_EVENT.items() if self.metric(metric)
        )

    def operations(self, events: Mapping[str, int]) -> Operations:
        """Return events by section, None for sections that are not measured."""
        measured = self.event_sections

        def of(section: str) -> int | None:
            return events.get(section, 0) if section in measured else None

        return Operations(
            dns=of("dns"),
            tcp=of("tcp"),
            connections=of("connections"),
            filesystem=of("filesystem"),
            processes=of("processes"),
        )

    def threshold_seconds(self, name: str) -> float | None:
        """Return one of the tracer's own thresholds, such as `slow_file_ns`."""
        value = (self._hello.get("thresholds") or {}).get(name)
        return None if value is None else value / NS_PER_SECOND

    def degraded_sections(self) -> tuple[DegradedSection, ...]:
        """Return the sections that are not full, with the tracer's reason."""
        return tuple(
            DegradedSection(section=name, state=item["state"], reason=item.get("reason"))
            for name, item in sorted(self._states.items())
            if item["state"] != FULL
        )

    def probes(self) -> tuple[Probe, ...]:
        """Return every probe of every tracer."""
        node = self._hello.get("node")
        return tuple(
            Probe(
                name=item.get("name") or "",
                family=item.get("family") or "",
                hook=item.get("hook") or "",
                state=item.get("state") or "",
                reason=item.get("reason"),
                node=item.get("node") or node,
            )
            for item in self._hello.get("probes") or ()
        )
