"""Numbers inside the sentences of findings, verdict and rules."""

from __future__ import annotations

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
