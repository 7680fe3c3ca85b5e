"""Figures keep three digits and a unit; nothing measured and nothing seen differ."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podtrace.report import quantities


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (0, "0 s"),
        (7.3e-9, "7 ns"),
        (812e-9, "812 ns"),
        (999.7e-9, "1.00 µs"),
        (3.1e-6, "3.10 µs"),
        (0.01241, "12.4 ms"),
        (0.9996, "1.00 s"),
        (1.25, "1.25 s"),
        (125, "125 s"),
        (1000, "16.7 min"),
        (144_000, "40.0 h"),
        (172_800, "2.00 d"),
        (2**64 / 1e9, "585 y"),
    ],
)
def test_duration(seconds: float | None, shown: str) -> None:
    assert quantities.duration(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "-"), (0, "0"), (5000, "5,000"), (12_345_678, "12.3 M")]
)
def test_count(value: int | None, shown: str) -> None:
    assert quantities.count(value) == shown


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [
        (None, "-"),
        (0, "0.0 %"),
        (1e-9, "<0.1 %"),
        (0.124, "12.4 %"),
        (0.99999, "99.9 %"),
        (1, "100.0 %"),
    ],
)
def test_percent_never_rounds_something_to_nothing_or_all(ratio: float | None, shown: str) -> None:
    assert quantities.percent(ratio) == shown


def test_bytes_and_rates() -> None:
    assert quantities.size(812) == "812 B"
    assert quantities.size(1_048_000) == "1.00 MiB"
    assert quantities.size_rate(13_002_342) == "12.4 MiB/s"
    assert quantities.size_rate(None) == "-"
    assert quantities.rate(0.314) == "0.31/s"
    assert quantities.rate(12_345) == "12.3 k/s"
    assert quantities.span(3725) == "1:02:05"
    assert quantities.span(7.9) == "0:07"


@given(st.floats(min_value=0, max_value=1e30), st.integers(0, 10**30))
def test_every_figure_fits_a_column(value: float, whole: int) -> None:
    assert len(quantities.duration(min(value, 2**64 / 1e9))) <= 9
    assert len(quantities.count(whole)) <= 9
    assert len(quantities.rate(value)) <= 11
    assert len(quantities.size(value)) <= 10
    assert len(quantities.percent(value)) <= 10
