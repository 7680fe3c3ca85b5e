"""The live view where there is no terminal to redraw: plain lines, one after the other.

One line for each notable event, and every five seconds one that sums up.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from podtrace.model.notable import Notable
from podtrace.model.recent import Recent
from podtrace.model.session import Session
from podtrace.model.snapshot import Snapshot
from podtrace.report.event_groups import EventGroups
from podtrace.report.events import is_notable, timed_sentence
from podtrace.report.instants import time_of_day
from podtrace.report.messages import write_ending, write_message
from podtrace.report.prose import plural
from podtrace.report.quantities import count, duration, percent, rate
from podtrace.report.sections.overview import target_name
from podtrace.report.sections.pods import has_several_pods, pod_of
from podtrace.report.style import PLAIN, Style

SUMMARY_SECONDS = 5
MOST_PODS = 20
MOST_EVENTS = 20
"""Lines for the events of one update; a storm must not drown the reader."""

_NAMES = {"dns": "DNS", "connect": "connect", "rtt": "RTT", "fsync": "fsync"}


class PlainLiveView:
    """Writes lines as things happen.

    Args:
        write: takes text with its line ends, and flushes it.
        style: what the output can show.
    """

    def __init__(self, write: Callable[[str], object], style: Style = PLAIN) -> None:
        self._write = write
        self._style = style
        self._summed_up_ns: int | None = None
        self._told: set[int] = set()

    def say(self, text: str) -> None:
        """Pass on what the source has to say."""
        write_message(text)

    def notice(self, text: str) -> None:
        """Pass it on, once."""
        write_message(text)

    def begin(self, session: Session) -> None:
        """Say what is traced."""
        snapshot = session.snapshot(rows=0)
        kernel = snapshot.target.kernel or "unknown"
        text = f"tracing {target_name(snapshot.target)} on kernel {kernel}; times are UTC"
        lines = [text]
        lines += [
            f"not fully measured: {section.section} ({section.reason or section.state})"
            for section in snapshot.quality.degraded_sections
        ]
        self._say([self._style.text(line) for line in lines])
        self._told = {member.id for member in snapshot.target.members}

    def update(self, events: Sequence[Notable], session: Session) -> None:
        """Write the notable events of new ticks, and the summary when it is time."""
        groups = EventGroups(max(len(events), 1))
        for event in filter(is_notable, events):
            groups.add(event)
        notable = list(groups)
        lines = [timed_sentence(event, self._style) for event in notable[:MOST_EVENTS]]
        rest = sum(event.times for event in notable[MOST_EVENTS:])
        if rest:
            hidden = plural(rest, "notable event")
            lines.append(f"{self._style.ellipsis} and {hidden} more")
        if self._told:
            lines = [*self._newcomers(session), *lines]
        now_ns = session.ledger.last_end_ns
        if now_ns is not None:
            if self._summed_up_ns is None:
                self._summed_up_ns = session.ledger.first_start_ns or now_ns
            # Ticks end at whole seconds, except the first and the last.
            if now_ns - self._summed_up_ns >= (SUMMARY_SECONDS - 0.5) * 1e9:
                self._summed_up_ns = now_ns
                snapshot = session.snapshot(rows=0)
                lines.append(summary_line(snapshot, session.recent(SUMMARY_SECONDS)))
                if has_several_pods(snapshot.target):
                    lines.append(self._style.text(pods_line(snapshot)))
        self._say(lines)

    def idle(self, session: Session) -> None:
        """There is nothing to say while nothing comes."""

    def ending(self) -> None:
        """Say so to whoever pressed Ctrl-C; it is no part of the view's lines."""
        write_ending()

    def close(self) -> None:
        """There is nothing to give back."""

    def _newcomers(self, session: Session) -> list[str]:
        """Say what a tracer traces that came after the first one."""
        found = [item for item in session.targets if (item.get("id") or 0) not in self._told]
        self._told |= {item.get("id") or 0 for item in found}
        return [self._style.text(f"also tracing {_target_words(item)}") for item in found]

    def _say(self, lines: Sequence[str]) -> None:
        if lines:
            self._write("".join(f"{self._style.glyphs(line)}\n" for line in lines))


def _target_words(target: Mapping[str, Any]) -> str:
    place = f"{target['namespace']}/" if target.get("namespace") else ""
    return f"{target.get('type') or 'target'} {place}{target.get('name') or ''}"


def pods_line(snapshot: Snapshot) -> str:
    """Return one line with the events and errors of each pod so far, not yet escaped."""
    busiest = sorted(snapshot.target.members, key=lambda member: -member.events)
    parts = [
        f"{pod_of(member, snapshot.target)} {plural(member.events, 'event')}"
        + (f" {plural(member.errors, 'error')}" if member.errors else "")
        for member in busiest[:MOST_PODS]
    ]
    rest = len(busiest) - MOST_PODS
    more = [f"and {rest} more pods"] if rest > 0 else []
    return f"{time_of_day(snapshot.window.end)} by pod so far: {', '.join([*parts, *more])}"


def summary_line(snapshot: Snapshot, recent: Recent) -> str:
    """Return one line on the last seconds and on the trace so far, free of foreign text."""
    quality = snapshot.quality
    parts = [
        f"{rate(recent.events_per_second)} events",
        f"{count(snapshot.summary.events)} so far",
        f"{plural(snapshot.summary.errors or 0, 'error')} so far",
        f"lost {count(quality.lost_total)}",
    ]
    if recent.cpu_percent is not None:
        parts.append(f"CPU {percent(recent.cpu_percent / 100)}")
    parts += [
        f"{_NAMES[kind.metric]} p50 {duration(kind.p50_seconds)}"
        for kind in recent.kinds
        if kind.metric in _NAMES and kind.p50_seconds is not None
    ]
    return f"{time_of_day(snapshot.window.end)} {', '.join(parts)}"
