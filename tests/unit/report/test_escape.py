"""Nothing that a traced process chooses may act on the terminal or mislead the reader."""

import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from podtrace.report.escape import cell_width, printable

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)
ESCAPE = re.compile(r"\\\\|\\x([0-9a-f]{2})|\\u\{([0-9a-f]+)\}")


def unescape(text: str) -> str:
    """Read the escapes back, to show that none is ambiguous."""
    return ESCAPE.sub(
        lambda match: "\\" if match[0] == "\\\\" else chr(int(match[1] or match[2], 16)), text
    )


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("line\r\nbreak\ttab", r"line\x0d\x0abreak\x09tab"),
        ("\x7f\x80\x9b2J", r"\x7f\x80\x9b2J"),
        ("a\u2028b\u2029c", r"a\u{2028}b\u{2029}c"),
        ("\u202egnp.exe\u2066", r"\u{202e}gnp.exe\u{2066}"),
        ("pay\u200bpal\ufeff", r"pay\u{200b}pal\u{feff}"),
        ("\ud800", r"\u{d800}"),
        ("\ue000\U000f0000", r"\u{e000}\u{f0000}"),
        ("\u0378", r"\u{0378}"),
        ("\u00a0\u3000", r"\xa0\u{3000}"),
        ("\u3164\u2800", r"\u{3164}\u{2800}"),
        ("\U000e0041", r"\u{e0041}"),
    ],
)
def test_dangerous_characters_are_shown_as_escapes(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown


@pytest.mark.parametrize(
    "text", ["nginx", "C:\\dir\\file", "a\\046b.example.com", "naïve", "日本語", "é"]
)
def test_honest_text_stays_readable(text: str) -> None:
    assert printable(text) == text


def test_text_that_imitates_an_escape_is_told_from_the_escape() -> None:
    assert printable("\\x1b") == "\\\\x1b"
    assert printable("\\x1b") != printable("\x1b")
    assert printable("\\\x1b") == "\\\\\\x1b"


def test_marks_do_not_pile_up_on_one_character() -> None:
    assert printable("e" + "\u0301" * 4) == "e\u0301\u0301" + r"\u{0301}\u{0301}"


def test_cut_is_marked_and_keeps_both_ends_where_asked() -> None:
    assert printable("/var/lib/mysql/data.ibd", 11) == "/var/lib/m…"
    assert printable("/var/lib/mysql/data.ibd", 11, middle=True) == "/var/…a.ibd"
    assert printable("/var/lib/mysql/data.ibd", 11, middle=True, ascii_only=True) == "/var....ibd"


def test_cut_counts_cells_and_never_halves_an_escape_or_a_wide_character() -> None:
    assert printable("日本語日本語", 6) == "日本…"
    assert printable("ab\x1bcd", 5) == "ab…"
    assert printable("ab\x1bcd", 7) == r"ab\x1b…"
    assert cell_width("日e\u0301") == 3


def test_ascii_only_output_shows_other_letters_as_escapes() -> None:
    assert printable("né", ascii_only=True) == r"n\xe9"


def test_no_character_is_wider_than_it_counts_for() -> None:
    """Rich's table, of a newer Unicode than this Python's at times, is the truth."""
    shown = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c)[0] != "C"]
    assert [hex(ord(c)) for c in shown if cell_width(c) < cell_len(c)] == []


@given(ANY_TEXT)
def test_no_text_brings_a_control_or_invisible_character_through(text: str) -> None:
    shown = printable(text)
    for character in shown:
        assert unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
        assert character == " " or unicodedata.category(character) != "Zs"
    shown.encode()


@given(ANY_TEXT, st.booleans())
def test_every_text_can_be_told_from_every_other(text: str, ascii_only: bool) -> None:
    assert unescape(printable(text, ascii_only=ascii_only)) == text


@given(ANY_TEXT, st.integers(0, 30), st.booleans(), st.booleans())
def test_limit_holds_for_every_text(text: str, limit: int, middle: bool, ascii_only: bool) -> None:
    shown = printable(text, limit, middle=middle, ascii_only=ascii_only)
    assert cell_width(shown) <= limit
    assert shown.isascii() or not ascii_only
