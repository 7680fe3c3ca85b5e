"""Single events worth telling: failures, outliers and rare things, with their process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from podtrace.model.histogram import NS_PER_SECOND
from podtrace.model.peers import PeerNames
from podtrace.model.processes import Process


@dataclass(frozen=True)
class Notable:
    """One event line; `event` is one of the names in wire/schema.py, or one of a newer tracer.

    `times` is how many equal ones it stands for, `duration_seconds` then the longest of theirs.
    """

    time_ns: int
    event: str
    pid: int | None
    host_pid: int | None
    process: str
    container: str | None
    pod: str | None
    duration_seconds: float | None
    peer: str | None
    peer_name: str | None
    name: str | None
    path: str | None
    error: str | None
    bytes: int | None
    operation: str | None
    reason: str | None
    exit_code: int | None
    count: int | None
    detail: str | None
    times: int = 1


def notable(line: dict[str, Any], process: Process, pod: str | None, peers: PeerNames) -> Notable:
    """Return the event of a line, with the process and the peer's name as they are known now."""
    duration_ns, peer = line.get("duration_ns"), line.get("peer")
    is_restart = line["event"] == "container_restart"
    return Notable(
        time_ns=line["time_ns"],
        event=line["event"],
        pid=process.pid if process.real else None,
        host_pid=process.host_pid if process.real else None,
        process=process.name,
        container=line.get("name") if is_restart else process.container,
        pod=pod,
        duration_seconds=None if duration_ns is None else duration_ns / NS_PER_SECOND,
        peer=peer,
        peer_name=None if peer is None else peers.of(peer),
        name=None if is_restart else line.get("name"),
        path=line.get("path"),
        error=line.get("error"),
        bytes=line.get("bytes"),
        operation=line.get("operation"),
        reason=line.get("reason"),
        exit_code=line.get("exit_code"),
        count=line.get("count"),
        detail=line.get("detail"),
    )
