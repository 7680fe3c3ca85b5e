"""One trace from its first byte to its report: folds the stream and freezes snapshots of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from podtrace.model.bursts import find_bursts
from podtrace.model.coverage import Coverage
from podtrace.model.findings import Facts, find_issues
from podtrace.model.fleet import Fleet
from podtrace.model.histogram import NS_PER_SECOND
from podtrace.model.host import (
    cpu_section,
    cpu_usage_section,
    filesystem_section,
    io_other_section,
    process_activity_section,
)
from podtrace.model.ledger import Ledger
from podtrace.model.members import subject, target_section
from podtrace.model.network import connections_section, dns_section, tcp_section
from podtrace.model.notable import Notable, notable
from podtrace.model.overview import start_of, summary_section, window_section
from podtrace.model.patterns import connection_patterns, network_io
from podtrace.model.peers import PeerNames
from podtrace.model.pod_notes import PodNote
from podtrace.model.quality import losses, quality_section
from podtrace.model.recent import Recent
from podtrace.model.rules import RULES
from podtrace.model.snapshot import Snapshot, StreamHealth
from podtrace.model.thresholds import Thresholds
from podtrace.model.verdict import verdict
from podtrace.wire.codec import Decoder
from podtrace.wire.schema import NAMES

KEPT_NOTABLE = 200
MAX_ROWS = 100
MOST_NAMES = 100_000
"""Names of addresses that are taken from a recording."""


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
        self._fleet = Fleet(self.ledger.tracers)
        self._recorded_names: dict[str, str] = {}
        self._peers = PeerNames(self._recorded_names)
        self._decoder = Decoder()
        self._lines = 0
        self._pod_notes: list[PodNote] = []

    @property
    def hello(self) -> dict[str, Any] | None:
        """The hello lines that came, as one: not None once the first tracer has started."""
        return self._fleet.hello

    @property
    def end(self) -> dict[str, Any] | None:
        """The last lines as one: not None once every tracer has sent its own."""
        return self._fleet.end

    @property
    def error(self) -> dict[str, Any] | None:
        """The line with which a tracer gave up: not None once none of the others goes on."""
        return self._fleet.error

    @property
    def targets(self) -> tuple[dict[str, Any], ...]:
        """The targets of the tracers that have started, as hello describes them."""
        return tuple(item for _, item in self._fleet.targets)

    @property
    def streams_expected(self) -> int:
        """Number of tracers that were started, 0 where it is not known.

        Several have streams numbered from 1. One that never says anything makes the trace
        incomplete.
        """
        return self._fleet.expected

    @streams_expected.setter
    def streams_expected(self, number: int) -> None:
        self._fleet.expected = number

    def name_nodes(self, nodes: Mapping[int, str]) -> None:
        """Give the node of each stream, for what is said of tracers that never name theirs."""
        self._fleet.nodes = dict(nodes)

    def name_peers(self, names: Mapping[str, str]) -> None:
        """Give names to addresses, `10.0.0.1`, `10.0.0.1:80` or `[fd00::1]:80`.

        The mapping itself is kept, and looked into whenever a name is needed. Without one, names
        are those that a recording has.
        """
        self._peers = PeerNames(names)

    def note_pods(self, notes: Iterable[PodNote]) -> None:
        """Add what the cluster says of the pods; each is evidence of a finding."""
        self._pod_notes.extend(notes)

    def peer_names(self) -> dict[str, str]:
        """Return the names of the addresses that came in the stream."""
        return self._peers.those_of(self.ledger.labels["peer"].rows)

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
            if line["kind"] == NAMES:
                if len(self._recorded_names) < MOST_NAMES:
                    self._recorded_names.update(line["peers"])
                continue
            self._lines += 1
            for tick in self._fleet.feed(line):
                found += [self._notable(item, tick.stream) for item in self.ledger.fold(tick)]
        self.notable.extend(found)
        return found

    def finish(self) -> list[Notable]:
        """Note that the stream is over; return the events of a last line without newline."""
        found = self.fold(self._decoder.flush())
        self._fleet.finish()
        return found

    def recent(self, seconds: float = 5) -> Recent:
        """Return rates and latencies of the last seconds."""
        return self.ledger.recent.last(seconds, self.ledger.totals)

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
        ledger, limits, peers = self.ledger, thresholds or Thresholds(), self._peers
        coverage = Coverage(self.hello, ledger.totals)
        lost = losses(self._fleet, ledger)
        target = target_section(self._fleet, ledger, coverage)
        window = window_section(self._fleet, ledger, now_ns)
        summary = summary_section(ledger, coverage)
        pods = self._fleet.pods
        seconds = ledger.measured_ns / NS_PER_SECOND
        cpu = cpu_section(ledger, coverage)
        facts = Facts(ledger, coverage, limits, seconds, lost, peers, pods, tuple(self._pod_notes))
        issues = find_issues(RULES, facts)
        return Snapshot(
            target=target,
            window=window,
            verdict=verdict(
                window, summary, issues, lost, limits.lost_ratio, subject(target.members), cpu
            ),
            summary=summary,
            time_budget=None,
            dns=dns_section(ledger, coverage, rows),
            tcp=tcp_section(ledger, coverage, peers, rows),
            connections=connections_section(ledger, coverage, peers, rows),
            filesystem=filesystem_section(ledger, coverage, rows),
            io_other=io_other_section(ledger, coverage),
            cpu=cpu,
            cpu_usage=cpu_usage_section(ledger, coverage, pods),
            process_activity=process_activity_section(ledger, coverage, pods),
            timeline=ledger.timeline.shown(
                coverage, start_of(self._fleet, ledger) or 0, ledger.last_end_ns or 0
            ),
            bursts=find_bursts(ledger.timeline),
            connection_patterns=connection_patterns(ledger, coverage, peers, rows),
            network_io=network_io(ledger, coverage),
            issues=issues,
            quality=quality_section(self._fleet, ledger, coverage, self._stream_health()),
        )

    def _notable(self, line: dict[str, Any], stream: int) -> Notable:
        process = self.ledger.process_of(line, stream)
        return notable(line, process, self._fleet.pods.get(process.target), self._peers)

    def _stream_health(self) -> StreamHealth:
        fleet = self._fleet
        streams = fleet.streams.values()
        repeated = sum(ticks.sequence.repeated for ticks in streams)
        return StreamHealth(
            lines=self._lines - repeated,
            damaged=dict(sorted((self._decoder.damage + fleet.damage).items())),
            missing_lines=sum(ticks.sequence.missing for ticks in streams),
            repeated_lines=repeated,
            incomplete_ticks=fleet.missing_ticks,
            dropped_lines=sum(ticks.dropped for ticks in streams),
            unknown_kinds=sum(ticks.unknown.total() for ticks in streams),
        )
