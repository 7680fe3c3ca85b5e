"""Folding keeps every sum and the names of what is busiest."""

from __future__ import annotations

from podtracer import records
from podtracer.drain import Group, GroupKey
from podtracer.folding import MOST_LABELS, fold

DNS = records.METRICS.index("dns")
READ = records.METRICS.index("read")
BLOCKED = records.METRICS.index("blocked")
OVERFLOW = records.OVERFLOW_HASH


def test_few_groups_stay_as_they_are() -> None:
    groups: dict[GroupKey, Group] = {(READ, 7, 1, 0): Group(count=3)}
    assert fold(groups, 10) is groups


def test_one_process_with_many_names_keeps_itself_and_its_busiest_names() -> None:
    groups: dict[GroupKey, Group] = {
        (DNS, 7, 1, 1000 + rank): Group(count=1000 - rank, sum_ns=10) for rank in range(900)
    }
    groups[READ, 7, 1, 0] = Group(count=5)
    folded = fold(groups, 600)
    assert {process for _, process, _, _ in folded} == {7}
    names = {label for metric, _, _, label in folded if metric == DNS}
    assert names == {*range(1000, 1000 + MOST_LABELS), OVERFLOW}
    assert sum(group.count for key, group in folded.items() if key[0] == DNS) == sum(
        1000 - rank for rank in range(900)
    )
    assert folded[DNS, 7, 1, OVERFLOW].sum_ns == 10 * (900 - MOST_LABELS)
    assert folded[READ, 7, 1, 0].count == 5


def test_reasons_of_blocks_are_never_put_together() -> None:
    groups: dict[GroupKey, Group] = {
        (BLOCKED, process, 1, 1 + process % 6): Group(count=1) for process in range(2000)
    }
    folded = fold(groups, 100)
    reasons = {label for _, process, _, label in folded if process == -2}
    assert reasons == {1, 2, 3, 4, 5, 6}
    assert sum(group.count for group in folded.values()) == 2000
