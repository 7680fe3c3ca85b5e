"""Aligned columns within a fixed width.

Numbers stand right, names left. Flexible columns get what the others leave, and their names are
shortened in the middle. A cell may be several texts, the longest first: the first that fits is
taken. Every cell passes the escape gate here, so that a section cannot forget it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from podtrace.report.escape import cell_width
from podtrace.report.style import Style

INDENT = "  "
_GAP = 2
_SMALLEST_NAME = 8


Cell = str | tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """One column: its heading, its side, and whether it holds names of any length."""

    title: str
    right: bool = True
    flexible: bool = False
    least: int = 0
    limit: int = 24


def name(title: str, *, flexible: bool = True, least: int = 0, limit: int = 24) -> Column:
    """Return a column of names, left-aligned; flexible takes the room that is left."""
    return Column(title, right=False, flexible=flexible, least=least, limit=limit)


def number(title: str, least: int = 0) -> Column:
    """Return a column of figures, right-aligned."""
    return Column(title, least=least)


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    style: Style,
    *,
    heading: bool = True,
) -> list[str]:
    """Return the lines of a table, indented, each at most `style.width` cells wide."""
    measured = [
        max(
            column.least,
            cell_width(column.title) if heading else 0,
            *(cell_width(style.text(_longest(row[index]), column.limit)) for row in rows),
            0,
        )
        for index, column in enumerate(columns)
        if not column.flexible
    ]
    taken = sum(measured) + len(INDENT) + _GAP * (len(columns) - 1)
    flexible = iter(_flexible_widths(columns, rows, style, style.width - taken))
    fixed = iter(measured)
    widths = [next(flexible if column.flexible else fixed) for column in columns]
    lines = []
    if heading:
        lines.append(_line(columns, widths, [column.title for column in columns], style))
    lines.extend(_line(columns, widths, row, style) for row in rows)
    return lines


def _flexible_widths(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], style: Style, room: int
) -> list[int]:
    """Share the room: a column gets what it wants, or an equal part of what the others leave.

    A column whose longest texts do not fit shrinks to the texts that it shows instead.
    """
    shared = [(index, column) for index, column in enumerate(columns) if column.flexible]
    cells_of = [[row[index] for row in rows] for index, _ in shared]
    leasts = [max(cell_width(column.title), column.least, _SMALLEST_NAME) for _, column in shared]
    wanted = [
        max(least, *(cell_width(style.text(_longest(cell), max(room, 0))) for cell in cells), 0)
        for least, cells in zip(leasts, cells_of, strict=True)
    ]
    widths = [0] * len(wanted)
    for left, index in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
        share = room // (len(wanted) - left)
        widths[index] = max(min(wanted[index], share), _SMALLEST_NAME)
        room -= widths[index]
    return [
        max(least, *(cell_width(_fitting(cell, width, style)) for cell in cells), 0)
        for width, least, cells in zip(widths, leasts, cells_of, strict=True)
    ]


def _line(
    columns: Sequence[Column], widths: Sequence[int], cells: Sequence[Cell], style: Style
) -> str:
    parts = []
    for column, width, cell in zip(columns, widths, cells, strict=True):
        safe = style.glyphs(_longest(cell)) if column.right else _fitting(cell, width, style)
        fill = " " * max(width - cell_width(safe), 0)
        parts.append(fill + safe if column.right else safe + fill)
    return (INDENT + (" " * _GAP).join(parts)).rstrip()


def _longest(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell[0]


def _fitting(cell: Cell, width: int, style: Style) -> str:
    texts = (cell,) if isinstance(cell, str) else cell
    for text in texts[:-1]:
        safe = style.text(text)
        if cell_width(safe) <= width:
            return safe
    return style.text(texts[-1], width, middle=True)
