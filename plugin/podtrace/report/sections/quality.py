"""Trace quality: how far the numbers can be trusted, and what it cost to get them."""

from collections.abc import Sequence
from dataclasses import replace

from podtrace.model.snapshot import Probe, Quality, Snapshot, StreamHealth, Tracer
from podtrace.model.wording import end_reason, on_nodes
from podtrace.report.measures import breakdown, known
from podtrace.report.prose import facts, listing, plural, sentence
from podtrace.report.quantities import count, duration, percent, size
from podtrace.report.style import Style
from podtrace.report.table import INDENT, name, number, table

_PLACES = {
    "ring_full": "event ring was full",
    "series_full": "table of series was full",
    "threads_full": "table of threads was full",
    "sockets_full": "table of sockets was full",
    "processes_full": "table of processes was full",
    "files_full": "table of files was full",
    "dns_full": "table of DNS queries was full",
    "labels_full": "table of names was full",
    "recursion_missed": "a probe ran already (whole node)",
    "lines_dropped": "line could not be sent",
}
_LISTED = 10
_MOST_TRACERS = 20


def quality(snapshot: Snapshot, style: Style) -> list[str]:
    """Return losses, the state of the probes, degraded sections and the tracer's own cost."""
    found, window = snapshot.quality, snapshot.window
    complete = "yes, the last line arrived and nothing is missing before it"
    if not window.complete:
        complete = f"NO: {window.incomplete_reason or 'the end of the trace is missing'}"
    lines = facts(
        (
            ("Complete", complete),
            ("Lost records", _lost(snapshot)),
            ("Overflow", _overflow(found)),
            ("Suppressed", _suppressed(found)),
            ("Stream", _stream(found.stream)),
            ("Probes", _probe_counts(found.probes)),
        ),
        style,
    )
    lines += _tracers(found, style)
    lines += _lost_places(found, style) + _notable_probes(found.probes, style)
    lines += facts((("Sections", _section_counts(snapshot)),), style)
    lines += _degraded(found, style)
    lines += facts(
        (
            ("Tracer CPU", _cost(found)),
            ("Tracer memory", _memory(found)),
            ("BPF programs", _bpf(found)),
            ("Versions", _versions(found)),
        ),
        style,
    )
    return [*lines, "", *sentence('A "-" in a table: no operation to take the figure from.', style)]


def _lost(snapshot: Snapshot) -> str:
    found = snapshot.quality
    if not found.lost_total:
        return "none" if snapshot.window.ticks else "unknown"
    ratio = f", {percent(found.lost_ratio)} of all" if found.lost_ratio is not None else ""
    return f"{count(found.lost_total)}{ratio}; what they held is in no figure above"


def _overflow(found: Quality) -> str:
    if not found.overflow:
        return "none"
    text = plural(found.overflow, "operation")
    return f"{text} counted, but without its process: a table was full"


def _suppressed(found: Quality) -> str:
    if not found.suppressed:
        return "none"
    text = plural(found.suppressed, "notable event")
    return f"{text} not listed one by one; they are in all counts"


def _stream(stream: StreamHealth) -> str:
    parts = [f"{plural(stream.lines, 'line')} read"]
    if stream.damaged:
        total = sum(stream.damaged.values())
        parts.append(f"{count(total)} damaged ({breakdown(stream.damaged)})")
    if stream.missing_lines:
        parts.append(f"{count(stream.missing_lines)} missing")
    if stream.repeated_lines:
        parts.append(f"{count(stream.repeated_lines)} repeated")
    if stream.incomplete_ticks:
        intervals = plural(stream.incomplete_ticks, "interval")
        dropped = plural(stream.dropped_lines, "line")
        parts.append(f"{intervals} left out as incomplete ({dropped})")
    if stream.unknown_kinds:
        parts.append(f"{count(stream.unknown_kinds)} of an unknown kind skipped")
    return listing(parts)


def _probe_counts(probes: Sequence[Probe]) -> str:
    if not probes:
        return "unknown: the tracer did not say"
    states = ("attached", "failed", "unsupported")
    parts = [
        f"{sum(probe.state == state for probe in probes)} {state}"
        for state in states
        if state == "attached" or any(probe.state == state for probe in probes)
    ]
    other = sum(probe.state not in states for probe in probes)
    text = listing([*parts, *([f"{other} in another state"] if other else [])])
    fallback = sum(probe.state == "attached" and bool(probe.reason) for probe in probes)
    return f"{text}; {fallback} by another hook" if fallback else text


def _tracers(found: Quality, style: Style) -> list[str]:
    """Return a row for each tracer, if there are several."""
    if len(found.tracers) < 2:
        return []
    rows = [
        (
            tracer.node or f"tracer {tracer.stream}",
            count(tracer.ticks),
            count(tracer.lost_total),
            duration(tracer.cpu_seconds),
            size(tracer.memory_bytes),
            _ending(tracer),
        )
        for tracer in found.tracers[:_MOST_TRACERS]
    ]
    columns = (
        name("tracer on"),
        number("intervals"),
        number("lost"),
        number("CPU", 7),
        number("memory", 8),
        name("its end"),
    )
    rest = len(found.tracers) - _MOST_TRACERS
    cut = [f"{INDENT}{style.ellipsis} and {rest} more"] if rest > 0 else []
    return ["", *table(columns, rows, style), *cut, ""]


def _ending(tracer: Tracer) -> str:
    if tracer.incomplete_reason is not None:
        return "INCOMPLETE, see above"
    return end_reason(tracer.end_reason) if tracer.end_reason else "goes on"


def _lost_places(found: Quality, style: Style) -> list[str]:
    places = sorted(
        ((place, lost) for place, lost in found.lost.items() if lost), key=lambda item: -item[1]
    )
    if not places:
        return []
    rows = [(_PLACES.get(place, place), count(lost)) for place, lost in places[:_LISTED]]
    return ["", *table((name("lost because"), number("records")), rows, style), ""]


def _notable_probes(probes: Sequence[Probe], style: Style) -> list[str]:
    """Say why a probe is not attached, or not to the hook that is tried first."""
    notable: dict[Probe, list[str]] = {}
    for probe in probes:
        if probe.state != "attached" or probe.reason:
            notable.setdefault(replace(probe, node=None), []).append(probe.node or "")
    several = len({probe.node for probe in probes}) > 1
    lines: list[str] = []
    for probe, nodes in list(notable.items())[:_LISTED]:
        reason = probe.reason or "no reason given"
        label = style.text(f"{probe.name} {probe.state}", 40)
        where = f" {on_nodes(nodes)}" if several else ""
        text = f"{label}{where} ({style.text(probe.hook, 60, middle=True)}): {reason}"
        lines += sentence(text, style, first=f"{INDENT}{INDENT}- ")
    if len(notable) > _LISTED:
        lines.append(f"{INDENT}{INDENT}{style.ellipsis} and {len(notable) - _LISTED} more")
    return lines


def _section_counts(snapshot: Snapshot) -> str:
    degraded = snapshot.quality.degraded_sections
    if degraded:
        return f"{plural(len(degraded), 'section')} not, or not fully, measured"
    return "all measured in full" if snapshot.quality.probes else "unknown"


def _degraded(found: Quality, style: Style) -> list[str]:
    lines: list[str] = []
    for degraded in found.degraded_sections:
        text = f"{degraded.section} {degraded.state}: {degraded.reason or 'no reason given'}"
        lines += sentence(text, style, first=f"{INDENT}{INDENT}- ")
    return lines


def _cost(found: Quality) -> str:
    if found.tracer_cpu_seconds is None:
        return "not measured"
    percents = found.tracer_cpu_percent
    share = f" ({percent(percents / 100)} of one core)" if percents is not None else ""
    return f"{duration(found.tracer_cpu_seconds)}{share}"


def _memory(found: Quality) -> str:
    if found.tracer_memory_bytes is None:
        return "not measured"
    return f"{size(found.tracer_memory_bytes)} at most, kernel maps {known(size(found.map_bytes))}"


def _bpf(found: Quality) -> str:
    if found.bpf_seconds_estimate is None:
        return "run time not measured"
    return f"about {duration(found.bpf_seconds_estimate)} of run time in the kernel (estimate)"


def _versions(found: Quality) -> str:
    return f"tracer {found.tracer_version or 'unknown'}, stream {found.stream_schema or 'unknown'}"
