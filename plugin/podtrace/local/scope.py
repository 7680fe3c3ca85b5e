"""What the local tracer is asked to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scope:
    """What to trace on this machine: exactly one of the four."""

    cgroup: str | None = None
    pid: int | None = None
    container: str | None = None
    command: tuple[str, ...] | None = None

    @property
    def label(self) -> str:
        """A short name for messages, before the stream says a better one."""
        if self.cgroup is not None:
            return self.cgroup
        if self.pid is not None:
            return f"process {self.pid}"
        if self.container is not None:
            return f"container {self.container}"
        return (self.command or ("",))[0]


@dataclass(frozen=True)
class TracerSettings:
    """What the tracer is told beside its target, in nanoseconds; None means its own default."""

    duration_ns: int | None = None
    rtt_spike_ns: int | None = None
    slow_file_ns: int | None = None
    long_block_ns: int | None = None
    metrics_at: str | None = None
    """ADDRESS:PORT where the tracer offers metrics."""
    metrics_processes: int | None = None
