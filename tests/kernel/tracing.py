"""Runs of the real command line: started, waited for, read.

A trace is recorded to a file beside its report. The recording tells when the probes are attached
(its `hello` line), so that a workload starts exactly then and no test sleeps and hopes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from workload.stage import SLOWNESS

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "plugin" / "podtrace" / "__main__.py"
PATIENCE_SECONDS = 120.0 * SLOWNESS
"""What takes longer than this hangs, however busy the machine is."""
LONG_SECONDS = 300 * SLOWNESS


class TraceError(AssertionError):
    """The tracer did not start, did not end, or gave no report."""


class Report:
    """The JSON report; `report["tcp.rtt.count"]` follows a dotted path."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self.tree = tree

    def __getitem__(self, path: str) -> Any:
        node: Any = self.tree
        for key in path.split("."):
            node = node[key]
        return node

    def entry(self, where: str, /, **wanted: Any) -> dict[str, Any]:
        """Return the only entry of a list that has the wanted values."""
        found = [
            entry
            for entry in self[where]
            if all(entry.get(key) == value for key, value in wanted.items())
        ]
        if len(found) != 1:
            raise AssertionError(f"{len(found)} entries {wanted} in {where}: {self[where]}")
        only: dict[str, Any] = found[0]
        return only


def command(*arguments: object) -> list[str]:
    """Return the command line of podtrace in this checkout, under this Python."""
    return [sys.executable, str(PROGRAM), *map(str, arguments)]


class Trace:
    """One run that gives a JSON report at its end."""

    def __init__(
        self,
        folder: Path,
        *scope: object,
        seconds: float = LONG_SECONDS,
        options: tuple[object, ...] = (),
        environment: dict[str, str] | None = None,
        program: Sequence[str] = (),
        wait: bool = True,
    ) -> None:
        """Start tracing `scope` (its options, or `--` and a command) and wait for the probes.

        `program` traces something else than what `--local` can.
        """
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.glob("trace-*.jsonl")))
        self.recording = folder / f"trace-{number}.jsonl"
        self.output = folder / f"trace-{number}.json"
        self.errors = folder / f"trace-{number}.err"
        self.recording.touch()
        own = [
            *("--diagnose", f"{seconds:g}s"),
            *("-o", "json", "--record", self.recording, *options),
        ]
        self.started_ns = time.time_ns()
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*(program or command("--local")), *map(str, (*own, *scope))],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
            )
        if wait:
            self.hello = self.wait_for("hello")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def lines(self) -> list[dict[str, Any]]:
        """Return the whole lines that the recording has so far."""
        data = self.recording.read_bytes()
        return [json.loads(line) for line in data.split(b"\n")[:-1]]

    def wait_for(self, kind: str, **wanted: Any) -> dict[str, Any]:
        """Wait for a line of a kind with the wanted values."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            # Asked before the lines are read: a run that has ended has written all of them.
            code = self.process.poll()
            for line in self.lines():
                if line["kind"] == kind and all(line.get(k) == v for k, v in wanted.items()):
                    return line
            if code is not None:
                raise TraceError(f"no {kind} line; exit {code}: {self.stderr()}")
            time.sleep(0.05)
        raise TraceError(f"no {kind} line {wanted} within {PATIENCE_SECONDS} s: {self.stderr()}")

    def wait_tick(self) -> None:
        """Wait until the tick is complete that what happened until now is in."""
        ticks = sum(line["kind"] == "health" for line in self.lines())
        deadline = time.monotonic() + PATIENCE_SECONDS
        while sum(line["kind"] == "health" for line in self.lines()) < ticks + 1:
            if time.monotonic() > deadline:
                raise TraceError(f"no tick within {PATIENCE_SECONDS} s: {self.stderr()}")
            time.sleep(0.05)

    def tracer_pid(self) -> int:
        """Return the PID of the tracer, the plugin's child."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    if int(fields[1]) == self.process.pid:
                        return int(entry.name)
        raise TraceError("the plugin has no child")

    def stop(self) -> Report:
        """Interrupt as Ctrl-C does and return the report."""
        self.process.send_signal(signal.SIGINT)
        return self.report()

    def report(self) -> Report:
        """Wait for the end and return the report."""
        try:
            self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise TraceError(f"the trace did not end: {self.stderr()}") from error
        try:
            return Report(json.loads(self.output.read_bytes()))
        except ValueError as error:
            raise TraceError(
                f"no report, exit code {self.process.returncode}: {self.stderr()}"
            ) from error

    def stderr(self) -> str:
        """Return what went to standard error."""
        return self.errors.read_text(errors="replace")

    def kill(self) -> None:
        """End the run, first kindly."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
