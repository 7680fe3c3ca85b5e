"""Stretches of time as a set: nothing twice, nothing lost, and bounded."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podtrace.model import intervals as intervals_module
from podtrace.model.intervals import Intervals


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)), max_size=30))
def test_fresh_parts_are_those_that_were_not_covered(added: list[tuple[int, int]]) -> None:
    found = Intervals()
    covered: set[int] = set()
    for start, length in added:
        stretch = set(range(start, start + length))
        fresh = [
            number
            for begin, end in found.add(start, start + length)
            for number in range(begin, end)
        ]
        assert fresh == sorted(stretch - covered)
        covered |= stretch
        assert found.total_ns == len(covered)
    pairs = list(found)
    assert {number for begin, end in pairs for number in range(begin, end)} == covered
    assert all(end < begin for (_, end), (begin, _) in itertools.pairwise(pairs))


def test_stretch_that_ends_before_it_begins_is_none() -> None:
    found = Intervals()
    assert found.add(5, 3) == []
    assert found.total_ns == 0


def test_stretches_with_gaps_are_bounded_and_the_total_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intervals_module, "KEPT", 10)
    found = Intervals()
    for number in range(100):
        found.add(10 * number, 10 * number + 1)
    assert found.total_ns == 100
    assert len(list(found)) == 10
