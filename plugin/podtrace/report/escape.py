r"""The one gate between text from a traced process and a terminal.

Process names, paths, DNS names and addresses are chosen by whoever runs in the pod. A terminal
obeys control characters, and a reader is misled by invisible and direction-changing ones, so each
of them is shown as `\xNN` or `\u{NNNN}`. A backslash stays as it is unless it would be read as the
start of such an escape; then it is doubled, so that two different texts never look alike.
"""

import re
import unicodedata
from collections.abc import Iterator

_ESCAPE_FOLLOWS = re.compile(r"\\x[0-9a-f]{2}|\\u\{[0-9a-f]+\}|\\\\")
_ESCAPED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_WIDER_SINCE = (
    (0x2630, 0x2637), (0x268A, 0x268F), (0x4DC0, 0x4DFF), (0x1D300, 0x1D356), (0x1D360, 0x1D376),
)  # fmt: skip
"""Trigrams, hexagrams and counting rods: wide since Unicode 16, which Python may not know yet."""
_INVISIBLE = frozenset({0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0})
_MARKS_ON_ONE_BASE = 2


def printable(
    text: str, limit: int | None = None, *, middle: bool = False, ascii_only: bool = False
) -> str:
    """Return the text in a form that is safe to write to a terminal.

    Args:
        text: anything, unpaired surrogates included.
        limit: at most so many terminal cells; a longer text is cut and marked by an ellipsis.
            An escape is never cut in two.
        middle: cut in the middle, where both ends of the text tell something (paths, DNS names).
        ascii_only: show everything outside ASCII as an escape; the ellipsis is then three dots.
    """
    if text.isascii() and text.isprintable() and "\\" not in text:
        if limit is None or len(text) <= limit:
            return text
        units = [(character, 1) for character in text]
    else:
        units = list(_units(text, ascii_only))
    if limit is None or sum(width for _, width in units) <= limit:
        return "".join(unit for unit, _ in units)
    ellipsis = "..." if ascii_only else "…"
    room = limit - len(ellipsis)
    if room < 0:
        return ellipsis[: max(limit, 0)]
    tail = _take(reversed(units), room // 2) if middle else []
    head = _take(iter(units), room - sum(width for _, width in tail))
    return "".join(unit for unit, _ in (*head, (ellipsis, len(ellipsis)), *reversed(tail)))


def cell_width(text: str) -> int:
    """Return the number of terminal cells that a printable text takes."""
    if text.isascii():
        return len(text)
    return sum(_character_width(character) for character in text)


def _take(units: Iterator[tuple[str, int]], room: int) -> list[tuple[str, int]]:
    taken: list[tuple[str, int]] = []
    for unit in units:
        room -= unit[1]
        if room < 0:
            break
        taken.append(unit)
    return taken


def _units(text: str, ascii_only: bool) -> Iterator[tuple[str, int]]:
    """Yield what may not be cut in two (a character with its marks, an escape) and its width."""
    base = ""
    marks = 0
    for position, character in enumerate(text):
        if base and marks < _MARKS_ON_ONE_BASE and _is_mark(character) and not ascii_only:
            base += character
            marks += 1
            continue
        if base:
            yield base, _character_width(base[0])
            base = ""
        if character == "\\":
            following = text[position + 1 : position + 2]
            doubled = bool(_ESCAPE_FOLLOWS.match(text, position)) or (
                following != "" and _is_escaped(following, ascii_only)
            )
            yield ("\\\\", 2) if doubled else ("\\", 1)
        elif _is_escaped(character, ascii_only) or _is_mark(character):
            escape = _escape(character)
            yield escape, len(escape)
        else:
            base, marks = character, 0
    if base:
        yield base, _character_width(base[0])


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{{{code:04x}}}"


def _is_escaped(character: str, ascii_only: bool) -> bool:
    code = ord(character)
    if code < 0x80:
        return code < 0x20 or code == 0x7F
    if ascii_only or code in _INVISIBLE or 0x1160 <= code <= 0x11FF or 0xD7B0 <= code <= 0xD7FF:
        return True
    if 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF:
        return True
    category = unicodedata.category(character)
    return category in _ESCAPED_CATEGORIES or category == "Zs"


def _is_mark(character: str) -> bool:
    return (
        ord(character) >= 0x300
        and unicodedata.category(character) in {"Mn", "Me"}
        and not _is_escaped(character, ascii_only=False)
    )


def _character_width(character: str) -> int:
    code = ord(character)
    if code < 0x300:
        return 1
    if unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    if unicodedata.east_asian_width(character) in {"W", "F"} or 0x1F1E6 <= code <= 0x1F1FF:
        return 2
    return 2 if any(first <= code <= last for first, last in _WIDER_SINCE) else 1
