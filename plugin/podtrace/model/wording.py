"""Numbers and names inside the sentences of findings, verdict and rules."""

from __future__ import annotations

from collections.abc import Sequence

END_REASONS = {
    "deadline": "the requested time was over",
    "limit": "the longest time that a tracer may run was over",
    "signal": "it was interrupted",
    "parent_died": "the plugin that read it was gone",
    "stdout_closed": "nobody read its output any more",
    "unheard": "nobody read its log any more",
    "target_gone": "the target was gone",
    "command_exited": "the command ended",
}
"""Words for the reasons with which a tracer ends."""
LONGEST_NAME = 60
"""Characters of a name that a traced process chose, inside a sentence."""
MOST_NODES = 3
"""Nodes that a sentence names; of more it gives the number."""

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def seconds(value: float) -> str:
    """Return a duration as `1.25 s`, `230 ms` or `45 µs`."""
    for unit, name in _UNITS:
        if value >= unit * 0.9995:
            return f"{value / unit:.3g} {name}" if value < 1000 else f"{value:,.0f} s"
    return "0 s" if value == 0 else f"{value * 1e9:.0f} ns"


def percent(ratio: float) -> str:
    """Return a ratio of 0 to 1 as `12 %` or `0.31 %`."""
    value = ratio * 100
    return f"{value:.0f} %" if value >= 9.95 or value == 0 else f"{value:.2g} %"


def number(count: float, singular: str, plural: str | None = None) -> str:
    """Return `1 query`, `5,000 queries`."""
    noun = singular if count == 1 else plural or singular + "s"
    return f"{count:,.0f} {noun}"


def shortened(name: str) -> str:
    """Return a name of any length as it fits into a sentence; both of its ends tell something."""
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME // 2 - 3]}...{name[-LONGEST_NAME // 2 :]}"


def end_reason(reason: str) -> str:
    """Return why a tracer ended, in words; a reason of a newer tracer as it is."""
    return END_REASONS.get(reason, reason)


def on_nodes(nodes: Sequence[str]) -> str:
    """Return `on node-a, node-b` or `on node-a, node-b, node-c and 5 more nodes`."""
    named = ", ".join(nodes[:MOST_NODES])
    rest = len(nodes) - MOST_NODES
    return f"on {named} and {number(rest, 'more node')}" if rest > 0 else f"on {named}"
