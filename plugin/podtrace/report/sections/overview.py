"""What stands first: the title, the verdict and the summary."""

from podtrace.model.members import subject
from podtrace.model.snapshot import Operations, Snapshot, Target
from podtrace.model.wording import end_reason
from podtrace.report.instants import moment, time_of_day
from podtrace.report.measures import TOP, known
from podtrace.report.prose import facts, listing, more, plural, sentence
from podtrace.report.quantities import count, duration, percent, rate
from podtrace.report.sections.pods import has_pods, pods, whereabouts
from podtrace.report.style import Style
from podtrace.report.table import name, number, table

_VERDICT_MARGIN = 12


def title(snapshot: Snapshot, style: Style) -> list[str]:
    """Return the line that names the target, and those that say when and where."""
    window, target = snapshot.window, snapshot.target
    start = moment(window.start)
    when = f"{start} UTC" if start else "start unknown"
    where = [f"kernel {target.kernel}"] if target.kernel else []
    where += [target.arch] if target.arch else []
    head = style.text(f"podtrace report: {target_name(target)}", style.width, middle=True)
    line = f"{when}, {duration(window.measured_seconds)} measured, {' '.join(where)}"
    place = whereabouts(target)
    lines = [head, style.text(line.rstrip(", "), style.width)]
    return lines if place is None else [*lines, style.text(place, style.width)]


def target_name(target: Target) -> str:
    """Return `pod shop/web-0`, `3 pods of shop` or `cgroup demo`, not yet escaped."""
    pods = subject(target.members)
    if pods is not None:
        return f"pod {pods}" if len(target.members) == 1 else pods
    if target.name is None:
        return "unknown target"
    return f"{target.type} {target.name}" if target.type else target.name


def verdict(snapshot: Snapshot, style: Style) -> list[str]:
    """Return the status and the one to three lines that explain it."""
    lines: list[str] = []
    status = snapshot.verdict.status
    tag = status.upper()
    for line in snapshot.verdict.lines[:3]:
        text = line.removeprefix(f"{status.capitalize()}: ")
        first = f"{tag:<{_VERDICT_MARGIN}}" if not lines else " " * _VERDICT_MARGIN
        lines.extend(sentence(text, style, first=first, rest=" " * _VERDICT_MARGIN))
    return lines


def summary(snapshot: Snapshot, style: Style) -> list[str]:
    """Return the numbers that size up the whole trace."""
    totals, window = snapshot.summary, snapshot.window
    events = f"{count(totals.events)} ({rate(totals.events_per_second)})"
    rows = [
        ("Target", _target(snapshot.target)),
        ("Period", _period(snapshot)),
        ("Events", events if totals.events is not None else "not measured"),
        ("Errors", _errors(totals.errors, totals.events)),
        ("By section", _operations(totals.operations)),
        ("Processes", _processes(snapshot)),
        ("Ended because", _end(snapshot)),
        ("Losses", _losses(snapshot)),
    ]
    if not window.complete:
        rows.append(("Incomplete", window.incomplete_reason or "the end of the trace is missing"))
    lines = facts(rows, style)
    if totals.events == 0:
        lines += sentence("No event: the target did nothing that is an event.", style)
    return lines + _members(snapshot.target, style) + pods(snapshot, style)


def _target(target: Target) -> str:
    if has_pods(target):
        return listing(filter(None, (target_name(target), whereabouts(target))))
    places = [
        member.cgroup or (f"PID {member.pid}" if member.pid else "") for member in target.members
    ]
    place = places[0] if len(places) == 1 and places[0] else ""
    return f"{target_name(target)} ({place})" if place else target_name(target)


def _period(snapshot: Snapshot) -> str:
    window = snapshot.window
    start = moment(window.start)
    if start is None:
        return "unknown"
    text = f"{start} to {time_of_day(window.end)} UTC, {duration(window.seconds)}"
    if window.seconds - window.measured_seconds > 0.0005 * window.seconds:
        text += f", of which {duration(window.measured_seconds)} arrived"
    return text


def _errors(errors: int | None, events: int | None) -> str:
    if errors is None:
        return "not measured"
    if not errors or not events:
        return count(errors)
    failed = plural(errors, "failed event")
    return f"{failed} ({percent(errors / events)}); opens of missing files aside"


def _operations(operations: Operations) -> str:
    named = (
        ("DNS", operations.dns),
        ("TCP", operations.tcp),
        ("connections", operations.connections),
        ("files", operations.filesystem),
        ("processes", operations.processes),
    )
    return listing(f"{label} {known(count(value))}" for label, value in named)


def _processes(snapshot: Snapshot) -> str:
    totals = snapshot.summary
    if totals.processes is None:
        return "not measured"
    return listing(
        (
            f"{count(totals.processes)} seen",
            f"{known(count(totals.execs))} started"
            if totals.execs is not None
            else "starts not measured",
            f"{known(count(totals.exits))} ended"
            if totals.exits is not None
            else "ends not measured",
        )
    )


def _end(snapshot: Snapshot) -> str | None:
    window = snapshot.window
    if window.end_reason is None:
        return None
    reason = end_reason(window.end_reason)
    if window.exit_code is None:
        return reason
    if window.exit_code < 0:
        return f"{reason}, killed by signal {-window.exit_code}"
    return f"{reason} with exit code {window.exit_code}"


def _losses(snapshot: Snapshot) -> str:
    quality = snapshot.quality
    if not quality.lost_total:
        return "none"
    ratio = f" ({percent(quality.lost_ratio)})" if quality.lost_ratio is not None else ""
    return f"{plural(quality.lost_total, 'record')}{ratio}, see Trace Quality"


def _members(target: Target, style: Style) -> list[str]:
    if len(target.members) < 2 or has_pods(target):
        return []
    busiest = sorted(target.members, key=lambda member: -member.events)
    rows = [
        (member.name, member.type, member.cgroup or str(member.pid or ""), count(member.events))
        for member in busiest[:TOP]
    ]
    columns = (
        name("member"),
        name("type", flexible=False, limit=10),
        name("where"),
        number("events"),
    )
    return ["", *table(columns, rows, style), *more(TOP, busiest, style)]
