"""Numbers as people read them: three significant digits, a unit, and never a made-up zero.

Counts are exact up to ten million. A histogram's percentile is good to 3.2 %, so that more than
three digits of a duration would be invention. `None` is "not measured" and is shown as a dash,
which is another thing than 0.
"""

NOT_MEASURED = "-"
"""Shown in a table cell for a value that was not measured; the report explains the sign."""

_EXACT_COUNT_BELOW = 10_000_000
_DURATION_UNITS = (
    (1e-6, 1e-9, "ns"),
    (1e-3, 1e-6, "µs"),
    (1.0, 1e-3, "ms"),
    (1000.0, 1.0, "s"),
    (6000.0, 60.0, "min"),
    (172_800.0, 3600.0, "h"),
    (31_557_600.0, 86_400.0, "d"),
    (float("inf"), 31_557_600.0, "y"),
)
_SCALES = ((1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"), (1e15, "P"), (1e18, "E"))
_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def duration(seconds: float | None) -> str:
    """Return seconds as for example `812 ns`, `3.10 µs`, `12.4 ms`, `1.25 s`."""
    if seconds is None:
        return NOT_MEASURED
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds == 0:
        return "0 s"
    rounded = _three_digits(seconds)
    length, unit = next(
        (length, unit) for below, length, unit in _DURATION_UNITS if rounded < below * (1 - 1e-9)
    )
    if unit == "ns":
        return f"{max(seconds / length, 1):.0f} ns"
    return f"{_figure(seconds / length)} {unit}"


def count(value: int | None) -> str:
    """Return an exact count as `5,000`; from ten million on as `12.4 M`."""
    if value is None:
        return NOT_MEASURED
    if abs(value) < _EXACT_COUNT_BELOW:
        return f"{value:,}"
    return _scaled(value)


def rate(per_second: float | None) -> str:
    """Return a rate as `0.31/s`, `12.4/s`, `1.25 k/s`."""
    if per_second is None:
        return NOT_MEASURED
    if per_second == 0:
        return "0/s"
    if _three_digits(per_second) < 1000:
        return f"{_figure(per_second)}/s"
    return f"{_scaled(per_second)}/s"


def size(value: float | None) -> str:
    """Return bytes as `812 B`, `3.10 KiB`, `12.4 MiB`."""
    if value is None:
        return NOT_MEASURED
    if abs(value) < 1000:
        return f"{value:.0f} B"
    if abs(value) >= 1e21:
        return f"{value:.1e} B"
    power = 0
    while abs(_three_digits(value / 1024**power)) >= 1000 and power < len(_BYTE_UNITS) - 1:
        power += 1
    return f"{_figure(value / 1024**power)} {_BYTE_UNITS[power]}"


def size_rate(per_second: float | None) -> str:
    """Return bytes per second as `3.10 KiB/s`."""
    return NOT_MEASURED if per_second is None else f"{size(per_second)}/s"


def percent(ratio: float | None) -> str:
    """Return a ratio of 0 to 1 as `12.4 %`; something that is not nothing never shows as 0.0 %."""
    if ratio is None:
        return NOT_MEASURED
    if 0 < ratio < 0.001:
        return "<0.1 %"
    if 0.9995 <= ratio < 1:
        return "99.9 %"
    return f"{ratio * 100:,.1f} %" if ratio < 1000 else f"{_scaled(ratio * 100)} %"


def span(seconds: float | None) -> str:
    """Return an elapsed time as `0:07`, `12:05` or `3:02:00`."""
    if seconds is None:
        return NOT_MEASURED
    whole = int(max(seconds, 0))
    hours, minutes = whole // 3600, whole % 3600 // 60
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{whole % 60:02d}"


def _three_digits(value: float) -> float:
    return float(f"{value:.2e}")


def _figure(value: float) -> str:
    """Return three significant digits of a value in 0.001 to 999."""
    rounded = _three_digits(value)
    if rounded >= 1000:
        return f"{rounded:,.0f}"
    if rounded >= 100:
        return f"{rounded:.0f}"
    if rounded >= 10:
        return f"{rounded:.1f}"
    if rounded >= 0.1 or rounded == 0:
        return f"{rounded:.2f}"
    return f"{rounded:.3f}" if rounded >= 0.001 else "<0.001"


def _scaled(value: float) -> str:
    rounded = _three_digits(value)
    if abs(rounded) >= 1e21:
        return f"{value:.1e}"
    for scale, unit in reversed(_SCALES):
        if abs(rounded) >= scale:
            return f"{_figure(rounded / scale)} {unit}"
    return f"{value:,.0f}"
