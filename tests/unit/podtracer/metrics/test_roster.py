"""Who has series of their own, and that no sum falls when somebody loses them."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics_page import Metered, Page
from podtrace.wire.histogram import slot_of
from podtracer import records
from podtracer.drain import Group, GroupKey
from podtracer.metrics.roster import ESTABLISHED_TICKS, UNCHANGED_TICKS
from podtracer.target import Target

OPERATIONS = "podtrace_operations_total"
READ, PIPE, CONNECT = map(records.METRICS.index, ("read", "pipe", "connect"))


class Town:
    """A meter with room for few names, and processes that are called by name."""

    def __init__(self, most: int) -> None:
        self.metered = Metered(most)
        self._numbers: dict[str, int] = {}

    def live(self, *names: str) -> None:
        for name in names:
            self._numbers[name] = len(self._numbers) + 1
            self.metered.process(self._numbers[name], name)

    def end(self, *names: str) -> None:
        for name in names:
            self.metered.process(self._numbers[name], name, exit_ns=5)
            self.metered.meter.forget(self._numbers[name])

    def tick(self, times: int = 1, **work: int) -> None:
        groups: dict[GroupKey, Group] = {
            (PIPE, self._numbers[name], 1, 0): Group(count=count) for name, count in work.items()
        }
        for _ in range(times):
            self.metered.meter.count(groups)

    def listed(self) -> dict[str, float]:
        page = self.metered.page()
        samples = page.samples.get(OPERATIONS, {})
        return {dict(labels)["process_name"]: value for labels, value in samples.items()}


def test_names_beyond_the_limit_are_one_together() -> None:
    town = Town(2)
    town.live("a", "b", "c", "d")
    town.tick(a=1, b=10, c=100, d=1000)
    assert town.listed() == {"d": 1000, "c": 100, "other": 11}


def test_processes_of_one_name_share_a_place() -> None:
    town = Town(1)
    town.live("a")
    town.metered.process(50, "a")
    town.metered.meter.count({(PIPE, n, 1, 0): Group(count=1) for n in (1, 50)})
    assert town.listed() == {"a": 2}


def test_a_name_without_processes_gives_way_after_a_while() -> None:
    town = Town(1)
    town.live("old")
    town.tick(old=5)
    town.end("old")
    town.tick(UNCHANGED_TICKS - 2)
    # Not long there, so that it has to wait until the other was idle for long enough.
    town.live("new")
    town.tick(new=1)
    assert town.listed() == {"old": 5, "other": 1}
    town.tick(new=2)
    assert town.listed() == {"new": 2, "other": 6}


def test_of_names_without_processes_the_longest_unchanged_gives_way_first() -> None:
    town = Town(2)
    town.live("first", "second")
    town.tick(first=1)
    town.tick(second=1)
    town.end("first", "second")
    town.tick(UNCHANGED_TICKS + 1)
    town.live("new")
    town.tick(new=1)
    assert town.listed() == {"second": 1, "new": 1, "other": 1}


def test_a_short_lived_name_takes_nobodys_place() -> None:
    town = Town(1)
    town.live("server")
    town.tick(server=1)
    for number in range(30):
        town.live(f"job{number}")
        town.tick(**{"server": 1, f"job{number}": 1000})
        town.end(f"job{number}")
    assert town.listed() == {"server": 31, "other": 30_000}


def test_an_established_name_takes_the_place_of_one_without_processes() -> None:
    town = Town(1)
    town.live("once", "server")
    town.tick(once=5)
    town.end("once")
    town.tick()
    town.tick(ESTABLISHED_TICKS, server=1)
    assert town.listed()["server"] >= 1
    assert "once" not in town.listed()


def test_an_established_name_that_does_much_more_takes_the_place_of_the_least_used() -> None:
    town = Town(2)
    town.live("busy", "lazy", "late")
    town.tick(busy=100, lazy=10)
    town.tick(ESTABLISHED_TICKS + 5, busy=100, lazy=10, late=15)
    assert {"busy", "lazy"} <= town.listed().keys()
    town.tick(20, busy=100, lazy=10, late=100)
    assert {"busy", "late", "other"} == town.listed().keys()
    # Once it has its place, it is not lost to one that does about as much.
    town.tick(20, busy=100, lazy=120, late=100)
    assert {"busy", "late", "other"} == town.listed().keys()


def test_who_left_leaves_no_latest_value_behind() -> None:
    town = Town(1)
    town.live("old")
    town.metered.meter.count({(READ, 1, 1, 0): Group(count=1, sum_ns=9, slots={9: 1})})
    town.end("old")
    town.tick(UNCHANGED_TICKS + 1)
    town.live("new")
    town.tick(new=1)
    page = town.metered.page()
    assert page.value("podtrace_fs_latency_seconds_gauge", process_name="old") is None
    count = "podtrace_fs_latency_seconds_histogram_count"
    assert page.value(count, process_name="other") == 1


@pytest.mark.parametrize("name", ["other", "(unknown)", "(overflow)"])
def test_a_process_may_be_called_like_those_that_are_none(name: str) -> None:
    town = Town(1)
    town.live("app", name)
    town.tick(app=1, **{name: 2})
    assert town.listed() == {"app": 1, name: 2}
    town.end(name)
    town.tick(app=1)


def test_nothing_is_kept_of_names_that_are_neither_listed_nor_alive() -> None:
    town = Town(3)
    for number in range(500):
        town.live(f"job{number}")
        town.tick(**{f"job{number}": 1})
        town.end(f"job{number}")
        town.tick()
    roster = town.metered.meter._roster
    assert len(roster._names) <= 3
    assert town.metered.meter._labels == {}
    assert len(town.metered.page().samples[OPERATIONS]) <= 4


STEPS = st.lists(
    st.lists(
        st.tuples(
            st.integers(1, 12),  # process
            st.sampled_from([READ, PIPE, CONNECT]),
            st.integers(1, 5),  # operations
            st.integers(0, 2**33),  # duration
        ),
        max_size=6,
    ),
    max_size=40,
)


@given(steps=STEPS, ends=st.lists(st.integers(0, 12), max_size=40), pause=st.booleans())
def test_sums_over_a_family_are_exact_and_never_fall(
    steps: list[list[tuple[int, int, int, int]]], ends: list[int], pause: bool
) -> None:
    targets = [Target(n, "pod", f"p{n}", namespace="ns", pod=f"p{n}") for n in (1, 2)]
    metered = Metered(3, targets)
    truth: Counter[str] = Counter()
    before: dict[str, float] = {}
    for tick, step in enumerate(steps):
        groups: dict[GroupKey, Group] = {}
        for process, metric, count, ns in step:
            target = 1 + process % 2
            if process not in metered.meter._living:
                metered.process(process, f"name{process % 9}", target=target)
            group = groups.setdefault((metric, process, target, 0), Group())
            group.merge(Group(count=count, sum_ns=count * ns, slots={slot_of(ns): count}))
            name = records.METRICS[metric]
            truth[f"operations {name}"] += count
            if metric != PIPE:
                truth[f"sum {name}"] += count * ns
        metered.meter.count(groups)
        if tick < len(ends) and ends[tick] in metered.meter._living:
            process = ends[tick]
            metered.process(process, "gone", target=1 + process % 2, exit_ns=9)
            metered.meter.forget(process)
        if pause:
            for _ in range(UNCHANGED_TICKS // 4):
                metered.meter.count({})
        now = sums(metered.page())
        assert all(now.get(name, 0) >= value for name, value in before.items())
        before = now
    page = metered.page()
    for name in ("read", "pipe", "connect"):
        assert page.total(OPERATIONS, type=name) == truth[f"operations {name}"]
    for family, name in (("fs_latency_seconds_histogram", "read"), ("latency_seconds", "connect")):
        count = page.total(f"podtrace_{family}_count", type=name)
        assert count == truth[f"operations {name}"]
        assert page.total(f"podtrace_{family}_bucket", type=name, le="+Inf") == count
        total = page.total(f"podtrace_{family}_sum", type=name)
        assert total == pytest.approx(truth[f"sum {name}"] / 1e9, rel=1e-12)


def sums(page: Page) -> dict[str, float]:
    """Return the sum over each family whose samples may not fall, by name and bucket."""
    totals: Counter[str] = Counter()
    for name, samples in page.samples.items():
        if name.endswith(("_total", "_bucket", "_count")):
            for labels, value in samples.items():
                totals[name + dict(labels).get("le", "")] += value
    return totals


def test_process_rows_of_a_tick_that_are_renamed_keep_count_of_the_living() -> None:
    metered = Metered(1)
    for name in ("sh", "nginx", "nginx"):
        metered.process(1, name)
    metered.process(1, "nginx", exit_ns=4)
    assert metered.meter._roster._names == {}
