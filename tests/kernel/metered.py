"""A tracer that serves metrics, started as the plugin would start it, and who reads its page."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from conftest import SYSTEM_PYTHON
from kernel.tracing import PATIENCE_SECONDS, ROOT, TraceError
from metrics_page import Page

TRACER = ROOT / "tracer-image"


class MeteredTrace:
    """One run of the tracer; `lines` are those of its stream so far."""

    def __init__(
        self,
        folder: Path,
        *scope: object,
        address: str = "127.0.0.1:0",
        options: tuple[object, ...] = (),
        environment: dict[str, str] | None = None,
        wait: bool = True,
    ) -> None:
        self._output = folder / f"stream-{len(list(folder.glob('stream-*')))}.jsonl"
        words = ["--metrics", address, *options, *scope]
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [SYSTEM_PYTHON, "-B", "-m", "podtracer", *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                cwd="/",
                env={**os.environ, "PYTHONPATH": str(TRACER), **(environment or {})},
            )
        if wait:
            self.hello = self.wait_for("hello")
            host, _, port = self.hello["metrics"].rpartition(":")
            self.host, self.port = host.strip("[]"), int(port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE_SECONDS)

    def lines(self) -> list[dict[str, Any]]:
        """Return the whole lines of the stream so far."""
        return [json.loads(line) for line in self._output.read_bytes().split(b"\n")[:-1]]

    def wait_for(self, kind: str) -> dict[str, Any]:
        """Wait for the first line of a kind."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            code = self.process.poll()
            for line in self.lines():
                if line["kind"] == kind:
                    return line
            if code is not None:
                raise TraceError(f"no {kind} line; exit {code}: {self.lines()}")
            time.sleep(0.05)
        raise TraceError(f"no {kind} line within {PATIENCE_SECONDS} s")

    def ask(self, path: str) -> tuple[int, bytes]:
        """Ask once, on a connection of its own."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def page(self) -> Page:
        """Return the page of a tick that began after this was asked for."""
        before = self._ticks()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            status, text = self.ask("/metrics")
            if status == 200:
                page = Page(text)
                ticks = page.value("podtrace_tracer_ticks_total")
                # The tick that is under way may have read the first tables already.
                if ticks is not None and ticks >= before + 2:
                    return page
            time.sleep(0.1)
        raise TraceError("no page of a new tick")

    def _ticks(self) -> int:
        return sum(line["kind"] == "health" for line in self.lines())
