"""Lines that several sections share: latency blocks, names of peers and processes, absent sections.

A latency block is always one row of the same columns, so that the eye can run down the report.
"""

from collections.abc import Mapping, Sequence

from podtrace.model.snapshot import Latency, Snapshot
from podtrace.report.prose import listing, sentence
from podtrace.report.quantities import NOT_MEASURED, count, duration
from podtrace.report.style import Style
from podtrace.report.table import INDENT, Column, name, number, table

TOP = 8
"""Rows of a top list."""

_LABEL = 11
_LONGEST_NAME = 80
_LONGEST_NAMES = 1200
_COLUMNS: tuple[Column, ...] = (
    number("count", 9),
    number("errors", 6),
    number("avg", 7),
    number("p50", 7),
    number("p95", 7),
    number("p99", 7),
    number("max", 7),
)


def latency_table(
    title: str, rows: Sequence[tuple[str, Latency | None]], style: Style
) -> list[str]:
    """Return one row per latency block; a block of None says that it was not measured."""
    cells = [(label, *_latency_cells(block)) for label, block in rows]
    lines = table((name(title, least=_LABEL), *_COLUMNS), cells, style)
    for index, (_, block) in enumerate(rows, start=1):
        if block is None:
            lines[index] = f"{lines[index]:<{len(INDENT) + _LABEL}}  not measured"
    return lines


def endpoint(address: str, port: int | None, label: str | None = None) -> tuple[str, ...]:
    """Return `10.0.0.5:5432 (db.example)` and, for narrow columns, the address alone."""
    host = f"[{address}]" if port is not None and ":" in address else address
    place = host if port is None else f"{host}:{port}"
    return (f"{place} ({label})", place) if label else (place,)


def hidden_names(
    lines: Sequence[str], rows: Sequence[tuple[str, int | None, str | None]], style: Style
) -> list[str]:
    """Return the names of addresses that a table had no room for, below it.

    Args:
        lines: the table, its heading first.
        rows: address, port and name of each of its rows.
        style: what the output can show.
    """
    hidden = {
        endpoint(address, port)[0]: label
        for line, (address, port, label) in zip(lines[1:], rows, strict=False)
        if label and style.text(label) not in line
    }
    if not hidden:
        return []
    text = "; ".join(f"{place} is {label[:_LONGEST_NAME]}" for place, label in hidden.items())
    return sentence(text, style, limit=_LONGEST_NAMES)


def breakdown(errors: Mapping[str, int] | None, limit: int = 5) -> str:
    """Return `ECONNREFUSED 7, ETIMEDOUT 2`, the most frequent first; names not yet escaped."""
    if not errors:
        return ""
    ordered = sorted(errors.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{label[:32]} {count(value)}" for label, value in ordered[:limit]]
    if len(ordered) > limit:
        parts.append(f"{len(ordered) - limit} other kinds")
    return listing(parts)


def known(shown: str) -> str:
    """Return a quantity for prose, where a dash would say too little."""
    return "not measured" if shown == NOT_MEASURED else shown


def absent(snapshot: Snapshot, *sections: str) -> str:
    """Return the sentence for a section that this trace could not measure: why, as far as known."""
    for degraded in snapshot.quality.degraded_sections:
        if degraded.section in sections and degraded.reason:
            return f"Not measured: {degraded.reason}"
    if snapshot.window.ticks == 0:
        why = snapshot.window.incomplete_reason or "the trace ended before its first interval"
        return f"Not measured: no data arrived ({why})"
    return "Not measured: this trace carried no data for it."


def caveat(snapshot: Snapshot, style: Style, *sections: str) -> list[str]:
    """Return the lines that open a section which was measured only in part."""
    lines: list[str] = []
    for degraded in snapshot.quality.degraded_sections:
        if degraded.section in sections:
            reason = degraded.reason or "the tracer gave no reason"
            lines.extend(sentence(f"Measured in part: {reason}", style))
    return [*lines, ""] if lines else []


def in_window(snapshot: Snapshot) -> str:
    """Return `in 20.0 s`, the time that was measured."""
    return f"in {duration(snapshot.window.measured_seconds)}"


def _latency_cells(block: Latency | None) -> tuple[str, ...]:
    if block is None:
        return ("",) * len(_COLUMNS)
    return (
        count(block.count),
        count(block.errors),
        duration(block.average_seconds),
        duration(block.p50_seconds),
        duration(block.p95_seconds),
        duration(block.p99_seconds),
        duration(block.max_seconds),
    )
