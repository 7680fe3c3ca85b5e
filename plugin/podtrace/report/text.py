"""The diagnose report as plain text: thirteen sections in a fixed order, all always present.

The verdict stands above them, the quality of the trace closes the report. No line is wider than the
style's width, whatever the input.
"""

from collections.abc import Callable
from typing import TextIO

from podtrace.model.snapshot import Snapshot
from podtrace.report.escape import cell_width
from podtrace.report.sections import (
    activity,
    connections,
    findings,
    network,
    overview,
    processor,
    quality,
    storage,
)
from podtrace.report.style import PLAIN, Style, style_for

Section = Callable[[Snapshot, Style], list[str]]

SECTIONS: tuple[tuple[str, Section], ...] = (
    ("Summary", overview.summary),
    ("DNS Statistics", network.dns),
    ("TCP Statistics", network.tcp),
    ("Connection Statistics", connections.connections),
    ("File System Statistics", storage.filesystem),
    ("CPU Statistics", processor.cpu),
    ("CPU Usage by Process", processor.usage),
    ("Process Activity", activity.processes),
    ("Activity Timeline", activity.timeline),
    ("Activity Bursts", activity.bursts),
    ("Connection Patterns", connections.patterns),
    ("Network I/O Patterns", network.network_io),
    ("Potential Issues", findings.issues),
)
CLOSING: tuple[str, Section] = ("Trace Quality", quality.quality)
HEADINGS = (*(heading for heading, _ in SECTIONS), CLOSING[0])


def report_lines(snapshot: Snapshot, style: Style = PLAIN) -> list[str]:
    """Return the report as plain lines, without colour and without line ends."""
    lines = [*overview.title(snapshot, style), "", *overview.verdict(snapshot, style)]
    for heading, section in (*SECTIONS, CLOSING):
        lines += ["", heading, style.glyphs("─") * cell_width(heading), *section(snapshot, style)]
    return [style.clip(line).rstrip() for line in lines]


def write_text(snapshot: Snapshot, stream: TextIO, style: Style | None = None) -> None:
    """Write the report to a stream, in colour where the stream is a terminal that wants it."""
    style = style_for(stream) if style is None else style
    lines = report_lines(snapshot, style)
    if style.colour:
        from podtrace.report.paint import write_report

        write_report(lines, stream)
    else:
        stream.write("\n".join(lines) + "\n")
    stream.flush()
