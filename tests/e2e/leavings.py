"""What a run may have left: Jobs and pods with podtrace's labels, and their processes."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest

from e2e.kubectl import PATIENCE_SECONDS, Kubectl
from kernel.neighbours import Neighbours

OWN = "app.kubernetes.io/managed-by=kubectl-podtrace"
CLEAN_SECONDS = 60.0
"""Whatever happened to a run, nothing of it is left after so long."""


def leavings(kubectl: Kubectl) -> list[str]:
    """Return names of what is there now, with the phase of pods."""
    found = kubectl.get("jobs,pods", f"--selector={OWN}")["items"]
    return [
        f"{item['kind']} {item['metadata']['name']} {item['status'].get('phase', '')}".rstrip()
        for item in found
    ]


def wait_for_none(kubectl: Kubectl, seconds: float = CLEAN_SECONDS) -> float:
    """Wait until nothing is left, and return how long that took."""
    neighbours, begin = Neighbours(), time.monotonic()
    while left := leavings(kubectl):
        waited = time.monotonic() - begin
        if waited > neighbours.limit(seconds):
            pytest.fail(f"{waited:.0f} s later there is still in {kubectl.namespace}: {left}")
        time.sleep(1)
    return time.monotonic() - begin


def wait_for_tracer(kubectl: Kubectl) -> str:
    """Wait until a tracer's container runs, and return the pod's name."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for pod in kubectl.get("pods", f"--selector={OWN}")["items"]:
            states = [each["state"] for each in pod["status"].get("containerStatuses", ())]
            if any("running" in state for state in states):
                return str(pod["metadata"]["name"])
        time.sleep(0.3)
    pytest.fail("no tracer runs")


def tracers_of(uid: str) -> list[str]:
    """Return the processes of a pod that trace, not the one that only holds its namespaces."""
    return [command for command in processes_of(uid) if "podtracer" in command]


def processes_of(uid: str) -> list[str]:
    """Return the commands of a pod's processes on a node that is this machine."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and uid in (entry / "cgroup").read_text():
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                found.append(f"{entry.name} {os.fsdecode(command)}")
    return found
