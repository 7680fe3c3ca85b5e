"""Bursts: stretches of time far above what is typical for this trace.

Steady noise must not count. Events that arrive independently at a steady rate (Poisson) have a
standard deviation of the root of their mean, so a burst has to be five of those above the median,
five of the measured spread too, and three times the median; and small numbers prove nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from statistics import median

from podtrace.model.clock import rfc3339
from podtrace.model.histogram import NS_PER_SECOND
from podtrace.model.snapshot import Burst, Bursts
from podtrace.model.timeline import Bucket, EventTimeline

RATIO = 3.0
DEVIATIONS = 5.0
LEAST_EVENTS = 20
LEAST_BUCKETS = 5
MEASURED_SHARE = 0.5
MAX_PERIODS = 100

_MAD_TO_DEVIATION = 1.4826


def rule(width: int) -> str:
    """Return the rule in words, for a timeline of buckets of `width` seconds."""
    unit = "seconds" if width == 1 else f"stretches of {width} s"
    return (
        f"a burst is one or more {unit} in a row with at least {LEAST_EVENTS} events each and at "
        f"least {RATIO:g} times the typical (median) rate, and more than {DEVIATIONS:g} standard "
        f"deviations above it; it takes {LEAST_BUCKETS} {unit} to know what is typical"
    )


def find_bursts(timeline: EventTimeline) -> Bursts:
    """Return the bursts of a timeline; buckets less than half measured are left out."""
    width = timeline.width
    rates = {
        index: bucket.total_events * NS_PER_SECOND / bucket.measured_ns
        for index, bucket in sorted(timeline.buckets.items())
        if bucket.measured_ns >= MEASURED_SHARE * width * NS_PER_SECOND
    }
    if len(rates) < LEAST_BUCKETS:
        return Bursts(rule=rule(width), typical_events_per_second=None, periods=())
    typical = median(rates.values())
    limit = _limit(typical, list(rates.values()), width)
    periods: list[list[int]] = []
    for index, rate in rates.items():
        if rate < limit:
            continue
        if periods and periods[-1][-1] == index - 1:
            periods[-1].append(index)
        else:
            periods.append([index])
    loudest = sorted(periods, key=lambda period: -max(rates[index] for index in period))
    shown = sorted(loudest[:MAX_PERIODS])
    return Bursts(
        rule=rule(width),
        typical_events_per_second=typical,
        periods=tuple(_burst(period, timeline, typical) for period in shown),
    )


def _limit(typical: float, rates: list[float], width: int) -> float:
    poisson = math.sqrt(max(typical * width, 1)) / width
    measured = median(abs(rate - typical) for rate in rates) * _MAD_TO_DEVIATION
    return max(
        LEAST_EVENTS / width,
        RATIO * typical,
        typical + DEVIATIONS * max(poisson, measured),
    )


def _burst(period: list[int], timeline: EventTimeline, typical: float) -> Burst:
    whole = Bucket()
    leaders: Counter[str] = Counter()
    for index in period:
        bucket = timeline.buckets[index]
        whole.merge(bucket)
        if bucket.leader is not None:
            leaders[bucket.leader.name] += bucket.leader_events
    rate = whole.total_events * NS_PER_SECOND / whole.measured_ns
    return Burst(
        start=rfc3339(period[0] * timeline.width * NS_PER_SECOND),
        duration_seconds=float(len(period) * timeline.width),
        events=whole.total_events,
        events_per_second=rate,
        ratio_to_typical=rate / typical if typical else None,
        leading_section=max(whole.events, key=lambda section: whole.events[section]),
        leading_process=leaders.most_common(1)[0][0] if leaders else None,
    )
