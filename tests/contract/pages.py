"""The project's documents, taken apart: code blocks, code spans, headings, commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/*/README.md")]
)
PROGRAMS = (
    ["kubectl", "podtrace"],
    ["kubectl-podtrace"],
    ["./kubectl-podtrace"],
)
_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def blocks(text: str, language: str | None = None) -> list[str]:
    """Return the contents of fenced blocks, all or those of one language."""
    return [body for kind, body in _BLOCK.findall(text) if language in (None, kind)]


def prose(text: str) -> str:
    """Return a document without its blocks."""
    return _BLOCK.sub("", text)


def spans(text: str) -> list[str]:
    """Return code within the prose, one line each."""
    return [" ".join(span.split()) for span in _SPAN.findall(prose(text))]


def shell_lines(text: str) -> Iterator[str]:
    """Yield the commands of shell blocks, continued lines joined."""
    for body in blocks(text, "sh"):
        for line in body.replace("\\\n", " ").splitlines():
            if line.strip():
                yield line.strip()


def podtrace_words(line: str) -> list[str] | None:
    """Return the words behind podtrace's name in a command, None if it runs something else."""
    words = shlex.split(line, comments=True)
    while words and (words[0] == "sudo" or re.fullmatch(r"[A-Z_]+=.*", words[0])):
        words = words[1:]
    for program in PROGRAMS:
        if words[: len(program)] == program:
            rest = words[len(program) :]
            ends = [rest.index(sign) for sign in ("|", ">", "&&", ";", "&") if sign in rest]
            return rest[: min(ends, default=len(rest))]
    return None


@cache
def anchors(document: Path) -> frozenset[str]:
    """Return what links may name in a document: its headings as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)$", prose(document.read_text()), re.MULTILINE)
    return frozenset(
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    )
