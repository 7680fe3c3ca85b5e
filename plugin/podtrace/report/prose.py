"""Words in lines of limited width: sentences, and facts with a label before them.

Text comes in raw, passes the escape gate here, and is then wrapped by terminal cells; a word longer
than a line is broken, because a line may never grow beyond the width.
"""

import re
from collections.abc import Iterable, Sequence

from podtrace.model.session import MAX_ROWS
from podtrace.report.escape import cell_width
from podtrace.report.style import Style
from podtrace.report.table import INDENT

LONGEST_SENTENCE = 320
LONGEST_RULE = 1200
_LABEL_WIDTH = 16
_UNIT = re.compile(r"\\\\|\\x[0-9a-f]{2}|\\u\{[0-9a-f]+\}|.", re.DOTALL)


def sentence(
    text: str,
    style: Style,
    *,
    first: str = INDENT,
    rest: str | None = None,
    limit: int = LONGEST_SENTENCE,
) -> list[str]:
    """Return wrapped lines of a text; `first` and `rest` are what stands before its lines."""
    rest = " " * cell_width(first) if rest is None else rest
    safe = style.text(text, limit)
    lines: list[str] = []
    prefix = first
    current = ""
    for word in _words(safe, style.width - max(cell_width(first), cell_width(rest))):
        candidate = f"{current} {word}" if current else word
        if current and cell_width(prefix) + cell_width(candidate) > style.width:
            lines.append(prefix + current)
            prefix, current = rest, word
        else:
            current = candidate
    return [*lines, (prefix + current).rstrip()]


def rule(text: str, style: Style) -> list[str]:
    """Return the lines that state by which rule something was decided; the text is the model's."""
    return sentence(f"Rule: {text}", style, limit=LONGEST_RULE)


def facts(
    rows: Iterable[tuple[str, str | None]], style: Style, label_width: int = _LABEL_WIDTH
) -> list[str]:
    """Return lines `Label   value`; a value of None leaves its row out."""
    lines = []
    for label, value in rows:
        if value is not None:
            start = f"{INDENT}{label:<{label_width}}  "
            lines.extend(sentence(value, style, first=start))
    return lines


def listing(parts: Iterable[str]) -> str:
    """Return parts joined by commas."""
    return ", ".join(parts)


def plural(number: int, one: str, many: str | None = None) -> str:
    """Return `1 error`, `2 errors`; the number is exact and grouped."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def more(shown: int, every: Sequence[object], style: Style) -> list[str]:
    """Return the line that says how many rows a top list leaves out.

    The model's lists have an end of their own: of a list that reaches it nobody knows the rest.
    """
    hidden = len(every) - shown
    least = "at least " if len(every) >= MAX_ROWS else ""
    return [f"{INDENT}{style.ellipsis} and {least}{hidden:,} more"] if hidden > 0 else []


def _words(text: str, width: int) -> Iterable[str]:
    """Yield words, long ones in pieces; an escape and a character's marks stay in one piece."""
    for word in text.split(" "):
        piece = ""
        for unit in _UNIT.findall(word):
            if piece and cell_width(piece + unit) > width:
                yield piece
                piece = ""
            piece += unit
        if piece:
            yield piece
