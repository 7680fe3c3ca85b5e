"""The documents against the tree that they describe."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from contract import pages
from contract.pages import DOCUMENTS, ROOT
from podtrace.wire import schema

STREAM = (ROOT / "docs/stream.md").read_text()


def names(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def section(title: str) -> str:
    return STREAM.split(f"\n## {title}\n")[1].split("\n## ")[0]


def metric_rows() -> dict[str, list[str]]:
    """Return, for each metric of the table, the cells behind its name."""
    rows = {}
    for line in section("series").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5:
            rows.update({name: cells[1:] for name in names(cells[0])})
    return rows


@pytest.mark.parametrize("document", DOCUMENTS, ids=pages.name_of)
def test_links_lead_somewhere(document: Path) -> None:
    lost = []
    for path, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", document.read_text()):
        if "://" in path:
            continue
        place = document.parent / path if path else document
        if not place.exists() or (anchor and anchor not in pages.anchors(place)):
            lost.append(f"{path}#{anchor}")
    assert lost == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=pages.name_of)
def test_make_targets_exist(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(
        re.findall(r"(?:^|`|[A-Z]=\S+ )make ([a-z][a-z0-9-]+)", document.read_text(), re.MULTILINE)
    )
    assert {name for name in targets if f"\n{name}:" not in makefile} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=pages.name_of)
def test_files_that_commands_name_exist(document: Path) -> None:
    """Those of this project: what is run or read from a checkout."""
    folders = ("bpf/", "docs/", "krew/", "plugin/", "scripts/", "tests/", "tracer-image/", "./")
    named = {
        word.rstrip(",.)")
        for line in pages.shell_lines(document.read_text())
        for word in shlex.split(line, comments=True)
        if word.startswith(folders) and not re.search("[*$]", word)
    }
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_version_of_the_stream_is_the_documented_one() -> None:
    assert f"schema {schema.SCHEMA[0]}.{schema.SCHEMA[1]}" in STREAM


def test_every_kind_of_line_has_its_section() -> None:
    titles = re.findall(r"^## (.+)$", STREAM, re.MULTILINE)
    assert sorted(titles) == sorted(["Rules", *schema.KINDS, schema.NAMES])


def test_every_metric_is_documented_as_the_schema_has_it() -> None:
    documented = {
        name: (timed == "yes", event == "yes")
        for name, (_, timed, _, event) in metric_rows().items()
    }
    assert documented == {
        name: (metric.timed, metric.event) for name, metric in schema.METRICS.items()
    }


def test_every_event_is_documented() -> None:
    listed = section("event").split("is one of")[1].split(". With")[0]
    assert names(listed) == set(schema.EVENTS)


def test_every_block_reason_is_documented() -> None:
    row = next(line for line in section("series").splitlines() if line.startswith("| `reason`"))
    assert names(row) - {"reason", "blocked"} == set(schema.BLOCK_REASONS)


def test_every_reason_to_end_is_documented() -> None:
    row = next(line for line in section("end").splitlines() if line.startswith("| `reason`"))
    assert names(row) - {"reason"} == set(schema.END_REASONS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=pages.name_of)
def test_every_metric_that_is_named_is_served(document: Path) -> None:
    """docs/metrics.md is compared with the tracer by a test of its own."""
    page = (ROOT / "docs/metrics.md").read_text()
    served = set(re.findall(r"^\| `(podtrace_\w+)` \|", page, re.MULTILINE))
    assert served
    named = set(re.findall(r"\bpodtrace_[a-z_]+(?<!_)\b", document.read_text()))
    known = served | {f"{name}_{part}" for name in served for part in ("bucket", "count", "sum")}
    assert named - known == set()
