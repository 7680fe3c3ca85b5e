"""The timeline: aligned to the wall clock, bounded, nothing lost and nothing made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories import SECOND, START_NS, hello
from podtrace.model.coverage import Coverage
from podtrace.model.snapshot import Timeline
from podtrace.model.timeline import KEPT_BUCKETS, SHOWN_BUCKETS, EventTimeline

COVERAGE = Coverage(hello(), {})


def shown(timeline: EventTimeline, start_ns: int, end_ns: int) -> Timeline:
    return timeline.shown(COVERAGE, start_ns, end_ns)


def steady(seconds: int, start_ns: int = START_NS) -> EventTimeline:
    timeline = EventTimeline()
    for second in range(1, seconds + 1):
        timeline.add(start_ns + second * SECOND, SECOND, {"dns": 2, "tcp": 1}, 1)
    return timeline


@pytest.mark.parametrize(
    ("seconds", "width"),
    [(5, 1), (30, 1), (31, 2), (60, 2), (61, 5), (300, 10), (3600, 300), (86_400, 3600)],
)
def test_width_keeps_bars_few_and_sums_whole(seconds: int, width: int) -> None:
    result = shown(steady(seconds), START_NS, START_NS + seconds * SECOND)
    assert result.bucket_seconds == width
    assert len(result.buckets) <= SHOWN_BUCKETS
    assert sum(bucket.events or 0 for bucket in result.buckets) == 3 * seconds
    assert sum(bucket.errors or 0 for bucket in result.buckets) == seconds
    assert sum(bucket.seconds for bucket in result.buckets) == pytest.approx(seconds)
    assert sum(bucket.operations.dns or 0 for bucket in result.buckets) == 2 * seconds


def test_buckets_start_at_round_times_of_the_wall_clock() -> None:
    result = shown(steady(280), START_NS + 3 * SECOND, START_NS + 280 * SECOND)
    assert result.bucket_seconds == 10
    assert [bucket.start[-7:] for bucket in result.buckets[:3]] == ["20.000Z", "30.000Z", "40.000Z"]


def test_second_that_was_not_measured_has_no_count() -> None:
    timeline = steady(3)
    timeline.add(START_NS + 6 * SECOND, SECOND, {"dns": 5}, 0)
    result = shown(timeline, START_NS, START_NS + 6 * SECOND)
    assert [bucket.events for bucket in result.buckets] == [3, 3, 3, None, None, 5]
    assert result.buckets[3].operations.dns is None
    assert result.buckets[3].errors is None
    assert result.buckets[5].operations.tcp == 0


def test_partial_second_has_its_rate_and_its_length() -> None:
    timeline = EventTimeline()
    timeline.add(START_NS + SECOND, SECOND // 4, {"dns": 10}, 0)
    (bucket,) = shown(timeline, START_NS, START_NS + SECOND).buckets
    assert (bucket.seconds, bucket.events, bucket.events_per_second) == (0.25, 10, 40.0)


@given(
    st.integers(0, 1000),
    st.integers(1, 10 * SECOND),
    st.integers(0, 10**9),
)
def test_long_tick_is_spread_and_keeps_its_sum(events: int, interval_ns: int, late_ns: int) -> None:
    timeline = EventTimeline()
    timeline.add(START_NS + late_ns, interval_ns, {"dns": events}, events // 2)
    buckets = timeline.buckets.values()
    assert sum(bucket.total_events for bucket in buckets) == events
    assert sum(bucket.errors for bucket in buckets) == events // 2
    assert sum(bucket.measured_ns for bucket in buckets) == interval_ns
    assert all(bucket.measured_ns <= SECOND for bucket in buckets)


def test_day_long_trace_is_bounded() -> None:
    timeline = steady(86_400)
    assert len(timeline.buckets) <= KEPT_BUCKETS
    assert sum(bucket.total_events for bucket in timeline.buckets.values()) == 3 * 86_400


def test_absurd_interval_does_not_explode() -> None:
    timeline = steady(3)
    timeline.add(START_NS + 4 * SECOND, 2**63, {"dns": 1}, 0)
    timeline.add(2**63, SECOND, {"dns": 1}, 0)
    result = shown(timeline, START_NS, START_NS + 4 * SECOND)
    assert len(result.buckets) <= SHOWN_BUCKETS


def test_section_that_is_not_measured_is_null() -> None:
    blank = Coverage(hello(blank=["dns"]), {})
    result = steady(2).shown(blank, START_NS, START_NS + 2 * SECOND)
    assert [bucket.operations.dns for bucket in result.buckets] == [None, None]


def test_empty_timeline_has_no_bars() -> None:
    assert shown(EventTimeline(), 0, 0).buckets == ()
