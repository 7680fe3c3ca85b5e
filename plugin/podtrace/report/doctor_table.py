"""What `doctor` found, as a table: what works, what is degraded, what stays blank, how to fix it.

The result of each check is a sign and a word, so that it does not take colour to read it; colour
is laid over finished lines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from podtrace.checkup import FAILED, OK, SKIPPED, WARNING, Check, Checkup, SectionOutlook, to_tree
from podtrace.report.escape import cell_width
from podtrace.report.prose import listing, plural, sentence
from podtrace.report.style import PLAIN, Style, style_for
from podtrace.report.table import INDENT

SECTION_TITLES = {
    "dns": "DNS Statistics",
    "tcp": "TCP Statistics",
    "connections": "Connection Statistics",
    "filesystem": "File System Statistics",
    "io_other": "Pipes, sockets, terminals",
    "cpu": "CPU Statistics",
    "cpu_usage": "CPU Usage by Process",
    "process_activity": "Process Activity",
}

_SIGNS = {OK: "✓", WARNING: "!", FAILED: "✗", SKIPPED: "-"}
_ASCII_SIGNS = {OK: "+", WARNING: "!", FAILED: "x", SKIPPED: "-"}
_LOOKS = {OK: "green", WARNING: "bold yellow", FAILED: "bold red", SKIPPED: "dim"}
_FULL = "full"
_BLANK = "blank"
_HEADING = "bold"
_WIDEST_NAME = 26
_STATE_WIDTH = 9
_LONGEST_FINDING = 1200


@dataclass(frozen=True)
class _Line:
    """A finished line, and the look of a part of it."""

    text: str
    look: str | None = None
    start: int = 0
    end: int | None = None


def doctor_lines(checkup: Checkup, style: Style = PLAIN) -> list[str]:
    """Return the table as plain lines, without colour and without line ends."""
    return [line.text for line in _lines(checkup, style)]


def write_doctor_table(checkup: Checkup, stream: TextIO, style: Style | None = None) -> None:
    """Write the table to a stream, in colour where the stream is a terminal that wants it."""
    style = style_for(stream) if style is None else style
    lines = _lines(checkup, style)
    if style.colour:
        _write_coloured(lines, stream)
    else:
        stream.write("".join(f"{line.text}\n" for line in lines))
    stream.flush()


def write_doctor_json(checkup: Checkup, stream: TextIO) -> None:
    """Write the tree as JSON in ASCII, so that no text in it can act on a terminal."""
    stream.write(json.dumps(to_tree(checkup), ensure_ascii=True, indent=2) + "\n")
    stream.flush()


def _lines(checkup: Checkup, style: Style) -> list[_Line]:
    lines = [_Line(text, _HEADING) for text in sentence(_verdict(checkup), style, first="")]
    lines += [_Line(""), *_table(checkup.checks, style)]
    fixes = [check for check in checkup.checks if check.fix]
    if fixes:
        lines += _heading("How to fix it", style)
        for check in fixes:
            lines += _fix(check, style)
    if checkup.sections is not None:
        lines += _heading("Sections of the report", style)
        lines += _sections(checkup.sections, style)
    return lines


def _verdict(checkup: Checkup) -> str:
    failed = [check.name for check in checkup.checks if check.state == FAILED]
    if failed:
        return f"A trace would NOT work: see {listing(failed)}."
    warnings = sum(check.state == WARNING for check in checkup.checks)
    if warnings:
        return f"A trace would work, with {plural(warnings, 'warning')}."
    if checkup.sections is None:
        return "Nothing was found that would keep a trace from working."
    return "A trace would work."


def _table(checks: Sequence[Check], style: Style) -> list[_Line]:
    names = [style.text(check.name, _WIDEST_NAME, middle=True) for check in checks]
    width = max(map(cell_width, (*names, "Check")))
    lines = [_Line(f"{INDENT}{'Check':<{width}}  {'Result':<{_STATE_WIDTH}}  Found", _HEADING)]
    signs = _SIGNS if style.unicode else _ASCII_SIGNS
    for check, safe in zip(checks, names, strict=True):
        label = f"{INDENT}{safe}{' ' * (width - cell_width(safe))}  "
        state = f"{signs[check.state]} {check.state}"
        first, *rest = sentence(
            check.found,
            style,
            first=f"{label}{state:<{_STATE_WIDTH}}  ",
            limit=_LONGEST_FINDING,
        )
        start = len(label)
        lines.append(_Line(first, _LOOKS[check.state], start, start + len(state)))
        lines += [_Line(text) for text in rest]
    return lines


def _fix(check: Check, style: Style) -> list[_Line]:
    lines = [_Line(f"{INDENT}{style.text(check.name, style.width - len(INDENT))}", _HEADING)]
    for line in (check.fix or "").split("\n"):
        safe = f"{INDENT}{INDENT}{style.text(line)}"
        # What is to be copied is not wrapped, however long it is.
        if line.startswith(INDENT) or cell_width(safe) <= style.width:
            lines.append(_Line(safe))
        else:
            wrapped = sentence(line, style, first=INDENT * 2, limit=_LONGEST_FINDING)
            lines += [_Line(text) for text in wrapped]
    return lines


def _sections(sections: Mapping[str, SectionOutlook], style: Style) -> list[_Line]:
    full = [_title(key) for key, outlook in sections.items() if outlook.state == _FULL]
    others = {key: outlook for key, outlook in sections.items() if outlook.state != _FULL}
    lines = []
    for key, outlook in others.items():
        title = style.text(_title(key), _WIDEST_NAME)
        label = f"{INDENT}{title:<{_WIDEST_NAME}}  "
        text = f"{label}{style.text(outlook.state, _STATE_WIDTH):<{_STATE_WIDTH}}  "
        reason = outlook.reason or "the tracer gives no reason"
        first, *rest = sentence(reason, style, first=text, limit=_LONGEST_FINDING)
        look = _LOOKS[FAILED if outlook.state == _BLANK else WARNING]
        lines.append(_Line(first, look, len(label), len(text)))
        lines += [_Line(each) for each in rest]
    if full:
        label = "all of them full" if not others else f"full: {listing(full)}"
        lines += [_Line(text) for text in sentence(label, style)]
    return lines


def _title(key: str) -> str:
    return SECTION_TITLES.get(key, key)


def _heading(text: str, style: Style) -> list[_Line]:
    return [_Line(""), _Line(text, _HEADING), _Line(style.glyphs("─") * len(text), "dim")]


def _write_coloured(lines: Sequence[_Line], stream: TextIO) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, force_terminal=True, highlight=False, soft_wrap=True)
    for line in lines:
        text = Text(line.text)
        if line.look is not None:
            text.stylize(line.look, line.start, line.end)
        console.print(text)
