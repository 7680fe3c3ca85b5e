from __future__ import annotations

from fractions import Fraction

import pytest

from podtrace.cluster.quantity import quantity


@pytest.mark.parametrize(
    "text, number",
    [
        ("10", 10),
        (3, 3),
        ("10m", Fraction(1, 100)),
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("64Mi", 64 * 2**20),
        ("1.5Gi", 3 * 2**29),
        ("1k", 1000),
        ("2M", 2_000_000),
        ("1E", 10**18),
        ("1Ei", 2**60),
        ("1e3", 1000),
        ("12E-1", Fraction(12, 10)),
        ("100n", Fraction(1, 10**7)),
        ("-1", -1),
    ],
)
def test_quantity_is_exact(text: object, number: Fraction | int) -> None:
    assert quantity(text) == number


@pytest.mark.parametrize("text", ["", "Mi", "1 Gi", "1KI", "ten", None, "1e", "1e9999"])
def test_what_is_no_quantity_is_none(text: object) -> None:
    assert quantity(text) is None
