"""The one label that most of what is bad is about, where there is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from podtrace.model.labels import Row, names_one_thing


def culprit(
    rows: Mapping[str, Row], bad: Callable[[Row], int], all_bad: int
) -> tuple[str, int] | None:
    """Return the label with more than half of what is bad, and how much it has.

    Args:
        rows: sums by label.
        bad: how much of it a row has.
        all_bad: how much there is of it; rows may have less together.
    """
    ranked = ((bad(row), label) for label, row in rows.items() if names_one_thing(label))
    most, label = max(ranked, default=(0, ""))
    return (label, most) if 2 * most > all_bad else None
