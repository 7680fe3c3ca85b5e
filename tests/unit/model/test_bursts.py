"""Bursts: a step is one, noise is none."""

from __future__ import annotations

import math
import random

import pytest

from factories import SECOND, START_NS
from podtrace.model.bursts import find_bursts
from podtrace.model.processes import Process
from podtrace.model.snapshot import Bursts
from podtrace.model.timeline import EventTimeline


def poisson(rate: float, chance: random.Random) -> int:
    if rate > 500:
        return max(0, round(chance.gauss(rate, math.sqrt(rate))))
    limit, product, count = math.exp(-rate), chance.random(), 0
    while product > limit:
        product *= chance.random()
        count += 1
    return count


def bursts_of(counts: list[int], leader: Process | None = None) -> Bursts:
    timeline = EventTimeline()
    for second, count in enumerate(counts, start=1):
        timeline.add(START_NS + second * SECOND, SECOND, {"dns": count}, 0, leader, count)
    return find_bursts(timeline)


@pytest.mark.parametrize("rate", [0.1, 0.5, 1, 2, 5, 10, 30, 100, 1000, 50_000])
@pytest.mark.parametrize("seconds", [6, 20, 300])
def test_steady_noise_is_no_burst(rate: float, seconds: int) -> None:
    chance = random.Random(f"{rate} {seconds}")
    for _ in range(40):
        counts = [poisson(rate, chance) for _ in range(seconds)]
        assert bursts_of(counts).periods == ()


@pytest.mark.parametrize(
    ("rate", "seconds"),
    [(5, 60), (5, 600), *((rate, n) for rate in (20, 100, 1000, 50_000) for n in (10, 60, 600))],
)
@pytest.mark.parametrize("length", [1, 2])
def test_five_times_the_rate_is_a_burst(rate: int, length: int, seconds: int) -> None:
    chance = random.Random(f"{rate} {length} {seconds}")
    for _ in range(20):
        counts = [poisson(rate, chance) for _ in range(seconds)]
        start = chance.randrange(seconds - length + 1)
        for second in range(start, start + length):
            counts[second] = max(poisson(5 * rate, chance), 4 * rate, 20)
        (burst,) = bursts_of(counts).periods
        assert burst.duration_seconds == length
        assert burst.events == sum(counts[start : start + length])
        assert burst.ratio_to_typical is not None
        assert burst.ratio_to_typical >= 3
        assert burst.leading_section == "dns"


def test_regular_swing_is_no_burst() -> None:
    assert bursts_of([10, 40, 130] * 20).periods == ()


def test_burst_tells_when_it_was_and_who_led_it() -> None:
    process = Process(7)
    process.name = "batch"
    found = bursts_of([10] * 5 + [100, 120] + [10] * 5, leader=process)
    (burst,) = found.periods
    assert burst.start == "2025-10-09T08:53:25.000Z"
    assert burst.leading_process == "batch"
    assert found.typical_events_per_second == 10


def test_burst_out_of_silence_has_no_ratio() -> None:
    (burst,) = bursts_of([0] * 8 + [50] + [0] * 3).periods
    assert burst.ratio_to_typical is None


def test_short_first_and_last_tick_are_left_out() -> None:
    timeline = EventTimeline()
    timeline.add(START_NS + SECOND, SECOND // 10, {"dns": 50}, 0)
    for second in range(2, 12):
        timeline.add(START_NS + second * SECOND, SECOND, {"dns": 20}, 0)
    timeline.add(START_NS + 11 * SECOND + SECOND // 5, SECOND // 5, {"dns": 90}, 0)
    assert find_bursts(timeline).periods == ()


def test_partial_second_is_taken_at_its_rate() -> None:
    timeline = EventTimeline()
    for second in range(1, 11):
        timeline.add(START_NS + second * SECOND, SECOND, {"dns": 20}, 0)
    timeline.add(START_NS + 10 * SECOND + 6 * SECOND // 10, 6 * SECOND // 10, {"dns": 12}, 0)
    assert find_bursts(timeline).periods == ()


def test_four_seconds_are_too_short_to_know_what_is_typical() -> None:
    found = bursts_of([10, 10, 900, 10])
    assert found.typical_events_per_second is None
    assert found.periods == ()


def test_rule_states_its_numbers() -> None:
    rule = bursts_of([]).rule
    assert all(number in rule for number in ("20 events", "3 times", "5 standard deviations"))


def test_long_trace_states_its_coarser_stretches() -> None:
    timeline = EventTimeline()
    for second in range(1, 4000):
        timeline.add(START_NS + second * SECOND, SECOND, {"dns": 3}, 0)
    assert "stretches of 10 s" in find_bursts(timeline).rule
