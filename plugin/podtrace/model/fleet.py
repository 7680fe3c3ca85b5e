"""The tracers of one trace: what each said first and last, and whether all of it arrived.

There is mostly one. Pods on several nodes have one a node, whose lines carry the number of their
stream; the trace is complete when each of them is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from podtrace.model.hello import Line, merged_hello
from podtrace.model.histogram import NS_PER_SECOND
from podtrace.model.tracers import TracerSums, TracerTable
from podtrace.model.wording import end_reason, number, on_nodes, seconds
from podtrace.wire.schema import END, ERROR, HELLO
from podtrace.wire.streams import Streams
from podtrace.wire.ticks import Tick, Ticks

OPEN = "tracing goes on"
"""Reason of a window that is not over yet: no cause for doubt."""
EARLY_NS = 5 * NS_PER_SECOND
"""When a tracer ends, the others may go on for so long without its part being missed."""
REGULAR_ENDS = frozenset({"deadline", "command_exited"})
"""A tracer that ends so has measured for as long as it was asked to."""
MOST_FAULTS = 3


@dataclass(frozen=True)
class Member:
    """One tracer; `fault` is what makes its part incomplete, None where nothing does so far.

    `label` names it in sentences, `node` is None where nobody said on which it runs.
    """

    stream: int
    label: str
    node: str | None
    ticks: Ticks
    sums: TracerSums
    fault: str | None

    @property
    def over(self) -> bool:
        """Whether its last line came."""
        return _is_over(self.ticks)


class Fleet:
    """Sorts lines by tracer and answers for all of them together.

    Attributes:
        expected: number of tracers that were started, if known; of several, the streams are
            numbered from 1.
        nodes: names of nodes by stream, for tracers that never said theirs.
        finished: no line comes any more.
        targets: the node and the description of every target, as hello has it.
        pods: names of the targets that are pods, by their numbers.
    """

    def __init__(self, sums: TracerTable) -> None:
        self.expected = 0
        self.nodes: dict[int, str] = {}
        self.finished = False
        self.streams = Streams()
        self._sums = sums
        self._hello: Line | None = None
        self.targets: tuple[tuple[str | None, Line], ...] = ()
        self.pods: dict[int, str] = {}
        self._progress_at_end: dict[int, dict[int, int]] = {}

    def feed(self, line: Line) -> list[Tick]:
        """Take one line; return the tick that it completes, if any.

        Raises:
            SchemaMismatchError: It is a hello line of another major version.
        """
        whole = self.streams.feed(line)
        kind = line["kind"]
        if kind == HELLO:
            self._hello = None
            self._note_targets()
        elif kind in (END, ERROR):
            stream = line.get("stream") or 0
            self._progress_at_end.setdefault(stream, self._progress())
        return whole

    def finish(self) -> None:
        """Note that no line comes any more."""
        self.streams.flush()
        self.finished = True

    @property
    def numbers(self) -> list[int]:
        """The streams that there are or should be; one at least."""
        expected = range(1, self.expected + 1) if self.expected > 1 else ()
        return sorted({*self.streams, *expected}) or [0]

    @property
    def several(self) -> bool:
        """Whether there is more than one tracer."""
        return self.expected > 1 or len(self.streams) > 1

    @property
    def over(self) -> bool:
        """Whether no tracer goes on."""
        return self.finished or all(_is_over(self._ticks(stream)) for stream in self.numbers)

    @property
    def hello(self) -> Line | None:
        """The hello lines that came, as one."""
        if self._hello is None:
            found = [
                (self.label(stream), ticks.hello)
                for stream, ticks in sorted(self.streams.items())
                if ticks.hello is not None
            ]
            self._hello = merged_hello(found)
        return self._hello

    @property
    def end(self) -> Line | None:
        """The last lines of all tracers as one, once each of them has sent its own."""
        ends = [self._ticks(stream).end for stream in self.numbers]
        came = [end for end in ends if end is not None]
        if len(came) < len(ends):
            return None
        if len(came) == 1:
            return came[0]
        last = max(came, key=lambda end: int(end["time_ns"]))
        return last | {"tick": max(end.get("tick") or 0 for end in came)}

    @property
    def error(self) -> Line | None:
        """The line with which a tracer gave up, once none of the others goes on."""
        errors = [
            (stream, ticks.error)
            for stream, ticks in sorted(self.streams.items())
            if ticks.error is not None
        ]
        if not errors:
            return None
        if not self.over:
            return None
        stream, error = errors[0]
        if not self.several:
            return error
        return error | {"message": f"{on_nodes([self.label(stream)])}: {error['message']}"}

    @property
    def missing_ticks(self) -> int:
        """Ticks that did not arrive whole; those that the end of a stream cut off are none."""
        return sum(map(self._missing_ticks, self.numbers))

    @property
    def damage(self) -> Counter[str]:
        """Lines that could be read, but not be true, by reason."""
        return sum((ticks.damage for ticks in self.streams.values()), self.streams.damage)

    def label(self, stream: int) -> str:
        """Return the name of a tracer's node, or else which of the tracers it is."""
        return self._node(stream) or f"tracer {stream}"

    def members(self) -> tuple[Member, ...]:
        """Return every tracer, in the order of their streams."""
        return tuple(
            Member(
                stream=stream,
                label=self.label(stream),
                node=self._node(stream),
                ticks=self._ticks(stream),
                sums=self._sums.get(stream, TracerSums()),
                fault=self._fault(stream),
            )
            for stream in self.numbers
        )

    def incomplete_reason(self) -> str | None:
        """Return why part of the trace is missing or not there yet, None where all is there."""
        members = self.members()
        faults: dict[str, list[str]] = {}
        for member in members:
            if member.fault is not None:
                faults.setdefault(member.fault, []).append(member.label)
        if not faults:
            return None if self.over else OPEN
        if not self.several:
            return next(iter(faults))
        texts = [
            f"{on_nodes(labels) if len(labels) < len(members) else 'on every node'}: {fault}"
            for fault, labels in faults.items()
        ]
        rest = len(texts) - MOST_FAULTS
        more = [f"and {number(rest, 'more reason')}"] if rest > 0 else []
        return "; ".join([*texts[:MOST_FAULTS], *more])

    def _note_targets(self) -> None:
        self.targets = tuple(
            (self._node(stream), item)
            for stream, ticks in sorted(self.streams.items())
            for item in (ticks.hello or {}).get("targets") or ()
        )
        self.pods = {
            item["id"]: item["pod"]
            for _, item in self.targets
            if item.get("id") and item.get("pod")
        }

    def _ticks(self, stream: int) -> Ticks:
        return self.streams.get(stream) or _NOTHING

    def _node(self, stream: int) -> str | None:
        return (self._ticks(stream).hello or {}).get("node") or self.nodes.get(stream)

    def _missing_ticks(self, stream: int) -> int:
        sums = self._sums.get(stream)
        highest, whole = (sums.highest_tick, sums.ticks) if sums else (0, 0)
        last = max(highest, (self._ticks(stream).end or {}).get("tick") or 0)
        return max(last - whole, 0)

    def _fault(self, stream: int) -> str | None:
        ticks, sums = self._ticks(stream), self._sums.get(stream)
        whole = sums.ticks if sums else 0
        if ticks.error is not None:
            return f"the tracer gave up: {ticks.error['message']}"
        if ticks.end is None and not self.finished:
            return None
        if ticks.hello is None and not whole:
            return "nothing was received from the tracer"
        if ticks.end is None:
            return "the tracer ended without its last line"
        missing = self._missing_ticks(stream)
        if missing:
            return f"{missing} of {missing + whole} ticks did not arrive whole"
        return self._early(stream, ticks.end)

    def _early(self, stream: int, end: Line) -> str | None:
        if not self.several or end["reason"] in REGULAR_ENDS:
            return None
        before = self._progress_at_end.get(stream, {})
        ahead_ns = max(
            (
                last_ns - before.get(other, self._sums[other].first_start_ns or 0)
                for other, last_ns in self._progress().items()
                if other != stream
            ),
            default=0,
        )
        if ahead_ns < EARLY_NS:
            return None
        why = end_reason(end["reason"])
        return f"the tracer ended {seconds(ahead_ns / NS_PER_SECOND)} before the others: {why}"

    def _progress(self) -> dict[int, int]:
        """Return the end of the last tick of each stream, by its own clock."""
        return {
            stream: sums.last_end_ns
            for stream, sums in self._sums.items()
            if sums.last_end_ns is not None
        }


def _is_over(ticks: Ticks) -> bool:
    return ticks.end is not None or ticks.error is not None


_NOTHING = Ticks()
