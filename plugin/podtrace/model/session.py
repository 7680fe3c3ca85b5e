"""One trace from its first byte to its report: folds the stream and freezes snapshots of it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Any

from podtrace.model.bursts import find_bursts
from podtrace.model.clock import rfc3339
from podtrace.model.coverage import Coverage
from podtrace.model.findings import Facts, find_issues
from podtrace.model.histogram import NS_PER_SECOND
from podtrace.model.host import (
    cpu_section,
    cpu_usage_section,
    filesystem_section,
    io_other_section,
    process_activity_section,
)
from podtrace.model.ledger import Ledger
from podtrace.model.network import connections_section, dns_section, tcp_section
from podtrace.model.notable import Notable, notable
from podtrace.model.patterns import connection_patterns, network_io
from podtrace.model.recent import Recent, recent
from podtrace.model.rules import RULES
from podtrace.model.snapshot import (
    Quality,
    Snapshot,
    StreamHealth,
    Summary,
    Target,
    TargetMember,
    Window,
)
from podtrace.model.tally import SECTION_OF_EVENT, errors_among
from podtrace.model.thresholds import Thresholds
from podtrace.model.verdict import OPEN, verdict
from podtrace.wire.codec import Decoder
from podtrace.wire.ticks import Ticks

KEPT_NOTABLE = 200
MAX_ROWS = 100


class Session:
    """Takes the stream as bytes (`feed`) or decoded lines (`fold`), and `finish` at its end.

    `snapshot` and `recent` may be called at any moment. Nothing in the stream raises, but a hello
    line of another schema.

    Attributes:
        notable: the newest event lines, oldest first.
        ledger: the sums so far.
    """

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.notable: deque[Notable] = deque(maxlen=KEPT_NOTABLE)
        self._decoder = Decoder()
        self._ticks = Ticks()
        self._lines = 0
        self._highest_tick = 0
        self._finished = False

    @property
    def hello(self) -> dict[str, Any] | None:
        """The tracer's hello line, once it came."""
        return self._ticks.hello

    @property
    def end(self) -> dict[str, Any] | None:
        """The tracer's last line, once it came."""
        return self._ticks.end

    @property
    def error(self) -> dict[str, Any] | None:
        """The line with which a tracer gave up, if it did."""
        return self._ticks.error

    def feed(self, chunk: bytes) -> list[Notable]:
        """Take bytes of the stream; return the events of the ticks that they complete.

        Raises:
            SchemaMismatchError: The stream has another major version of the schema.
        """
        return self.fold(self._decoder.feed(chunk))

    def fold(self, lines: Iterable[dict[str, Any]]) -> list[Notable]:
        """Take lines as the decoder gives them; otherwise as `feed`."""
        found: list[Notable] = []
        for line in lines:
            self._lines += 1
            for tick in self._ticks.feed(line):
                self._highest_tick = max(self._highest_tick, tick.number)
                processes = self.ledger.processes
                found += [
                    notable(item, processes.current(item.get("process") or 0))
                    for item in self.ledger.fold(tick)
                ]
        self.notable.extend(found)
        return found

    def finish(self) -> list[Notable]:
        """Note that the stream is over; return the events of a last line without newline."""
        found = self.fold(self._decoder.flush())
        self._ticks.flush()
        self._finished = True
        return found

    def recent(self, seconds: float = 5) -> Recent:
        """Return rates and latencies of the last seconds."""
        return recent(self.ledger, seconds)

    def snapshot(
        self,
        thresholds: Thresholds | None = None,
        now_ns: int | None = None,
        rows: int = MAX_ROWS,
    ) -> Snapshot:
        """Return the report as of now.

        Args:
            thresholds: limits of the findings.
            now_ns: the wall clock, for the length of a window that is still open.
            rows: how many names, peers and files to list; fewer are faster.
        """
        ledger, limits = self.ledger, thresholds or Thresholds()
        coverage = Coverage(self.hello, ledger.totals)
        lost_ratio = self._lost_ratio()
        window = self._window(now_ns)
        summary = self._summary(coverage)
        seconds = ledger.measured_ns / NS_PER_SECOND
        issues = find_issues(RULES, Facts(ledger, coverage, limits, seconds, lost_ratio))
        return Snapshot(
            target=self._target(),
            window=window,
            verdict=verdict(window, summary, issues, lost_ratio, limits.lost_ratio),
            summary=summary,
            time_budget=None,
            dns=dns_section(ledger, coverage, rows),
            tcp=tcp_section(ledger, coverage, rows),
            connections=connections_section(ledger, coverage, rows),
            filesystem=filesystem_section(ledger, coverage, rows),
            io_other=io_other_section(ledger, coverage),
            cpu=cpu_section(ledger, coverage),
            cpu_usage=cpu_usage_section(ledger, coverage),
            process_activity=process_activity_section(ledger, coverage),
            timeline=ledger.timeline.shown(
                coverage, self._start_ns() or 0, ledger.last_end_ns or 0
            ),
            bursts=find_bursts(ledger.timeline),
            connection_patterns=connection_patterns(ledger, coverage, rows),
            network_io=network_io(ledger, coverage),
            issues=issues,
            quality=self._quality(coverage),
        )

    def _missing_ticks(self) -> int:
        """Return ticks that did not arrive whole; one that the stream's end cut off is none."""
        last = max(self._highest_tick, (self.end or {}).get("tick") or 0)
        return max(last - self.ledger.ticks, 0)

    def _lost_ratio(self) -> float:
        lost = self.ledger.lost.total()
        records = lost / (lost + self.ledger.events) if lost else 0.0
        missing = self._missing_ticks()
        return max(records, missing / (missing + self.ledger.ticks) if missing else 0.0)

    def _start_ns(self) -> int | None:
        start_ns: int | None = (self.hello or {}).get("window_start_ns")
        return start_ns or self.ledger.first_start_ns

    def _window(self, now_ns: int | None) -> Window:
        start_ns, end_ns = self._start_ns(), self.ledger.last_end_ns
        over = self._finished or self.end is not None or self.error is not None
        if now_ns is not None and not over:
            end_ns = max(now_ns, end_ns or 0)
        if end_ns is None:
            end_ns = start_ns
        reason = self._incomplete_reason()
        length_ns = max(end_ns - start_ns, 0) if start_ns and end_ns else 0
        return Window(
            start=rfc3339(start_ns) if start_ns else None,
            end=rfc3339(end_ns) if end_ns else None,
            seconds=length_ns / NS_PER_SECOND,
            measured_seconds=self.ledger.measured_ns / NS_PER_SECOND,
            ticks=self.ledger.ticks,
            complete=reason is None,
            incomplete_reason=reason,
            end_reason=(self.end or {}).get("reason"),
            exit_code=(self.end or {}).get("exit_code"),
        )

    def _incomplete_reason(self) -> str | None:
        if self.error is not None:
            return f"the tracer gave up: {self.error['message']}"
        if self.end is None and not self._finished:
            return OPEN
        if self.hello is None and not self.ledger.ticks:
            return "nothing was received from the tracer"
        if self.end is None:
            return "the tracer ended without its last line"
        missing = self._missing_ticks()
        if missing:
            return f"{missing} of {missing + self.ledger.ticks} ticks did not arrive whole"
        return None

    def _target(self) -> Target:
        hello = self.hello or {}
        members = tuple(
            TargetMember(
                id=item.get("id") or 0,
                type=item.get("type") or "",
                name=item.get("name") or "",
                namespace=item.get("namespace"),
                pod=item.get("pod"),
                cgroup=item.get("cgroup"),
                pid=item.get("pid"),
                events=self.ledger.target_events[item.get("id") or 0],
            )
            for item in hello.get("targets") or ()
        )
        first = members[0] if members else None
        return Target(
            type=first.type if first else None,
            name=", ".join(member.name for member in members) if members else None,
            namespace=first.namespace if first else None,
            pod=first.pod if first else None,
            kernel=hello.get("kernel"),
            arch=hello.get("arch"),
            cgroup_mode=hello.get("cgroup_mode"),
            cpus=hello.get("cpus"),
            members=members,
        )

    def _summary(self, coverage: Coverage) -> Summary:
        ledger = self.ledger
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

    def _quality(self, coverage: Coverage) -> Quality:
        ledger, hello, ticks = self.ledger, self.hello or {}, self._ticks
        lost = ledger.lost.total()
        recorded = ledger.events + lost
        cpu_ns = ledger.tracer_cpu_ns
        share = cpu_ns / ledger.measured_ns if cpu_ns is not None and ledger.measured_ns else None
        return Quality(
            lost=dict(sorted(ledger.lost.items())),
            lost_total=lost,
            lost_ratio=lost / recorded if recorded else 0.0 if ledger.ticks else None,
            overflow=ledger.overflow,
            suppressed=ledger.suppressed,
            probes=coverage.probes(),
            degraded_sections=coverage.degraded_sections(),
            stream=StreamHealth(
                lines=self._lines - ticks.sequence.repeated,
                damaged=dict(sorted((self._decoder.damage + ticks.damage).items())),
                missing_lines=ticks.sequence.missing,
                repeated_lines=ticks.sequence.repeated,
                incomplete_ticks=self._missing_ticks(),
                dropped_lines=ticks.dropped,
                unknown_kinds=ticks.unknown.total(),
            ),
            tracer_version=hello.get("tracer"),
            stream_schema=hello.get("schema"),
            tracer_cpu_seconds=None if cpu_ns is None else cpu_ns / NS_PER_SECOND,
            tracer_cpu_percent=None if share is None else 100 * share,
            tracer_memory_bytes=ledger.tracer_memory_bytes,
            map_bytes=hello.get("map_bytes"),
            bpf_seconds_estimate=None if ledger.bpf_ns is None else ledger.bpf_ns / NS_PER_SECOND,
        )
