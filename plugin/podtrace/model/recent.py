"""The last seconds of a trace, for a live view."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from podtrace.model.histogram import NS_PER_SECOND
from podtrace.model.tally import NOTHING, Tally
from podtrace.wire.schema import METRICS

KEPT_SECONDS = 60


@dataclass(frozen=True)
class RecentKind:
    """One metric lately; percentiles are None without durations."""

    metric: str
    count: int
    per_second: float
    errors: int
    bytes_per_second: float
    p50_seconds: float | None
    p99_seconds: float | None
    max_seconds: float | None


@dataclass(frozen=True)
class Recent:
    """All metrics seen in this trace, over the last `seconds` that were measured."""

    seconds: float
    events: int
    events_per_second: float | None
    cpu_percent: float | None
    kinds: tuple[RecentKind, ...]


@dataclass
class _Second:
    """What arrived while the newest clock of all tracers stood at one second."""

    number: int
    events: int = 0
    tallies: dict[str, Tally] = field(default_factory=dict)
    measured_ns: Counter[int] = field(default_factory=Counter)


class RecentTicks:
    """The newest ticks of all tracers, by the second in which they arrived.

    The clocks of nodes may differ. What counts here is when a tick arrived, as told by the newest
    tick of any tracer, so that a node whose clock is behind is not left out.
    """

    def __init__(self) -> None:
        self._seconds: deque[_Second] = deque(maxlen=KEPT_SECONDS)

    def add(
        self,
        stream: int,
        newest_end_ns: int,
        interval_ns: int,
        events: int,
        tallies: Mapping[str, Tally],
    ) -> None:
        """Add a tick."""
        number = -(-newest_end_ns // NS_PER_SECOND)
        if not self._seconds or number > self._seconds[-1].number:
            self._seconds.append(_Second(number))
        second = self._seconds[-1]
        second.events += events
        second.measured_ns[stream] += interval_ns
        _merge(second.tallies, tallies)

    def _whole_seconds(self) -> Iterator[_Second]:
        """Yield the seconds, the newest first; not the newest while tracers are due in it."""
        newest_first = reversed(self._seconds)
        if len(self._seconds) > 1:
            before, newest = self._seconds[-2], self._seconds[-1]
            if before.measured_ns.keys() - newest.measured_ns.keys():
                next(newest_first)
        yield from newest_first

    def last(self, seconds: float, metrics: Collection[str]) -> Recent:
        """Return rates and latencies over the newest ticks that make up at least `seconds`.

        Args:
            seconds: of what was measured; tracers at the same time count once.
            metrics: those that the trace has seen at all.
        """
        measured: Counter[int] = Counter()
        measured_ns = events = 0
        tallies: dict[str, Tally] = {}
        for second in self._whole_seconds():
            if measured_ns >= seconds * NS_PER_SECOND:
                break
            measured.update(second.measured_ns)
            measured_ns = max(measured.values())
            events += second.events
            _merge(tallies, second.tallies)
        length = measured_ns / NS_PER_SECOND
        cpu_ns = tallies.get("cpu", NOTHING).durations.sum_ns
        return Recent(
            seconds=length,
            events=events,
            events_per_second=events / length if length else None,
            cpu_percent=100 * cpu_ns / measured_ns if measured_ns else None,
            kinds=tuple(
                _kind(metric, tallies.get(metric, NOTHING), length)
                for metric in METRICS
                if metric in metrics
            ),
        )


def _merge(total: dict[str, Tally], tallies: Mapping[str, Tally]) -> None:
    for metric, tally in tallies.items():
        found = total.get(metric)
        if found is None:
            found = total[metric] = Tally()
        found.merge(tally)


def _kind(metric: str, tally: Tally, seconds: float) -> RecentKind:
    p50, p99 = tally.durations.quantiles((0.5, 0.99))
    operations = tally.operations(metric)
    return RecentKind(
        metric=metric,
        count=operations,
        per_second=operations / seconds if seconds else 0.0,
        errors=tally.failed,
        bytes_per_second=tally.bytes / seconds if seconds else 0.0,
        p50_seconds=p50,
        p99_seconds=p99,
        max_seconds=tally.durations.max_ns / NS_PER_SECOND if tally.durations.count else None,
    )
