"""Instants of a report, RFC 3339 in UTC, as a reader of logs wants them.

Everything is shown in UTC: the node, the pod and the reader may each live in another time zone.
"""

from datetime import UTC, datetime


def moment(instant: str | None) -> str | None:
    """Return `2026-11-22 23:14:05`, or None for an absent or unreadable instant."""
    parsed = _parse(instant)
    return parsed.strftime("%Y-%m-%d %H:%M:%S") if parsed else None


def time_of_day(instant: str | None) -> str:
    """Return `23:14:05`; dashes stand for an absent or unreadable instant."""
    parsed = _parse(instant)
    return parsed.strftime("%H:%M:%S") if parsed else "--:--:--"


def _parse(instant: str | None) -> datetime | None:
    if instant is None:
        return None
    try:
        parsed = datetime.fromisoformat(instant)
    except ValueError:
        return None
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed
