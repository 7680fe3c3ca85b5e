"""Lays one frame of the live view out in the lines of a terminal of any size.

The frame is built as plain lines, as the report is. Panels have an order of worth: when the
terminal is low, the less worthy are left out, and lists are shortened before that.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from podtrace.model.fleet import OPEN
from podtrace.report.escape import cell_width
from podtrace.report.live_frame import Frame, Kind
from podtrace.report.measures import endpoint
from podtrace.report.quantities import count, duration, percent, rate, size, span
from podtrace.report.sections.overview import target_name
from podtrace.report.sections.places import Placed, Places
from podtrace.report.sections.pods import has_several_pods, pod_of
from podtrace.report.style import Style
from podtrace.report.table import INDENT, Cell, name, number, table

LEAST_HEIGHT = 15
"""Below this the latest events are not to be seen any more."""
_WIDE = 110
_ROOMY = 70
_LIST = 8
_LEAST_PODS, _MOST_PODS = 3, 6
_KINDS_SHARE = 14

FOOTER = "Ctrl-C ends the trace and prints the report"
DEGRADED = "degraded: "
EVENTS_HEADING = "latest notable events"


def frame_lines(frame: Frame, elapsed_seconds: float, style: Style, height: int) -> list[str]:
    """Return exactly `height` plain lines, none wider than the style's width."""
    head = _header(frame, elapsed_seconds, style)
    room = height - len(head) - 1
    return filled([*head, *_panels(frame, style, room)[: max(room, 0)]], style, height)


def filled(lines: Sequence[str], style: Style, height: int) -> list[str]:
    """Return the lines with empty ones and the footer below them, `height` in all."""
    upper = [*lines, *([""] * height)][: max(height - 1, 0)]
    return [style.clip(line).rstrip() for line in [*upper, style.text(FOOTER, style.width)]]


def _header(frame: Frame, elapsed_seconds: float, style: Style) -> list[str]:
    quality, window = frame.snapshot.quality, frame.snapshot.window
    lost = f"lost {count(quality.lost_total)}"
    if quality.lost_ratio:
        lost += f" ({percent(quality.lost_ratio)})"
    cpu = quality.tracer_cpu_percent
    own = f"cost {percent(cpu / 100)} CPU" if cpu is not None else "cost unknown"
    if quality.tracer_memory_bytes is not None:
        own += f", {size(quality.tracer_memory_bytes)}"
    speed = f"{rate(frame.recent_events_per_second)} events"
    figures = [span(elapsed_seconds), speed, lost, own]
    lines = _joined(target_name(frame.snapshot.target), figures, style)
    trouble = [f"{section.section} {section.state}" for section in quality.degraded_sections]
    broken = sum(probe.state != "attached" for probe in quality.probes)
    if broken:
        trouble.insert(0, f"{broken} of {len(quality.probes)} probes not attached")
    if window.incomplete_reason not in (None, OPEN):
        trouble.insert(0, window.incomplete_reason or "")
    waiting = [tracer for tracer in quality.tracers if not tracer.ticks]
    if waiting and window.incomplete_reason == OPEN:
        came, of = len(quality.tracers) - len(waiting), len(quality.tracers)
        names = ", ".join(tracer.node or f"tracer {tracer.stream}" for tracer in waiting)
        text = f"counting on {came} of {of} nodes; waiting for {names}"
        lines += [style.text(text, style.width)] if of > 1 else []
    if trouble:
        lines.append(style.text(f"{DEGRADED}{', '.join(trouble)}", style.width))
    return [*lines, ""]


def _joined(title: str, figures: Sequence[str], style: Style) -> list[str]:
    """Return the target and the figures on one line, or on two where they do not fit."""
    line = style.text("   ".join(figures), style.width)
    room = style.width - cell_width(line) - 3
    safe = style.text(title, max(room, style.width // 3), middle=True)
    if cell_width(safe) <= room:
        return [f"{safe}   {line}"]
    return [style.text(title, style.width, middle=True), line]


def _panels(frame: Frame, style: Style, room: int) -> list[str]:
    """Return the panels that fit: kinds first, then events, pods, processes and targets."""
    members = frame.snapshot.target.members
    for_pods = min(len(members), _LEAST_PODS) + 2 if has_several_pods(frame.snapshot.target) else 0
    kinds = _kinds(frame, style, min(_KINDS_SHARE, max(room - 5 - for_pods, 4)))
    rest = room - len(kinds)
    lists = _side_by_side if style.width >= _WIDE else _stacked
    events_least = min(max(len(frame.notable), 1), 3 if room < 30 else 5) + 2
    pods = _pods(frame, style, rest - events_least)
    rest -= len(pods)
    middle = lists(frame, style, rest - events_least) if rest - events_least >= 3 else []
    rest -= len(middle)
    return [*kinds, *pods, *middle, *_events(frame, style, rest)]


def _kinds(frame: Frame, style: Style, room: int) -> list[str]:
    shown = list(frame.kinds)
    if len(shown) + 1 > room:
        busy = [kind for kind in shown if kind.per_second or kind.errors]
        shown = (busy or shown)[: room - 1]
    rows = [_kind_row(kind) for kind in shown]
    columns = (
        name(f"last {frame.recent_seconds:.0f} s", flexible=False, least=12),
        number("rate", 8),
        number("p50", 7),
        number("p99", 7),
        number("max", 7),
        number("errors so far" if style.width >= _ROOMY else "all err"),
    )
    return table(columns, rows, style)


def _kind_row(kind: Kind) -> tuple[str, ...]:
    if not kind.measured:
        return (kind.name, "", "", "", "", "unknown")
    return (
        kind.name,
        rate(kind.per_second),
        duration(kind.p50_seconds),
        duration(kind.p99_seconds),
        duration(kind.max_seconds),
        count(kind.errors),
    )


def _stacked(frame: Frame, style: Style, room: int) -> list[str]:
    """Return processes above targets; targets are left out first."""
    both = room >= 8
    first = _processes(frame, style, (room - 2) // 2 if both else room - 1)
    lines = ["", *first] if first else []
    second = _targets(frame, style, room - len(lines) - 1) if both else []
    return [*lines, *(["", *second] if second else [])]


def _side_by_side(frame: Frame, style: Style, room: int) -> list[str]:
    half = replace(style, width=style.width // 2 - 1)
    left = _processes(frame, half, room - 1)
    right = _targets(frame, half, room - 1)
    height = max(len(left), len(right))
    left += [""] * (height - len(left))
    right += [""] * (height - len(right))
    if not height:
        return []
    return [
        "",
        *(
            one + " " * (half.width + 2 - cell_width(one)) + two
            for one, two in zip(left, right, strict=True)
        ),
    ]


def _pods(frame: Frame, style: Style, room: int) -> list[str]:
    """Return a row for each pod, if there are several and it is not too low."""
    target, seconds = frame.snapshot.target, frame.snapshot.window.measured_seconds
    if not has_several_pods(target) or room < 4:
        return []
    busiest = sorted(target.members, key=lambda member: -member.events)
    rows: list[tuple[Cell, ...]] = [
        (
            (f"{pod_of(member, target)} on {member.node}", pod_of(member, target))
            if member.node
            else pod_of(member, target),
            percent(member.cpu_seconds / seconds)
            if member.cpu_seconds is not None and seconds
            else "-",
            count(member.events),
            count(member.errors),
            count(member.restarts),
        )
        for member in busiest
    ]
    shown = max(min(len(rows), room - 2, _MOST_PODS), 1)
    cut = f" ({shown} of {len(rows)})" if shown < len(rows) else ""
    columns = (
        name(f"pods{cut}"),
        number("CPU", 7),
        number("events", 7),
        number("errors"),
        number("restarts"),
    )
    return ["", *table(columns, rows[:shown], style)]


def _processes(frame: Frame, style: Style, room: int) -> list[str]:
    activity = frame.snapshot.process_activity or ()
    usage = frame.snapshot.cpu_usage or ()
    rows: tuple[Placed, ...] = (*usage, *activity)
    several = has_several_pods(frame.snapshot.target)
    # The one container of a single pod says nothing that the header does not.
    told = several or len({row.container for row in rows if row.container}) > 1
    places = Places(rows if told else (), several, style)
    events = {(row.pod, row.host_pid, row.process): row for row in activity}
    ranked: list[tuple[Cell, ...]] = []
    for use in usage:
        row = events.pop((use.pod, use.host_pid, use.process), None)
        ranked.append(
            (
                str(use.pid) if use.pid is not None else "",
                use.process,
                *places.cells(use),
                percent(use.cpu_percent / 100),
                count(row.events if row else 0),
                count(row.errors if row else 0),
            )
        )
    ranked += [
        (
            str(row.pid) if row.pid is not None else "",
            row.process,
            *places.cells(row),
            percent(0.0) if usage else "-",
            count(row.events),
            count(row.errors),
        )
        for row in events.values()
    ]
    columns = (
        number("PID", 5),
        name("top processes"),
        *places.columns,
        number("CPU", 7),
        number("events", 7),
        number("errors"),
    )
    return _list(ranked, room, lambda rows: table(columns, rows, style))


def _targets(frame: Frame, style: Style, room: int) -> list[str]:
    """Return peers and DNS names in turn, so that neither hides the other."""
    snapshot = frame.snapshot
    peers: list[tuple[Cell, ...]] = []
    if snapshot.connections:
        peers = [
            (
                endpoint(target.address, target.port, target.name),
                "connect",
                count(target.attempts),
                count(target.failed),
                duration(target.latency.p50_seconds),
            )
            for target in snapshot.connections.targets[:_LIST]
        ]
    seen = {row[0] for row in peers}
    if snapshot.tcp:
        peers += [
            (place, "round trip", count(peer.rtt.count), "", duration(peer.rtt.p50_seconds))
            for peer in snapshot.tcp.peers[:_LIST]
            if (place := endpoint(peer.address, peer.port, peer.name)) not in seen
        ]
    names: list[tuple[Cell, ...]] = []
    if snapshot.dns:
        names = [
            (
                target.name,
                "look-up",
                count(target.count),
                count(sum(target.errors.values()) + target.timeouts),
                duration(target.latency.p50_seconds),
            )
            for target in snapshot.dns.targets[:_LIST]
        ]
    mixed = [row for pair in zip(peers, names, strict=False) for row in pair]
    common = min(len(peers), len(names))
    mixed += peers[common:] + names[common:]
    columns = (
        name("top targets"),
        name("kind", flexible=False),
        number("count", 5),
        number("errors"),
        number("p50", 7),
    )
    return _list(mixed, room, lambda rows: table(columns, rows, style))


def _list(
    rows: Sequence[tuple[Cell, ...]],
    room: int,
    draw: Callable[[Sequence[tuple[Cell, ...]]], list[str]],
) -> list[str]:
    shown = rows[: max(min(room - 1, _LIST), 0)]
    return draw(shown) if shown else []


def _events(frame: Frame, style: Style, room: int) -> list[str]:
    if room < 3:
        return []
    hidden = frame.snapshot.quality.suppressed
    more = f" ({count(hidden)} more are in the counts alone)" if hidden else ""
    heading = ["", style.clip(f"{INDENT}{EVENTS_HEADING}{more}")]
    if not frame.notable:
        return [*heading, f"{INDENT}none so far"]
    latest = frame.notable[-(room - len(heading)) :]
    return [*heading, *(style.clip(f"{INDENT}{text}") for text in reversed(latest))]
