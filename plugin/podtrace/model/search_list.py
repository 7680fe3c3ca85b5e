"""Tells names that a resolver tries by its search list from names that are really missing.

A resolver with `search` and `ndots` in resolv.conf asks for a short name with each suffix until one
answers; in Kubernetes most outside names cost three NXDOMAIN answers first. They are expected.
"""

from __future__ import annotations

import heapq

from podtrace.model.labels import Row
from podtrace.model.tally import NOTHING

NXDOMAIN = "NXDOMAIN"
MAX_NAMES = 100
MAX_LABELS = 12
LEAST_SUFFIX_LABELS = 2


def search_list_misses(rows: dict[str, Row]) -> dict[str, int]:
    """Return names whose stem was found under another suffix, or under none, and their NXDOMAINs.

    Only the MAX_NAMES names with most NXDOMAIN answers are looked at.
    """
    found = {
        name
        for name, row in rows.items()
        if (answers := row.get("dns")) and answers.count > answers.failed
    }
    missing = heapq.nlargest(
        MAX_NAMES,
        (
            (row.get("dns", NOTHING).errors[NXDOMAIN], name)
            for name, row in rows.items()
            if NXDOMAIN in row.get("dns", NOTHING).errors
        ),
    )
    return {name: count for count, name in missing if _was_tried_first(name, found)}


def _was_tried_first(name: str, found: set[str]) -> bool:
    labels = name.rstrip(".").split(".")[:MAX_LABELS]
    for cut in range(1, len(labels)):
        stem = ".".join(labels[:cut])
        if stem in found:
            return True
        for start in range(cut + 1, len(labels) - LEAST_SUFFIX_LABELS + 1):
            if f"{stem}.{'.'.join(labels[start:])}" in found:
                return True
    return False
