"""docs/troubleshooting.md against the errors that the sources raise.

Wrong usage is left out: such an error says all there is to say.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from podtrace import errors

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/troubleshooting.md"
LAUNCHER = ROOT / "launcher/launcher.c"
SOURCES = [
    *sorted((ROOT / "plugin/podtrace").rglob("*.py")),
    *sorted((ROOT / "tracer-image/podtracer").rglob("*.py")),
]
ERRORS = {
    name
    for name, error in vars(errors).items()
    if isinstance(error, type)
    and issubclass(error, errors.PodtraceError)
    and not issubclass(error, errors.UsageError | errors.ApiError)
}
"""Errors that a user may have to look up; what the API server said is its own sentence."""
LEAST_LETTERS = 5


def message(call: ast.Call, path: Path) -> ast.expr | None:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    # The tracer's own error begins with a code.
    place = 1 if "podtracer" in path.parts else 0
    return call.args[place] if name in ERRORS and len(call.args) > place else None


def literals(node: ast.expr) -> list[str]:
    """Return the fixed parts of a text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return [
            part.value
            for part in node.values
            if isinstance(part, ast.Constant) and isinstance(part.value, str)
        ]
    return []


def raised() -> Iterator[tuple[str, list[str]]]:
    """Yield (place, fixed parts) of each error whose message is written where it is raised."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and (text := message(node, path)) is not None:
                parts = [part for part in literals(text) if has_words(part)]
                if parts:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", parts


def has_words(part: str) -> bool:
    return len(re.findall("[a-z]", part)) >= LEAST_LETTERS


def every_text() -> set[str]:
    """Return all texts of the sources, to look fixed parts up in."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(" ".join(node.value.split()))
    return found | set(re.findall(r'"([^"\n]+)"', LAUNCHER.read_text()))


def documented() -> list[str]:
    """Return the messages of the tables' first column."""
    rows = re.findall(r"^\| (`.*?) \|", PAGE.read_text(), re.MULTILINE)
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row)]


def fixed(message: str) -> list[str]:
    parts = [" ".join(part.split()).strip(" :") for part in message.split("…")]
    return [part for part in parts if part]


def test_every_documented_message_stands_in_the_sources() -> None:
    texts = every_text()
    messages = documented()
    assert len(messages) > 100
    unknown = {
        part
        for each in messages
        for part in fixed(each)
        if has_words(part) and not any(part in text for text in texts)
    }
    assert unknown == set()


def test_every_error_that_is_raised_is_documented() -> None:
    page = [part for each in documented() for part in fixed(each) if has_words(part)]

    def told(raw: str) -> bool:
        """Tell whether the page has a part of a message, or the greater half of it."""
        part = " ".join(raw.split()).strip(" :")
        return any(
            part in known or (known in part and len(known) >= len(part) / 2) for known in page
        )

    calls = list(raised())
    assert len(calls) > 100
    assert [f"{place}: {parts}" for place, parts in calls if not any(map(told, parts))] == []
