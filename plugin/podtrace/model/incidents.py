"""What happened to containers and targets: restarts, OOM kills, targets that went away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from podtrace.model.processes import Process

KEPT = 100
EVENTS = frozenset({"container_restart", "oom_kill", "target_gone"})


@dataclass(frozen=True)
class Incident:
    """One of these events; `container` is its name, `process` the one that was killed."""

    time_ns: int
    event: str
    target: int
    container: str | None
    process: str | None
    detail: str | None


class Incidents:
    """The first of each kind, in the order in which they came."""

    def __init__(self) -> None:
        self._kept: dict[str, list[Incident]] = {event: [] for event in EVENTS}

    def note(self, line: dict[str, Any], process: Process) -> None:
        """Take an event line; others than EVENTS are passed over."""
        kept = self._kept.get(line["event"])
        if kept is None or len(kept) >= KEPT:
            return
        is_restart, is_kill = (line["event"] == name for name in ("container_restart", "oom_kill"))
        name = process.name if process.real else None
        detail = line.get("detail")
        kept.append(
            Incident(
                time_ns=line["time_ns"],
                event=line["event"],
                target=line.get("target") or 0,
                container=line.get("name") if is_restart else process.container,
                # The tracer tells the name that the process had then.
                process=(detail or name) if is_kill else name,
                detail=None if is_kill else detail,
            )
        )

    def of(self, event: str) -> Iterator[Incident]:
        """Yield the incidents of one kind by time."""
        return iter(sorted(self._kept[event], key=lambda incident: incident.time_ns))
