"""The report's window and summary: when was traced, and how much happened."""

from __future__ import annotations

from collections import Counter

from podtrace.model.clock import rfc3339
from podtrace.model.coverage import Coverage
from podtrace.model.fleet import Fleet
from podtrace.model.histogram import NS_PER_SECOND
from podtrace.model.ledger import Ledger
from podtrace.model.snapshot import Summary, Window
from podtrace.model.tally import SECTION_OF_EVENT, errors_among


def start_of(fleet: Fleet, ledger: Ledger) -> int | None:
    """Return when the first tracer began to measure, in nanoseconds since 1970."""
    start_ns: int | None = (fleet.hello or {}).get("window_start_ns")
    return start_ns or ledger.first_start_ns


def window_section(fleet: Fleet, ledger: Ledger, now_ns: int | None) -> Window:
    """Return the window; one that is still open ends at `now_ns` if that is given."""
    start_ns, end_ns = start_of(fleet, ledger), ledger.last_end_ns
    if now_ns is not None and not fleet.over:
        end_ns = max(now_ns, end_ns or 0)
    if end_ns is None:
        end_ns = start_ns
    reason = fleet.incomplete_reason()
    length_ns = max(end_ns - start_ns, 0) if start_ns and end_ns else 0
    end = fleet.end or {}
    return Window(
        start=rfc3339(start_ns) if start_ns else None,
        end=rfc3339(end_ns) if end_ns else None,
        seconds=length_ns / NS_PER_SECOND,
        measured_seconds=ledger.measured_ns / NS_PER_SECOND,
        ticks=max((tracer.ticks for tracer in ledger.tracers.values()), default=0),
        complete=reason is None,
        incomplete_reason=reason,
        end_reason=end.get("reason"),
        exit_code=end.get("exit_code"),
    )


def summary_section(ledger: Ledger, coverage: Coverage) -> Summary:
    """Return the numbers that size up the whole trace; None where nothing was measured."""
    measured = bool(ledger.ticks)
    seconds = ledger.measured_ns / NS_PER_SECOND
    by_section: Counter[str] = Counter()
    errors = 0
    for metric, section in SECTION_OF_EVENT.items():
        tally = ledger.total(metric)
        by_section[section] += tally.operations(metric)
        errors += errors_among(metric, tally.count, tally.errors)
    events = by_section.total()

    def count(metric: str) -> int | None:
        return ledger.total(metric).count if coverage.metric(metric) else None

    return Summary(
        events=events if measured else None,
        events_per_second=events / seconds if seconds else None,
        errors=errors if measured else None,
        operations=coverage.operations(by_section),
        processes=ledger.processes.seen if measured else None,
        execs=count("exec"),
        exits=count("exit"),
    )
