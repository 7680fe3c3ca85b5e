"""`kubectl podtrace` while it runs: its stream, which tells how far it has come."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterable
from typing import Any

import pytest

from e2e.kubectl import PATIENCE_SECONDS, Kubectl, pod
from podtrace.wire.schema import NAMES

WORK = "import time\nwhile True:\n    open('/etc/hostname').read()\n    time.sleep(0.1)\n"
"""A workload: ten small reads a second."""


def apply_work(kubectl: Kubectl, image: str) -> None:
    """Start a pod web-0 with that workload."""
    kubectl.apply(pod("web-0", image, ["-c", WORK]))
    kubectl.wait_for_pods("web-0")


class Run:
    """`kubectl podtrace` with its stream, which tells how far it has come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.said: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_stream),
            threading.Thread(target=self._read_errors),
        ]
        for reader in self._readers:
            reader.start()

    def until(self, kind: str, count: int = 1) -> None:
        """Wait until the stream has had so many lines of a kind."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.count(kind) < count:
            if not self._readers[0].is_alive() or time.monotonic() > deadline:
                pytest.fail(f"no {kind} number {count} came: {''.join(self.said)}")
            time.sleep(0.05)

    def count(self, kind: str) -> int:
        """Return how many lines of a kind have come."""
        return sum(line["kind"] == kind for line in self.lines)

    def rest(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and what was said on standard error."""
        code = self.process.wait(PATIENCE_SECONDS)
        for reader in self._readers:
            reader.join()
        return code, "".join(self.said)

    @property
    def missing(self) -> int:
        """How many lines the stream lacks, by their numbers."""
        numbers = [line["seq"] for line in self.lines]
        assert numbers == sorted(set(numbers)), "lines came twice or in disorder"
        return int(numbers[-1]) - len(numbers)

    def _read_stream(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            self._keep(stream)

    def _keep(self, stream: Iterable[str]) -> None:
        for text in stream:
            line = json.loads(text)
            if line["kind"] != NAMES:
                self.lines.append(line)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            self.said.extend(stream)
