"""The report's section on how far its numbers can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

from podtrace.model.clock import rfc3339
from podtrace.model.coverage import Coverage
from podtrace.model.fleet import Fleet, Member
from podtrace.model.histogram import NS_PER_SECOND
from podtrace.model.ledger import Ledger
from podtrace.model.snapshot import Quality, StreamHealth, Tracer

NODE_WIDE = frozenset({"recursion_missed"})
"""Losses that the kernel counts for the whole node: how many are the target's is not known."""


@dataclass(frozen=True)
class Losses:
    """Which share was lost; with `is_of_node` all of it is counted for the whole node.

    The target's own share is then unknown, and `ratio` the most that it can be.
    """

    ratio: float = 0.0
    is_of_node: bool = False


def quality_section(
    fleet: Fleet, ledger: Ledger, coverage: Coverage, stream: StreamHealth
) -> Quality:
    """Return losses, probes and cost of all tracers together, and a row for each tracer."""
    hello, tracers = fleet.hello or {}, ledger.tracers
    by_place = tracers.lost
    lost = by_place.total()
    recorded = ledger.events + lost
    cpu_ns, bpf_ns = tracers.cpu_ns, tracers.bpf_ns
    share = cpu_ns / ledger.measured_ns if cpu_ns is not None and ledger.measured_ns else None
    return Quality(
        lost=dict(sorted(by_place.items())),
        lost_total=lost,
        lost_ratio=lost / recorded if recorded else 0.0 if ledger.ticks else None,
        overflow=ledger.overflow,
        suppressed=ledger.suppressed,
        probes=coverage.probes(),
        degraded_sections=coverage.degraded_sections(),
        stream=stream,
        tracers=tuple(map(_tracer, fleet.members())) if fleet.streams or fleet.several else (),
        tracer_version=hello.get("tracer"),
        stream_schema=hello.get("schema"),
        tracer_cpu_seconds=None if cpu_ns is None else cpu_ns / NS_PER_SECOND,
        tracer_cpu_percent=None if share is None else 100 * share,
        tracer_memory_bytes=tracers.memory_bytes,
        map_bytes=hello.get("map_bytes"),
        bpf_seconds_estimate=None if bpf_ns is None else bpf_ns / NS_PER_SECOND,
    )


def losses(fleet: Fleet, ledger: Ledger) -> Losses:
    """Return the share of records or of ticks that were lost, the greater one."""
    by_place = +ledger.tracers.lost
    lost, missing = by_place.total(), fleet.missing_ticks
    records = lost / (lost + ledger.events) if lost else 0.0
    return Losses(
        ratio=max(records, missing / (missing + ledger.ticks) if missing else 0.0),
        is_of_node=bool(lost) and not missing and by_place.keys() <= NODE_WIDE,
    )


def _tracer(member: Member) -> Tracer:
    hello, sums = member.ticks.hello or {}, member.sums
    start_ns = hello.get("window_start_ns") or sums.first_start_ns
    return Tracer(
        stream=member.stream,
        node=member.node,
        version=hello.get("tracer"),
        kernel=hello.get("kernel"),
        arch=hello.get("arch"),
        start=rfc3339(start_ns) if start_ns else None,
        end=rfc3339(sums.last_end_ns) if sums.last_end_ns else None,
        ticks=sums.ticks,
        lost_total=sums.lost.total(),
        complete=member.over and member.fault is None,
        incomplete_reason=member.fault,
        end_reason=(member.ticks.end or {}).get("reason"),
        cpu_seconds=None if sums.cpu_ns is None else sums.cpu_ns / NS_PER_SECOND,
        memory_bytes=sums.memory_bytes,
    )
