"""Durations as users write them: Go style, a number with a unit, as in kubectl's own options.

Whole nanoseconds inside, so that a threshold means the same here and in the kernel.
"""

from __future__ import annotations

import re
from decimal import Decimal

from podtrace.errors import UsageError

NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
LONGEST_NS = 24 * NANOSECONDS["h"]

_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)


def parse_duration(
    text: str, what: str, longest_ns: int = LONGEST_NS, *, prefers_ms: bool = False
) -> int:
    """Return a duration such as `20s`, `1m30s`, `500ms` or `1h` in nanoseconds.

    Args:
        text: what the user wrote.
        what: the option or key that it was written for, for the error.
        longest_ns: the longest duration that is allowed.
        prefers_ms: it is one of milliseconds, as most of a latency are; for the error.

    Raises:
        UsageError: there is no unit, the text is no duration, or it is not above zero and at most
            `longest_ns`.
    """
    shown = f"{what} {text[:40]}"
    examples = "250ms or 1.5s" if prefers_ms else "20s or 1m30s"
    value = text.strip()
    if _NUMBER.fullmatch(value) and value.strip("+-0.") != "":
        unsigned = value.lstrip("+-")
        units = f"{unsigned}s for seconds, {unsigned}m for minutes"
        if prefers_ms:
            units = f"{unsigned}ms for milliseconds, {unsigned}s for seconds"
        raise UsageError(f"{shown}: the unit is missing", f"write {what} {units}")
    sign = value[:1] if value[:1] in "+-" else ""
    body = value[len(sign) :]
    parts = _PART.findall(body)
    if body in ("0", "0.0"):
        parts = [("0", "s")]
    elif not parts or "".join(number + unit for number, unit in parts) != body:
        raise UsageError(f"{shown}: this is no duration", f"write for example {what} {examples}")
    total = int(sum(Decimal(number) * NANOSECONDS[unit] for number, unit in parts))
    if sign == "-" or total <= 0:
        raise UsageError(
            f"{shown}: the duration must be longer than zero",
            f"write for example {what} {examples.partition(' ')[0]}",
        )
    if total > longest_ns:
        limit = format_duration(longest_ns)
        raise UsageError(f"{shown}: the longest duration is {limit}", f"write {what} {limit}")
    return total


def format_duration(nanoseconds: int) -> str:
    """Return a duration in the form that `parse_duration` reads, as short as it is exact."""
    if nanoseconds < NANOSECONDS["s"]:
        for unit in ("ms", "us"):
            if nanoseconds % NANOSECONDS[unit] == 0 and nanoseconds:
                return f"{nanoseconds // NANOSECONDS[unit]}{unit}"
        return f"{nanoseconds}ns" if nanoseconds else "0s"
    text = ""
    rest = nanoseconds
    for unit in ("h", "m"):
        whole, rest = divmod(rest, NANOSECONDS[unit])
        text += f"{whole}{unit}" if whole else ""
    if rest:
        seconds, fraction = divmod(rest, NANOSECONDS["s"])
        decimals = f".{fraction:09d}".rstrip("0") if fraction else ""
        text += f"{seconds}{decimals}s"
    return text
