"""A reported duration between two truths: what was injected, and what the caller itself measured.

On a busy machine an operation takes longer, for the tracer and for the caller alike. So a report is
right that is neither below the one nor above the other, and there is no limit in seconds to pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from podtrace.wire.histogram import STEPS

RESOLUTION = 1 / (2 * STEPS)
"""Percentiles are the middles of histogram slots; averages and maxima are exact."""
ALLOWANCE_SECONDS = 0.0001


def assert_between_truths(
    latency: dict[str, Any], injected_seconds: float, measured_seconds: Sequence[float]
) -> None:
    """Check count, p50, average and maximum of a reported latency.

    `injected_seconds` is the least that each operation took, `measured_seconds` how long each was
    for its caller. Where fewer were reported, as the kernel takes no sample of a segment that it
    sent again, they are compared with the longest ones.
    """
    count = latency["count"]
    assert 0 < count <= len(measured_seconds)
    measured = sorted(measured_seconds)[-count:]
    middle = measured[math.ceil(count / 2) - 1]
    assert latency["p50_seconds"] >= injected_seconds * (1 - RESOLUTION)
    assert latency["p50_seconds"] <= middle * (1 + RESOLUTION) + ALLOWANCE_SECONDS
    assert latency["average_seconds"] >= injected_seconds
    assert latency["average_seconds"] <= sum(measured) / count + ALLOWANCE_SECONDS
    assert latency["max_seconds"] >= injected_seconds
    assert latency["max_seconds"] <= measured[-1] + ALLOWANCE_SECONDS
