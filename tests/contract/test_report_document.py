"""docs/report.md explains what the report prints, and names keys that the tree has."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract import report_tree
from podtrace.model.snapshot import Snapshot
from podtrace.report.text import HEADINGS, report_lines
from unit.report import examples

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/report.md").read_text()
SECTIONS = ROOT / "plugin/podtrace/report/sections"
KEY = re.compile(r"[a-z][a-z_0-9]*(?:\[\])?(?:\.[a-z][a-z_0-9]*(?:\[\])?)*")
WORDS_OF_THE_PAGE = re.compile(r"[^A-Za-z0-9/]+")
NO_KEYS = {"cpu.stat", "db.shop.svc.cluster.local", "db.svc.cluster.local"}
"""What only looks like a key."""


def explained(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def words(text: str) -> str:
    return f" {' '.join(filter(None, WORDS_OF_THE_PAGE.split(text)))} "


def labels(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yield (section, label) of each row of facts and of each latency block."""
    section = ""
    for line in lines:
        if line in HEADINGS:
            section = line
        fact = re.match(r"  ([A-Z].{15})  \S", line)
        block = re.match(r"  ([a-z][A-Za-z0-9 ]{10})  +[\d,]+ +[\d,]+  ", line)
        for found in filter(None, (fact, block)):
            yield section, found[1].strip()


def columns() -> set[str]:
    """Return the headings of all tables of the report."""
    found = set()
    for path in SECTIONS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("name", "number")
                and isinstance(node.args[0], ast.Constant)
            ):
                found.add(node.args[0].value)
    return found - {""}


def test_every_section_is_explained_in_the_order_of_the_report() -> None:
    titles = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert [title for title in titles if title in HEADINGS] == list(HEADINGS)


@pytest.mark.parametrize("example", examples.ORDINARY, ids=lambda each: each.__name__)
def test_every_row_is_explained_in_its_section(example: Callable[[], Snapshot]) -> None:
    found = set(labels(report_lines(example())))
    assert found
    missing = {
        (section, label)
        for section, label in found
        if words(label) not in words(explained(section))
    }
    assert missing == set()


def test_every_column_is_explained() -> None:
    text = words(PAGE)
    assert {column for column in columns() if words(column) not in text} == set()


def test_every_key_that_is_named_exists() -> None:
    known = report_tree.paths()
    named = {
        token
        for token in re.findall(r"`([^`\n]+)`", PAGE)
        if KEY.fullmatch(token) and ("." in token or "[]" in token)
    }
    assert len(named) > 100
    assert named - known == NO_KEYS


def test_no_part_of_the_tree_is_left_out() -> None:
    def told(path: str) -> bool:
        top = path.partition(".")[0]
        return any(f"`{each}" in PAGE for each in (path, f"{top}[]")) or (
            words(path.rpartition(".")[2]) in words(explained("What stands only in the tree"))
        )

    parts = {path for path in report_tree.paths() if path.count(".") == 1 and "[]" not in path}
    assert {path for path in parts if not told(path)} == set()
