from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import SYSTEM_PYTHON
from metrics_page import Metered, Page
from podtracer.drain import Group
from podtracer.metrics.families import FAMILIES, HISTOGRAM, Family
from podtracer.metrics.places import MOST_CONTAINERS, Places, shown
from podtracer.metrics.samples import Samples
from podtracer.records import METRICS, process_name
from podtracer.target import Target

EXEC = METRICS.index("exec")
TRACER = Path(__file__).parents[4] / "tracer-image"


def page_of(name: str, container: str = "app") -> Page:
    metered = Metered(containers={7: container})
    metered.process(1, name)
    metered.meter.count({(EXEC, 1, 1, 0): Group(count=1)})
    return metered.page()


@pytest.mark.parametrize(
    ("raw", "label"),
    [
        (b"nginx: master", "nginx: master"),
        (b'say "hi"', 'say "hi"'),
        (b"a\\nb\\", "a\\nb\\"),
        (b"a\nb", "a\\x0ab"),
        (b'a"} 1\nx_total 5', "".join(('a"} 1', "\\x0a", "x_total 5"))),
        (b"\x00rest", "(unknown)"),
        (b"\x1b[31mred", "\\x1b[31mred"),
        (b"\xff\xfe", "\\xff\\xfe"),
        ("\u202e".encode() * 5, "\\u{202e}" * 5),
        ("\u2028\u2029\x85".encode(), "\\u{2028}\\u{2029}\\x85"),
        (b"100% %s %d %%", "100% %s %d %%"),
        ("наука".encode(), "наука"),
        (b"{a=b,c}", "{a=b,c}"),
    ],
)
def test_a_hostile_name_is_a_valid_label(raw: bytes, label: str) -> None:
    page = page_of(process_name(raw))
    (labels,) = page.labels_of("podtrace_operations_total")
    assert labels["process_name"] == label
    assert page.samples["podtrace_operations_total"][frozenset(labels.items())] == 1


@given(raw=st.binary(max_size=15), container=st.text(max_size=80))
def test_whatever_a_process_is_called_the_page_can_be_read(raw: bytes, container: str) -> None:
    page = page_of(process_name(raw), container)
    (labels,) = page.labels_of("podtrace_operations_total")
    assert labels["process_name"].isprintable()
    assert labels["container"].isprintable()
    # A line of the format ends at a newline, and Python's other ends of lines do not stand in it.
    assert len(page.text.splitlines()) == page.text.count("\n") == 3


@given(st.text())
def test_what_prints_is_shown_as_it_is(text: str) -> None:
    assert shown(text).isprintable()
    if text.isprintable():
        assert shown(text) == text


def test_containers_without_end_have_a_bounded_number_of_labels() -> None:
    places = Places([Target(1, "cgroup", "all")])
    labels = {places.of(1, f"container{number}") for number in range(10_000)}
    assert len(labels) == MOST_CONTAINERS + 1
    assert ("", "", "other") in labels
    assert places.of(1, "container5") == ("", "", "container5")


def test_a_sample_that_has_gone_is_no_longer_on_the_page() -> None:
    metered = Metered()
    table = metered.meter.tables["podtrace_dns_pending"]
    table.set((), 5)
    assert metered.page().value("podtrace_dns_pending") == 5
    table.drop(())
    assert metered.page().text == ""


def test_large_counts_are_exact() -> None:
    metered = Metered()
    table = metered.meter.tables["podtrace_suppressed_events_total"]
    table.add((), 2**52 + 1)
    assert metered.page().value("podtrace_suppressed_events_total") == 2**52 + 1


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_names_and_bounds_follow_the_rules(family: Family) -> None:
    assert family.name.startswith("podtrace_")
    assert family.help.endswith(".")
    assert (family.kind == HISTOGRAM) == bool(family.powers)
    if family.powers:
        assert 14 <= len(family.powers) <= 18
        assert list(family.powers) == sorted(set(family.powers))
    if "_seconds" in family.name:
        assert family.per == 1_000_000_000


def test_a_gauge_that_stays_as_it_is_is_not_rendered_again() -> None:
    samples = Samples(FAMILIES["podtrace_processes"])
    samples.set((), 0)
    samples.changed.clear()
    samples.set((), 0)
    assert not samples.changed


def test_without_metrics_nothing_of_them_is_imported() -> None:
    script = (
        "import sys, json; sys.path.insert(0, sys.argv[1])\n"
        "from podtracer import __main__, tracer, tick, listeners, ends\n"
        "print(json.dumps([m for m in sys.modules if 'metrics' in m or 'prometheus' in m]))"
    )
    output = subprocess.run(
        [SYSTEM_PYTHON, "-I", "-c", script, str(TRACER)], stdout=subprocess.PIPE, check=True
    ).stdout
    assert json.loads(output) == []
