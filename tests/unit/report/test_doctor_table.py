from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from podtrace.checkup import (
    FAILED,
    OK,
    SKIPPED,
    STATES,
    WARNING,
    Check,
    Checkup,
    SectionOutlook,
    check_of,
    to_tree,
)
from podtrace.errors import LaunchError
from podtrace.report.doctor_table import doctor_lines, write_doctor_json, write_doctor_table
from podtrace.report.escape import cell_width
from podtrace.report.style import Style

DOCUMENT = Path(__file__).parents[3] / "docs/doctor.schema.json"
COMMAND = "  kubectl label --overwrite ns shop pod-security.kubernetes.io/enforce=privileged"

FULL = SectionOutlook("full")
MIXED = Checkup(
    (
        Check("API server", OK, "https://cluster.test v1.34.4, answers in 3 ms"),
        Check("Rights: nodes", WARNING, "you may not get nodes", "ask for the right to get nodes"),
        Check("Pod Security", FAILED, "enforce=restricted", f"allow it:\n{COMMAND}"),
        Check("Trace on worker-1", SKIPPED, "no tracer was started"),
    ),
    {
        "dns": SectionOutlook("blank", "no version 2 cgroup hierarchy is mounted"),
        "tcp": SectionOutlook("degraded", "this kernel has no tracepoint tcp_probe"),
        "cpu": FULL,
    },
)


def test_table_of_every_state() -> None:
    assert doctor_lines(MIXED) == [
        "A trace would NOT work: see Pod Security.",
        "",
        "  Check              Result     Found",
        "  API server         ✓ ok       https://cluster.test v1.34.4, answers in 3 ms",
        "  Rights: nodes      ! warning  you may not get nodes",
        "  Pod Security       ✗ failed   enforce=restricted",
        "  Trace on worker-1  - skipped  no tracer was started",
        "",
        "How to fix it",
        "─────────────",
        "  Rights: nodes",
        "    ask for the right to get nodes",
        "  Pod Security",
        "    allow it:",
        "      kubectl label --overwrite ns shop pod-security.kubernetes.io/enforce=privileged",
        "",
        "Sections of the report",
        "──────────────────────",
        "  DNS Statistics              blank      no version 2 cgroup hierarchy is",
        "                                         mounted",
        "  TCP Statistics              degraded   this kernel has no tracepoint tcp_probe",
        "  full: CPU Statistics",
    ]


def test_table_without_unicode_has_other_signs() -> None:
    lines = doctor_lines(MIXED, Style(unicode=False))
    assert all(line.isascii() for line in lines)
    assert "  Pod Security       x failed   enforce=restricted" in lines


@pytest.mark.parametrize(
    "checks, sections, verdict",
    [
        ((Check("a", OK, "b"),), {"dns": FULL}, "A trace would work."),
        ((Check("a", OK, "b"),), None, "Nothing was found that would keep a trace from working."),
        ((Check("a", WARNING, "b"),), None, "A trace would work, with 1 warning."),
        ((Check("a", FAILED, "b"),), None, "A trace would NOT work: see a."),
    ],
)
def test_verdict_comes_first(
    checks: tuple[Check, ...], sections: dict[str, SectionOutlook] | None, verdict: str
) -> None:
    assert doctor_lines(Checkup(checks, sections))[0] == verdict


def test_sections_that_are_all_full_take_one_line() -> None:
    lines = doctor_lines(Checkup((Check("a", OK, "b"),), {"dns": FULL, "tcp": FULL}))
    assert lines[-1] == "  all of them full"


def test_columns_of_an_advice_stay_aligned_and_long_ones_are_wrapped() -> None:
    advice = "build it:       make image\nload it:        docker load\n" + "word " * 20
    assert doctor_lines(Checkup((Check("a", FAILED, "b", advice),)))[-4:] == [
        "    build it:       make image",
        "    load it:        docker load",
        "    " + "word " * 14 + "word",
        "    word word word word word",
    ]


def test_colour_changes_no_character() -> None:
    plain, coloured = io.StringIO(), io.StringIO()
    write_doctor_table(MIXED, plain, Style())
    write_doctor_table(MIXED, coloured, Style(colour=True))
    assert "\x1b[" in coloured.getvalue()
    assert Text.from_ansi(coloured.getvalue()).plain.rstrip() == plain.getvalue().rstrip()


@given(st.text(), st.text(min_size=1), st.text(), st.sampled_from(STATES))
def test_hostile_text_stays_in_the_table(name: str, found: str, fix: str, state: Any) -> None:
    lines = doctor_lines(Checkup((Check(name, state, found, fix),)))
    for line in lines:
        assert "\x1b" not in line and "\n" not in line and "\u202e" not in line
    table = lines[: lines.index("How to fix it")] if "How to fix it" in lines else lines
    assert all(cell_width(line) <= 80 for line in table)


def test_error_becomes_a_check_whose_lines_stay_apart() -> None:
    error = LaunchError("refused", "do this", ("  first command", "said:\nmore"))
    assert check_of("Pod", error) == Check(
        "Pod", FAILED, "refused", "do this\n  first command\nsaid: more"
    )


@pytest.mark.parametrize("checkup", [MIXED, Checkup((Check("a", OK, "b"),))])
def test_json_is_as_documented(checkup: Checkup) -> None:
    stream = io.StringIO()
    write_doctor_json(checkup, stream)
    tree = json.loads(stream.getvalue())
    jsonschema.validate(tree, json.loads(DOCUMENT.read_text()))
    assert tree == to_tree(checkup)
    assert stream.getvalue().isascii()


def test_only_failures_keep_a_trace_from_working() -> None:
    states = {state: Checkup((Check("a", state, "b"),)).works for state in STATES}
    assert states == {OK: True, WARNING: True, FAILED: False, SKIPPED: True}
