"""Traces of pods by the real kubectl, followed while they run as those of this machine are."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from e2e.kubectl import Kubectl
from kernel.tracing import PATIENCE_SECONDS, Report, Trace, TraceError
from podtrace.wire.schema import NAMES

TICK_NS = 10**9


class PodTrace(Trace):
    """`kubectl podtrace ...`, which is asked for its report at the end."""

    def __init__(
        self, folder: Path, kubectl: Kubectl, *words: object, tracers: int = 1, **settings: Any
    ) -> None:
        """Start it, and wait until the tracers of so many nodes have begun."""
        super().__init__(
            folder,
            *words,
            program=kubectl.command("podtrace"),
            environment=kubectl.environment,
            wait=False,
            **settings,
        )
        self.streams = [None] if tracers == 1 else list(range(1, tracers + 1))
        try:
            self.hellos = [self.wait_for("hello", stream=stream) for stream in self.streams]
        except BaseException:
            self.kill()
            raise

    def lines(self) -> list[dict[str, Any]]:
        """Return what the tracers have sent so far."""
        return [line for line in super().lines() if line["kind"] != NAMES]

    @property
    def answerless_ns(self) -> int:
        """After how long a DNS question counts as one that is not answered."""
        return int(self.hellos[0]["thresholds"]["dns_timeout_ns"])

    def wait_past(self, time_ns: int) -> None:
        """Wait until everything is in that happened before this, by the nodes' clocks."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(ended < time_ns for ended in self._measured().values()):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise TraceError(f"not past {time_ns}: {self._measured()}, {self.stderr()}")
            time.sleep(0.2)

    def _measured(self) -> dict[int | None, int]:
        """Return until when each tracer has told what happened."""
        ends = dict.fromkeys(self.streams, 0)
        for line in self.lines():
            if line["kind"] == "health":
                ends[line.get("stream")] = line["time_ns"]
        return ends

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the events of a kind."""
        return [x for x in self.lines() if x["kind"] == "event" and x["event"] == name]

    def series(self, metric: str, **wanted: Any) -> Iterator[dict[str, Any]]:
        """Yield the lines of a metric that have the wanted values."""
        expected = {"kind": "series", "metric": metric, **wanted}
        for line in self.lines():
            if all(line.get(key) == value for key, value in expected.items()):
                yield line


def container_operations(report: Report) -> dict[str | None, Counter[str]]:
    """Return the operations of each container by section."""
    found: dict[str | None, Counter[str]] = {}
    for entry in report["process_activity"]:
        found.setdefault(entry["container"], Counter()).update(entry["operations"])
    return found


def missing_lines(lines: list[dict[str, Any]]) -> int:
    """Return how many lines a stream of one tracer lacks, by their numbers."""
    numbers = [line["seq"] for line in lines]
    assert numbers == sorted(set(numbers)), "lines came twice or in disorder"
    return int(numbers[-1]) - len(numbers)
