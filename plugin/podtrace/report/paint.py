"""A thin layer of colour over the finished lines of the text report.

It only looks at lines and never changes their characters, so that the coloured and the plain report
cannot differ.
"""

from collections.abc import Sequence
from typing import TextIO

_STATUS_STYLES = {
    "CRITICAL": "bold red",
    "WARNING": "bold yellow",
    "INCOMPLETE": "bold yellow",
    "INFO": "bold cyan",
    "HEALTHY": "bold green",
}
_TAG_STYLES = {"[critical]": "bold red", "[warning]": "bold yellow", "[info]": "bold cyan"}
_RULES = ({"─"}, {"-"})


def write_painted(lines: Sequence[str], stream: TextIO) -> None:
    """Write lines to a terminal with headings, status and severities in colour."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, force_terminal=True, highlight=False, soft_wrap=True)
    for index, line in enumerate(lines):
        following = lines[index + 1] if index + 1 < len(lines) else ""
        text = Text(line)
        for start, end, look in _looks(line, following, first=index == 0):
            text.stylize(look, start, end)
        console.print(text, markup=False, emoji=False)


def _looks(line: str, following: str, *, first: bool) -> list[tuple[int, int, str]]:
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
