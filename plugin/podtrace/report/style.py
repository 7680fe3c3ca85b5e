"""What the receiving end can show: its glyphs, its width, whether colour is welcome.

The report is built as plain lines first. A style decides only which characters those lines may use;
colour is laid over them afterwards.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

from podtrace.report.escape import cell_width, printable

WIDTH = 80

_ASCII_TWINS = str.maketrans({"µ": "u", "█": "#", "─": "-"})


@dataclass(frozen=True)
class Style:
    """Glyphs and width of the output.

    `unicode` is false where the output's encoding is not UTF-8; `colour` is true only for a
    terminal whose user did not set NO_COLOR.
    """

    unicode: bool = True
    colour: bool = False
    width: int = WIDTH

    @property
    def ellipsis(self) -> str:
        """The sign for something left out."""
        return "…" if self.unicode else "..."

    def text(self, hostile: str, limit: int | None = None, *, middle: bool = False) -> str:
        """Return text of unknown origin, safe and cut to `limit` cells."""
        return printable(self.glyphs(hostile), limit, middle=middle, ascii_only=not self.unicode)

    def glyphs(self, text: str) -> str:
        """Return text with the report's own signs in characters that the output can encode."""
        return text if self.unicode else text.translate(_ASCII_TWINS)

    def clip(self, line: str) -> str:
        """Return a safe line cut to the width; escapes in it are not escaped again."""
        if cell_width(line) <= self.width:
            return line
        kept = line
        while cell_width(kept) > self.width - len(self.ellipsis):
            kept = kept[:-1]
        return kept + self.ellipsis

    def bar(self, ratio: float, cells: int) -> str:
        """Return a bar of `ratio` (0 to 1) of so many cells; more than nothing is at least one."""
        filled = round(min(max(ratio, 0.0), 1.0) * cells)
        return self.glyphs("█") * (max(filled, 1) if ratio > 0 else 0)


PLAIN = Style()


def style_for(stream: TextIO, environment: Mapping[str, str] | None = None) -> Style:
    """Return the style that suits a stream: UTF-8 or not, a terminal that wants colour or not."""
    environment = os.environ if environment is None else environment
    encoding = (
        (stream.encoding or sys.getdefaultencoding()).lower().replace("-", "").replace("_", "")
    )
    colour = (
        stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
    )
    return Style(unicode=encoding in {"utf8", "utf16", "utf32", "cp65001"}, colour=colour)
