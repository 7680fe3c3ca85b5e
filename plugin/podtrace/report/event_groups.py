"""Equal events put together, so that thirty refused connects take one line and not thirty."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from podtrace.model.notable import Notable

_Key = tuple[object, ...]


class EventGroups:
    """The latest `kept` different events; of equal ones the newest, and how many there were."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._groups: dict[_Key, Notable] = {}

    def add(self, event: Notable) -> None:
        """Take one more event, the newest of all."""
        key = _key(event)
        known = self._groups.pop(key, None)
        self._groups[key] = event if known is None else _together(known, event)
        if len(self._groups) > self._kept:
            del self._groups[next(iter(self._groups))]

    def __iter__(self) -> Iterator[Notable]:
        """Yield one event for each group, that with the newest last."""
        return iter(self._groups.values())


def _key(event: Notable) -> _Key:
    """Return what equal events have in common: all but the PID, when and how long."""
    return (
        event.event,
        event.process,
        event.container,
        event.pod,
        event.peer,
        event.name,
        event.path,
        event.error,
        event.operation,
        event.reason,
        event.exit_code,
        event.detail,
        event.count,
    )


def _together(known: Notable, event: Notable) -> Notable:
    longest = max(
        (each.duration_seconds for each in (known, event) if each.duration_seconds is not None),
        default=None,
    )
    return replace(
        event,
        times=known.times + event.times,
        duration_seconds=longest,
        bytes=None,
        pid=event.pid if event.pid == known.pid else None,
        host_pid=event.host_pid if event.host_pid == known.host_pid else None,
    )
