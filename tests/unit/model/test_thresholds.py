"""Thresholds describe themselves, and docs/findings.md says what the code does."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from podtrace.model.rules import RULES
from podtrace.model.thresholds import Thresholds, describe

PAGE = (Path(__file__).parents[3] / "docs/findings.md").read_text()


def shown(value: float, unit: str) -> str:
    if unit == "ratio":
        return f"{value * 100:g} %"
    return f"{value * 1000:g} ms" if unit == "seconds" else f"{value:g}"


def rules_table() -> str:
    rows = [
        f"| `{rule.id}` | {rule.about} | {', '.join(f'`{name}`' for name in rule.limits) or '-'} |"
        for rule in RULES
    ]
    return "\n".join(["| finding | what it says | thresholds |", "|---|---|---|", *rows])


def limits_table() -> str:
    rows = [
        f"| `{limit.name}` | {shown(limit.default, limit.unit)} | {limit.help} |"
        for limit in describe()
    ]
    return "\n".join(["| threshold | default | meaning |", "|---|---|---|", *rows])


@pytest.mark.parametrize("table", [rules_table, limits_table])
def test_page_has_the_tables_of_the_code(table: object) -> None:
    assert callable(table)
    assert table() in PAGE


def test_every_limit_is_used_by_a_rule_and_the_reverse() -> None:
    used = {name for rule in RULES for name in rule.limits}
    assert used == {limit.name for limit in describe()}


def test_help_is_one_short_line() -> None:
    for limit in describe():
        assert 20 < len(limit.help) < 90
        assert "\n" not in limit.help


def test_name_tells_the_unit() -> None:
    for limit in describe():
        suffix = {"ratio": "_ratio", "seconds": "_seconds", "count": ""}[limit.unit]
        assert limit.name.endswith(suffix)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_limit_that_is_none_is_refused_by_name(value: float) -> None:
    with pytest.raises(ValueError, match="fsync_slow_p95_seconds"):
        Thresholds(fsync_slow_p95_seconds=value)


def test_rule_ids_are_names() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert all(re.fullmatch(r"[a-z_]+", rule.id) for rule in RULES)


def test_thresholds_can_be_changed_one_by_one() -> None:
    changed = replace(Thresholds(), lost_ratio=0.5)
    assert changed.lost_ratio == 0.5
    assert changed.dns_errors_ratio == Thresholds().dns_errors_ratio
