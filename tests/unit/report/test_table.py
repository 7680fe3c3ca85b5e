"""Columns line up, give way to each other and never leave the width."""

from __future__ import annotations

import pytest

from podtrace.report.escape import cell_width
from podtrace.report.style import Style
from podtrace.report.table import name, number, table

STYLE = Style()
COLUMNS = (name("file"), number("count", 5), number("max", 7))


def test_numbers_stand_right_and_names_left() -> None:
    assert table(COLUMNS, [("a", "1", "3.10 µs"), ("bcd", "12", "-")], STYLE) == [
        "  file      count      max",
        "  a             1  3.10 µs",
        "  bcd          12        -",
    ]


def test_wide_characters_keep_the_columns_aligned() -> None:
    lines = table(COLUMNS, [("日本語", "1", "-"), ("abcdef", "1", "-")], STYLE)
    assert {cell_width(line) for line in lines} == {26}


def test_long_name_is_cut_in_the_middle_at_the_full_width() -> None:
    lines = table(COLUMNS, [("/very" * 40 + "/end", "1", "-")], STYLE)
    assert cell_width(lines[1]) == 80
    assert "…" in lines[1]
    assert "/end  " in lines[1]


def test_cell_of_several_texts_takes_the_longest_that_fits() -> None:
    cell = ("10.0.0.7:443 (a-long-name.example)", "10.0.0.7:443")
    assert "a-long-name" in table(COLUMNS, [(cell, "1", "-")], STYLE)[1]
    assert "a-long-name" not in table(COLUMNS, [(cell, "1", "-")], Style(width=50))[1]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_two_flexible_columns_share_the_room(width: int) -> None:
    columns = (name("process"), name("container"), number("CPU", 7))
    lines = table(columns, [("p" * 300, "c" * 300, "1.0 %")], Style(width=width))
    assert max(map(cell_width, lines)) <= width
    assert "pp" in lines[1]
    assert "cc" in lines[1]


def test_column_that_needs_little_leaves_its_room_to_the_others() -> None:
    columns = (name("process"), name("pod"), number("CPU", 7))
    pod = "web-7d4b9c6f5d-x2x9k-of-a-long-deployment"
    lines = table(columns, [("nginx", pod, "1.0 %")], Style(width=70))
    assert pod in lines[1]


def test_column_shrinks_to_the_texts_that_fit() -> None:
    cell = ("10.0.0.7:443 (a-long-name.example)", "10.0.0.7:443")
    (heading, row) = table(COLUMNS, [(cell, "1", "-")], Style(width=50))
    assert row.startswith("  10.0.0.7:443  ")
    assert heading.index("count") + len("count") == row.index(" 1 ") + 2


def test_control_characters_in_a_name_are_escaped() -> None:
    assert "\\x1b[2J" in table(COLUMNS, [("\x1b[2J", "1", "-")], STYLE)[1]


def test_table_without_rows_is_its_heading() -> None:
    assert table(COLUMNS, [], STYLE) == ["  file      count      max"]
