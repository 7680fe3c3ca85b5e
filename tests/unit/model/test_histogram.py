"""Histograms: exact sums, and quantiles within 3.2 %."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podtrace.model.histogram import Histogram
from podtrace.wire.histogram import SLOTS, slot_lower, slot_of, slot_upper

durations = st.integers(0, 2**64 - 1)


def histogram(values: list[int]) -> Histogram:
    filled = Histogram()
    for value in values:
        filled.add([(slot_of(value), 1)], value, value)
    return filled


@given(st.lists(durations, min_size=1), st.sampled_from([0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0]))
def test_quantile_is_within_a_slot_of_the_exact_one(values: list[int], ratio: float) -> None:
    exact = sorted(values)[max(math.ceil(ratio * len(values)), 1) - 1] / 1e9
    assert histogram(values).quantile(ratio) == pytest.approx(exact, rel=1 / 32 + 1e-9)


@given(st.lists(durations), st.lists(durations))
def test_merging_equals_adding_all(one: list[int], other: list[int]) -> None:
    merged = histogram(one)
    merged.merge(histogram(other))
    both = histogram(one + other)
    assert (merged.slots, merged.count, merged.sum_ns, merged.max_ns) == (
        both.slots,
        both.count,
        both.sum_ns,
        both.max_ns,
    )


@given(st.lists(durations, min_size=1))
def test_quantiles_rise_and_end_at_most_at_the_maximum(values: list[int]) -> None:
    found = histogram(values).quantiles((0.1, 0.5, 0.9, 1.0))
    assert found == sorted(found, key=float)  # type: ignore[arg-type]
    assert found[-1] is not None
    assert found[-1] <= max(values) / 1e9


def test_empty_histogram_has_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None
    assert Histogram().quantiles((0.5, 0.99)) == [None, None]


def test_single_duration_is_never_reported_above_itself() -> None:
    assert histogram([1_000_001]).quantile(0.5) == pytest.approx(0.001000001, rel=0.032)
    assert histogram([1_000_001]).quantile(0.5) <= 0.001000001  # type: ignore[operator]


@pytest.mark.parametrize("power", range(64))
def test_power_of_two_is_a_slot_edge(power: int) -> None:
    assert slot_lower(slot_of(2**power)) == 2**power
    if power:
        assert slot_of(2**power - 1) == slot_of(2**power) - 1


@given(durations)
def test_duration_lies_in_its_slot(value: int) -> None:
    slot = slot_of(value)
    assert 0 <= slot < SLOTS
    assert slot_lower(slot) <= value < slot_upper(slot)


def test_durations_at_or_above_a_limit_are_counted() -> None:
    filled = histogram([1_000_000] * 5 + [50_000_000] * 3 + [80_000_000])
    assert filled.at_least(0.050) in (1, 4)
    assert filled.at_least(0.045) == 4
    assert filled.at_least(0.1) == 0


def test_maximum_lost_to_a_race_does_not_pull_a_quantile_below_its_slot() -> None:
    filled = Histogram()
    filled.add([(slot_of(1_000_000), 4)], 4_000_000, 900_000)
    assert filled.quantile(0.5) == slot_lower(slot_of(1_000_000)) / 1e9
