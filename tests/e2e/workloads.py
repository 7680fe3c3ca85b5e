"""Workloads in pods: told when to begin, and asked for their truth, as on this machine.

They are spoken to through the cluster alone, so that any cluster will do: what a container is told
goes by `kubectl attach`, what it says is read from its log.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import Any, Self

from e2e.kubectl import PATIENCE_SECONDS, Kubectl
from workload.stage import Program

Order = tuple[str, dict[str, Any]]
"""A step of steps.py and its arguments."""


def container(name: str, image: str, *arguments: object, **more: Any) -> dict[str, Any]:
    """Return a container of a pod that runs a workload."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [str(argument) for argument in arguments],
        "stdin": True,
        **more,
    }


class PodProgram(Program):
    """A container that speaks the protocol of gate.py. A context manager."""

    def __init__(self, kubectl: Kubectl, pod: str, container: str = "main") -> None:
        """Wait until it is ready."""
        self._kubectl = kubectl
        self._where = (pod, f"--container={container}")
        log = subprocess.Popen(
            kubectl.command("logs", "--follow", *self._where),
            env=kubectl.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        super().__init__(log, f"{pod}/{container}")
        self._attached: subprocess.Popen[bytes] | None = None
        self.facts = self.line(PATIENCE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def go(self) -> None:
        """Open the gate."""
        self._is_open = True
        self.send(b"\n")

    def send(self, line: bytes) -> None:
        """Write a line to its standard input."""
        if self._attached is None:
            # Who leaves takes along what is still on its way, so this one stays.
            self._attached = self._attach()
        assert self._attached.stdin is not None
        self._attached.stdin.write(line)
        self._attached.stdin.flush()

    def _attach(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._kubectl.command("attach", "--stdin", "--quiet", *self._where),
            env=self._kubectl.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def order(self, *steps: Order) -> None:
        """Tell orders.py what to do next."""
        self.send(json.dumps(steps).encode() + b"\n")

    def done(self) -> dict[str, Any]:
        """Wait for the end of what it does, and return what it says then."""
        facts = self.line(PATIENCE_SECONDS)
        assert facts["state"] == "done", facts
        return facts

    def do(self, *steps: Order) -> dict[str, Any]:
        """Have orders.py do something, and return what came of it."""
        self.order(*steps)
        return self.done()

    def kill(self) -> None:
        """Let go of the container; it goes with its namespace."""
        for process in (self._attached, self.process):
            if process is None:
                continue
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
