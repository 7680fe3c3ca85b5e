"""Wall-clock nanoseconds as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_of_day(time_ns: int) -> str:
    """Return nanoseconds since 1970 as `08:53:21 UTC`."""
    return (_EPOCH + timedelta(seconds=time_ns // 1_000_000_000)).strftime("%H:%M:%S UTC")


def rfc3339(time_ns: int) -> str:
    """Return nanoseconds since 1970 as RFC 3339 in UTC, whole milliseconds."""
    instant = _EPOCH + timedelta(milliseconds=time_ns // 1_000_000)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
