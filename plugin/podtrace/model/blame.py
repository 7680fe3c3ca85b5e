"""Which of several pods a finding is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from podtrace.model.targets import TargetSums, TargetTable
from podtrace.model.wording import number, percent

STANDS_OUT = 0.5
"""Share from which one pod is named, if it is also well above an even share and the next pod."""
ABOVE_EVEN = ABOVE_OTHERS = 1.5
ALL = 0.9995
MOST_NAMED = 3

Shares = Mapping[int, float]
"""How much of something bad each target has, by its number."""


def shares(targets: TargetTable, amount: Callable[[TargetSums], float]) -> Shares:
    """Return the amount that each target has."""
    return {target: amount(targets.get(target)) for target in targets}


def concerned_pods(pods: Mapping[int, str], amounts: Shares) -> str | None:
    """Return `90 % from pod web-1` where one stands out, or the few that it comes from.

    Args:
        pods: names of all traced pods by target.
        amounts: how much each target has.

    Returns:
        None for a single pod, and where it comes from many.
    """
    if len(pods) < 2:
        return None
    found = [(amounts.get(target, 0), name) for target, name in pods.items()]
    ranked = sorted(((value, name) for value, name in found if value > 0), key=_most_first)
    total = sum(value for value, _ in ranked)
    if not total:
        return None
    top, name = ranked[0]
    if top / total >= ALL:
        return f"all from pod {name}, none from {number(len(pods) - 1, 'other pod')}"
    next_one = ranked[1][0]
    if top >= max(STANDS_OUT * total, ABOVE_EVEN * total / len(pods), ABOVE_OTHERS * next_one):
        return f"{percent(top / total)} from pod {name}"
    if 2 * len(ranked) > len(pods):
        return None
    named = ", ".join(f"{name} {percent(value / total)}" for value, name in ranked[:MOST_NAMED])
    more = f" and {len(ranked) - MOST_NAMED} more" if len(ranked) > MOST_NAMED else ""
    return f"only from {len(ranked)} of {len(pods)} pods: {named}{more}"


def _most_first(item: tuple[float, str]) -> tuple[float, str]:
    return -item[0], item[1]
