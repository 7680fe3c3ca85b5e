"""Regular files, and beside them the reads and writes that are of no file."""

from podtrace.model.snapshot import FileOperation, OtherUse, Snapshot
from podtrace.report.measures import TOP, absent, caveat, in_window, latency_table
from podtrace.report.prose import facts, more, sentence
from podtrace.report.quantities import count, duration, size, size_rate
from podtrace.report.style import Style
from podtrace.report.table import name, number, table


def filesystem(snapshot: Snapshot, style: Style) -> list[str]:
    """Return latency and volume by operation, the busiest files, and other reads and writes."""
    section = snapshot.filesystem
    if section is None:
        lines = sentence(absent(snapshot, "filesystem"), style)
        return lines + _other(snapshot, style)
    lines = caveat(snapshot, style, "filesystem")
    blocks: tuple[tuple[str, FileOperation | None], ...] = (
        ("open", section.open),
        ("read", section.read),
        ("write", section.write),
        ("fsync", section.fsync),
    )
    if all(block is not None and not block.count and not block.errors for _, block in blocks):
        nothing = f"No operation on a regular file was seen {in_window(snapshot)}."
        return lines + sentence(nothing, style) + _other(snapshot, style)
    lines += latency_table("operation", blocks, style)
    seconds = snapshot.window.measured_seconds
    rows = [
        (
            label,
            size(block.bytes),
            size_rate(block.bytes / seconds if block.bytes is not None and seconds else None),
            duration(block.waiting_seconds),
            count(block.slow),
        )
        for label, block in blocks
        if block is not None
    ]
    slow = duration(section.slow_above_seconds)
    columns = (
        name("operation", flexible=False, least=11),
        number("bytes", 10),
        number("throughput", 12),
        number("waited", 8),
        number(f"slow (>= {slow})"),
    )
    lines += ["", *table(columns, rows, style)]
    if section.files:
        listed = [
            (file.path, count(file.operations), size(file.bytes), duration(file.max_seconds))
            for file in section.files[:TOP]
        ]
        heads = (name("file"), number("operations"), number("bytes", 8), number("max", 7))
        lines += ["", *table(heads, listed, style), *more(TOP, section.files, style)]
    return lines + _other(snapshot, style)


def _other(snapshot: Snapshot, style: Style) -> list[str]:
    section = snapshot.io_other
    if section is None:
        return ["", *facts((("Not files", absent(snapshot, "io_other")),), style)]
    uses = (("pipes", section.pipe), ("sockets", section.socket), ("terminals", section.terminal))
    text = "; ".join(f"{label} {_use(use)}" for label, use in uses)
    return ["", *facts((("Not files", f"{text} (these are no events)"),), style)]


def _use(use: OtherUse | None) -> str:
    if use is None:
        return "not measured"
    return f"{count(use.count)} calls, {size(use.bytes)}" if use.count else "none"
