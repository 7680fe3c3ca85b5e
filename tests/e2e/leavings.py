"""What a run may have left in a cluster: Jobs and pods with podtrace's labels."""

from __future__ import annotations

import time

import pytest

from e2e.kubectl import Kubectl

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
    begin = time.monotonic()
    while left := leavings(kubectl):
        if time.monotonic() - begin > seconds:
            pytest.fail(f"{seconds:.0f} s later there is still: {left}")
        time.sleep(0.5)
    return time.monotonic() - begin


def wait_for_tracer(kubectl: Kubectl, seconds: float = 90) -> str:
    """Wait until a tracer's container runs, and return the pod's name."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        for pod in kubectl.get("pods", f"--selector={OWN}")["items"]:
            states = [each["state"] for each in pod["status"].get("containerStatuses", ())]
            if any("running" in state for state in states):
                return str(pod["metadata"]["name"])
        time.sleep(0.3)
    pytest.fail("no tracer runs")
