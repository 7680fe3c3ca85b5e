"""Fitting a tick into a bounded number of lines without losing a count.

A target with thousands of peers or processes would make more lines than a log should carry. What
is busiest keeps its name; the rest is put together, so that sums hold.
"""

from __future__ import annotations

from collections import defaultdict

from podtrace.wire.schema import OTHER_PROCESSES
from podtracer import records
from podtracer.drain import CPU, Group, GroupKey

MOST_LABELS = 40
"""Peers or names that one metric of one process keeps in a tick that has to be folded."""

_BLOCKED = records.METRICS.index("blocked")


def fold(groups: dict[GroupKey, Group], most: int) -> dict[GroupKey, Group]:
    """Return at most about `most` groups with the same sums: first by label, then by process."""
    if len(groups) <= most:
        return groups
    folded = _fold_labels(groups)
    return folded if len(folded) <= most else _fold_processes(folded, most)


def _fold_labels(groups: dict[GroupKey, Group]) -> dict[GroupKey, Group]:
    by_metric: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    for metric, process, target, label in groups:
        by_metric[metric, process, target].append(label)
    folded: dict[GroupKey, Group] = defaultdict(Group)
    for (metric, process, target), labels in by_metric.items():
        ranked = sorted(
            labels,
            key=lambda label: groups[metric, process, target, label].operations,
            reverse=True,
        )
        for place, label in enumerate(ranked):
            # Reasons of blocks are labels too, but few, and none of them means "other labels".
            kept = place < MOST_LABELS or metric == _BLOCKED
            key = (metric, process, target, label if kept else records.OVERFLOW_HASH)
            folded[key].merge(groups[metric, process, target, label])
    return folded


def _fold_processes(groups: dict[GroupKey, Group], most: int) -> dict[GroupKey, Group]:
    weight: dict[int, int] = defaultdict(int)
    lines: dict[int, int] = defaultdict(int)
    for (metric, process, _, _), group in groups.items():
        weight[process] += group.operations + (group.sum_ns // 1_000_000 if metric == CPU else 0)
        lines[process] += 1
    kept: set[int] = set()
    room = most - 2 * len(records.METRICS)
    for process in sorted(weight, key=lambda process: weight[process], reverse=True):
        if lines[process] <= room:
            kept.add(process)
            room -= lines[process]
    folded: dict[GroupKey, Group] = defaultdict(Group)
    for (metric, process, target, label), group in groups.items():
        if process in kept:
            folded[metric, process, target, label].merge(group)
        else:
            other = label if metric == _BLOCKED else records.OVERFLOW_HASH
            folded[metric, OTHER_PROCESSES, target, other].merge(group)
    return folded
