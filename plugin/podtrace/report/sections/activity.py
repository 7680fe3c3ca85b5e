"""Who did it and when: events by process, over time, and in bursts."""

from dataclasses import dataclass

from podtrace.model.snapshot import ProcessActivity, Snapshot, Timeline, TimelineBucket
from podtrace.report.instants import moment, time_of_day
from podtrace.report.measures import TOP, absent, caveat, in_window
from podtrace.report.prose import more, plural, rule, sentence
from podtrace.report.quantities import count, duration, percent, rate
from podtrace.report.sections.places import Places
from podtrace.report.sections.pods import has_several_pods
from podtrace.report.style import Style
from podtrace.report.table import Cell, name, number, table

_BAR = 32
_DAY = 86_400
_SECTIONS = {
    "dns": "DNS",
    "tcp": "TCP",
    "connections": "connections",
    "filesystem": "files",
    "processes": "processes",
}


def processes(snapshot: Snapshot, style: Style) -> list[str]:
    """Return the processes with most events and what kind of events."""
    activity = snapshot.process_activity
    if activity is None:
        return sentence(absent(snapshot, "process_activity"), style)
    lines = caveat(snapshot, style, "process_activity")
    if not activity:
        return lines + sentence(f"No process caused an event {in_window(snapshot)}.", style)
    pods = has_several_pods(snapshot.target)
    places = Places(activity, pods, style)
    columns = [
        number("PID", 5),
        name("process"),
        *places.columns,
        number("events", 6),
        *([] if pods else [number("share", 6)]),
        number("errors"),
        number("DNS"),
        number("TCP"),
        number("conn"),
        number("files"),
    ]
    rows = [_activity_row(process, places.cells(process), pods) for process in activity[:TOP]]
    lines += [*table(columns, rows, style), *more(TOP, activity, style)]
    if any(process.entered for process in activity[:TOP]):
        note = "+ entered the target from outside (an exec'd shell, a runtime's helper)"
        lines += ["", *sentence(note, style)]
    return lines


def timeline(snapshot: Snapshot, style: Style) -> list[str]:
    """Return one bar per bucket of the wall clock, as long as its rate."""
    section = snapshot.timeline
    if not section.buckets:
        return sentence(absent(snapshot), style)
    rates = _bar_rates(section)
    peak = max(rates.scale, default=0.0)
    scale = f"the longest bar is {rate(peak)}" if peak else "there was none"
    text = f"Events in buckets of {plural(section.bucket_seconds, 'second')}, UTC; {scale}."
    lines = sentence(text, style)
    # Stretches of days need the date, which takes room from the bars.
    long = len(section.buckets) * section.bucket_seconds > _DAY
    bar = _BAR // 2 if long else _BAR
    rows = [
        (
            moment(bucket.start) or "" if long else time_of_day(bucket.start),
            count(bucket.events) if bucket.events is not None else "",
            style.bar(speed / peak, bar) if peak and speed else "",
            _remark(bucket, section.bucket_seconds),
        )
        for bucket, speed in zip(section.buckets, rates.bars, strict=True)
    ]
    columns = (
        name("from", flexible=False, least=8),
        number("events", 8),
        name("", flexible=False, least=bar, limit=bar),
        name("", flexible=False),
    )
    return lines + table(columns, rows, style)


@dataclass(frozen=True)
class _Rates:
    """The rate that each bar stands for, and those among them that set the scale."""

    bars: tuple[float, ...]
    scale: tuple[float, ...]


def _bar_rates(section: Timeline) -> _Rates:
    """Return rates of buckets; one measured for less than half of its length tells a count.

    Four events in the last millisecond are no thousands a second.
    """
    rates = [bucket.events_per_second or 0.0 for bucket in section.buckets]
    long = [bucket.seconds >= section.bucket_seconds / 2 for bucket in section.buckets]
    scale = tuple(rate for rate, counts in zip(rates, long, strict=True) if counts)
    if not any(scale):
        return _Rates(tuple(rates), tuple(rates))
    bars = [
        rate if counts else (bucket.events or 0) / section.bucket_seconds
        for bucket, rate, counts in zip(section.buckets, rates, long, strict=True)
    ]
    return _Rates(tuple(bars), scale)


def bursts(snapshot: Snapshot, style: Style) -> list[str]:
    """Return the periods far above the typical rate, and the rule that finds them."""
    section = snapshot.bursts
    stated = rule(section.rule, style)
    typical = section.typical_events_per_second
    if not section.periods:
        if typical is None:
            return (
                sentence("Cannot be told: the trace is too short to know what is usual.", style)
                + stated
            )
        return (
            sentence(f"No burst: no rate stood out from the median of {rate(typical)}.", style)
            + stated
        )
    rows = [
        (
            time_of_day(burst.start),
            duration(burst.duration_seconds),
            count(burst.events),
            rate(burst.events_per_second),
            f"{burst.ratio_to_typical:.1f}x" if burst.ratio_to_typical is not None else "-",
            _SECTIONS.get(burst.leading_section, burst.leading_section),
            burst.leading_process or "",
        )
        for burst in section.periods[:TOP]
    ]
    columns = (
        name("from (UTC)", flexible=False),
        number("lasted", 7),
        number("events"),
        number("rate", 8),
        number("x usual"),
        name("mostly", flexible=False, limit=12),
        name("busiest process"),
    )
    lines = [*table(columns, rows, style), *more(TOP, section.periods, style), ""]
    if typical is not None:
        lines += sentence(f"Usual rate (median): {rate(typical)}", style)
    return lines + stated


def _activity_row(
    process: ProcessActivity, place: tuple[Cell, ...], pods: bool
) -> tuple[Cell, ...]:
    operations = process.operations
    return (
        str(process.pid) if process.pid is not None else "",
        f"{process.process} +" if process.entered else process.process,
        *place,
        count(process.events),
        # A column for the pod takes the room of the share.
        *(() if pods else (percent(process.share_ratio),)),
        count(process.errors),
        count(operations.dns),
        count(operations.tcp),
        count(operations.connections),
        count(operations.filesystem),
    )


def _remark(bucket: TimelineBucket, bucket_seconds: int) -> str:
    if bucket.events is None or not bucket.seconds:
        return "not measured"
    parts = []
    if bucket.errors:
        parts.append(plural(bucket.errors, "error"))
    if bucket.seconds < 0.995 * bucket_seconds:
        parts.append(f"only {duration(bucket.seconds)}")
    return ", ".join(parts)
