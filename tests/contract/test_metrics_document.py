"""docs/metrics.md against the tracer's registry of families, both ways."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from podtrace.wire.schema import BLOCK_REASONS
from podtracer.metrics import meter, roster
from podtracer.metrics.families import FAMILIES
from podtracer.metrics.meter import TIMED
from podtracer.metrics.places import MOST_CONTAINERS
from podtracer.request import Request

DOCUMENT = (Path(__file__).parents[2] / "docs/metrics.md").read_text()


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


BOUNDS = "The bounds:"


def rows(document: str) -> dict[str, list[str]]:
    """Return the other cells of each row that begins with a family's name, by that name."""
    found = {}
    for line in document.splitlines():
        row = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `podtrace_"):
            (name,) = quoted(row[0])
            assert name not in found, f"{name} is described twice"
            found[name] = row[1:]
    return found


def bounds() -> str:
    return DOCUMENT.split(BOUNDS)[1].split("\n## ")[0]


def families() -> dict[str, list[str]]:
    return rows(DOCUMENT.replace(bounds(), ""))


def listed(name: str, label: str) -> set[str]:
    """Return the values that the meaning of a family gives for a label."""
    meaning = families()[name][2]
    text = meaning.split(f"`{label}`:")[1]
    return set(quoted(re.sub(r"\([^)]*\)", "", text)))


def test_names_kinds_and_labels_are_those_of_the_tracer() -> None:
    documented = {
        name: (kind, tuple(quoted(labels))) for name, (kind, labels, _) in families().items()
    }
    assert documented == {name: (family.kind, family.labels) for name, family in FAMILIES.items()}


def test_bounds_are_those_of_the_tracer() -> None:
    assert rows(bounds()) == {
        family.name: [
            f"{(1 << family.powers[0]) / 1e3:#.3g} µs".replace(". ", " "),
            f"{(1 << family.powers[-1]) / 1e9:#.3g} s",
            str(len(family.powers)),
        ]
        for family in FAMILIES.values()
        if family.powers
    }


@pytest.mark.parametrize("family", {timed.histogram.name for timed in TIMED.values()})
def test_types_of_latencies_are_documented(family: str) -> None:
    types = {timed.type for timed in TIMED.values() if timed.histogram.name == family}
    assert listed(family, "type") == types


@pytest.mark.parametrize(
    ("family", "label", "values"),
    [
        ("podtrace_operations_total", "type", meter.OPERATIONS),
        ("podtrace_bytes_total", "type", meter.BYTES),
        ("podtrace_wait_seconds_total", "type", meter.WAITED),
        ("podtrace_operation_errors_total", "type", meter.CALLS),
        ("podtrace_off_cpu_seconds_total", "reason", BLOCK_REASONS),
    ],
)
def test_values_of_labels_are_documented(family: str, label: str, values: tuple[str, ...]) -> None:
    assert listed(family, label) == set(values)


def test_limits_are_those_of_the_tracer() -> None:
    assert f"After {MOST_CONTAINERS} containers" in DOCUMENT
    assert f"for {roster.UNCHANGED_TICKS} ticks" in DOCUMENT
    assert f"{roster.ESTABLISHED_TICKS} ticks takes the place" in DOCUMENT
    assert f"`--metrics-processes` names ({Request().metrics_processes})" in DOCUMENT
