"""What one frame of the live view shows, apart from how it is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from podtrace.model.notable import Notable
from podtrace.model.recent import RecentKind
from podtrace.model.session import Session
from podtrace.model.snapshot import Snapshot
from podtrace.report.event_groups import EventGroups
from podtrace.report.events import is_notable, timed_sentence
from podtrace.report.style import Style

RECENT_SECONDS = 10
KEPT_EVENTS = 60
LISTED_ROWS = 8

_KINDS = (
    ("dns", "DNS look-up", "dns"),
    ("connect", "TCP connect", "connections"),
    ("accept", "TCP accept", "connections"),
    ("rtt", "round trip", "tcp"),
    ("retransmit", "retransmit", "tcp"),
    ("send", "TCP send", "tcp"),
    ("receive", "TCP receive", "tcp"),
    ("open", "file open", "filesystem"),
    ("read", "file read", "filesystem"),
    ("write", "file write", "filesystem"),
    ("fsync", "file fsync", "filesystem"),
    ("run_queue", "wait for CPU", "cpu"),
    ("blocked", "blocked", "cpu"),
)


@dataclass(frozen=True)
class Kind:
    """One kind of operation: rate and latency of the last seconds, errors of the whole trace."""

    name: str
    measured: bool
    per_second: float = 0.0
    p50_seconds: float | None = None
    p99_seconds: float | None = None
    max_seconds: float | None = None
    errors: int = 0


@dataclass(frozen=True)
class Frame:
    """The whole trace so far, and the last `recent_seconds` of it.

    `notable` holds sentences already escaped, each with its time of day, the newest last.
    """

    snapshot: Snapshot
    recent_seconds: float
    recent_events_per_second: float | None
    kinds: tuple[Kind, ...]
    notable: tuple[str, ...]


class FrameBuilder:
    """Makes frames of a session and remembers the latest notable events, equal ones as one."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._groups = EventGroups(KEPT_EVENTS)

    def note(self, events: Sequence[Notable]) -> None:
        """Take the events of new ticks, oldest first."""
        for event in events:
            if is_notable(event):
                self._groups.add(event)

    def frame(self, session: Session) -> Frame:
        """Return what there is to show now."""
        snapshot = session.snapshot(rows=LISTED_ROWS)
        lately = session.recent(RECENT_SECONDS)
        by_metric = {kind.metric: kind for kind in lately.kinds}
        timeouts = by_metric.get("dns_timeout")
        if timeouts is not None:
            # A look-up that nobody answered is one, too; it has no latency.
            answers = by_metric.setdefault("dns", timeouts)
            if answers is not timeouts:
                both = answers.per_second + timeouts.per_second
                by_metric["dns"] = replace(answers, per_second=both)
        return Frame(
            snapshot=snapshot,
            recent_seconds=lately.seconds,
            recent_events_per_second=lately.events_per_second,
            kinds=tuple(
                _kind(name, by_metric.get(metric), section, snapshot, _errors(session, metric))
                for metric, name, section in _KINDS
            ),
            notable=tuple(timed_sentence(event, self._style) for event in self._groups),
        )


def _errors(session: Session, metric: str) -> int:
    timeouts = session.ledger.total("dns_timeout").count if metric == "dns" else 0
    return session.ledger.total(metric).failed + timeouts


def _kind(
    name: str, found: RecentKind | None, section: str, snapshot: Snapshot, errors: int
) -> Kind:
    if found is None:
        return Kind(name, measured=getattr(snapshot, section) is not None, errors=errors)
    return Kind(
        name,
        True,
        found.per_second,
        found.p50_seconds,
        found.p99_seconds,
        found.max_seconds,
        errors,
    )
