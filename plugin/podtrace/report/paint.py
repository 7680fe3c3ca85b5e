"""A thin layer of colour over finished lines, of the text report and of the live view.

It only looks at lines and never changes their characters, so that the coloured and the plain form
cannot differ.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from podtrace.report.live_layout import DEGRADED, EVENTS_HEADING, FOOTER
from podtrace.report.table import INDENT

if TYPE_CHECKING:
    from rich.text import Text

Look = tuple[int, int, str]

_STATUS_STYLES = {
    "CRITICAL": "bold red",
    "WARNING": "bold yellow",
    "INCOMPLETE": "bold yellow",
    "INFO": "bold cyan",
    "HEALTHY": "bold green",
}
_TAG_STYLES = {"[critical]": "bold red", "[warning]": "bold yellow", "[info]": "bold cyan"}
_RULES = ({"─"}, {"-"})
_FRAME_HEADINGS = ("last ", "PID  top processes", "top targets", "pods", EVENTS_HEADING)


def write_report(lines: Sequence[str], stream: TextIO) -> None:
    """Write a report to a terminal with headings, status and severities in colour."""
    from rich.console import Console

    console = Console(file=stream, force_terminal=True, highlight=False, soft_wrap=True)
    for index, line in enumerate(lines):
        following = lines[index + 1] if index + 1 < len(lines) else ""
        console.print(_text(line, _report_looks(line, following, first=index == 0)))


def painted_frame(lines: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Return the lines of a live frame with escape sequences for what stands out."""
    from io import StringIO

    from rich.console import Console

    stream = StringIO()
    console = Console(
        file=stream,
        force_terminal=True,
        highlight=False,
        soft_wrap=True,
        _environ=environment,
    )
    for index, line in enumerate(lines):
        console.print(_text(line, _frame_looks(line, first=index == 0)))
    return stream.getvalue().split("\n")[: len(lines)]


def _text(line: str, looks: Sequence[Look]) -> "Text":
    from rich.text import Text

    text = Text(line)
    for start, end, look in looks:
        text.stylize(look, start, end)
    return text


def _report_looks(line: str, following: str, *, first: bool) -> list[Look]:
    if first or (set(following) in _RULES and not line.startswith(" ")):
        return [(0, len(line), "bold")]
    if set(line) in _RULES:
        return [(0, len(line), "dim")]
    for word, look in _STATUS_STYLES.items():
        if line.startswith(word):
            return [(0, len(word), look)]
    stripped = line.lstrip()
    for tag, look in _TAG_STYLES.items():
        if stripped.startswith(tag):
            start = len(line) - len(stripped)
            return [(start, start + len(tag), look)]
    return []


def _frame_looks(line: str, *, first: bool) -> list[Look]:
    if line.startswith(DEGRADED):
        return [(0, len(line), "yellow")]
    if first:
        return [(0, len(line), "bold")]
    if line == FOOTER:
        return [(0, len(line), "dim")]
    if line.startswith(INDENT) and line.lstrip().startswith(_FRAME_HEADINGS):
        return [(0, len(line), "bold cyan")]
    return []
