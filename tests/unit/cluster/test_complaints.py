"""What a pod's status says is wrong, in words; and that a pod without a fault says nothing."""

from __future__ import annotations

from typing import Any

import pytest

from podtrace.cluster.complaints import complaints_of

RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
CRASHED = {"terminated": {"exitCode": 3, "reason": "Error", "finishedAt": "2026-01-01T00:00:09Z"}}
KILLED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}


def pod(**container: Any) -> dict[str, Any]:
    return {"status": {"containerStatuses": [{"name": "app", **container}]}}


@pytest.mark.parametrize(
    ("container", "said"),
    [
        (
            {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 4,
             "lastState": CRASHED},
            "container app is in CrashLoopBackOff: 4 restarts, it last ended with exit code 3 at "
            "2026-01-01T00:00:09Z",
        ),
        (
            {"state": RUNNING, "restartCount": 1, "ready": True, "lastState": KILLED},
            "container app runs: 1 restart, it last ended with OOMKilled, exit code 137",
        ),
        ({"state": RUNNING, "ready": False}, "container app runs, but is not ready"),
        ({"state": {"waiting": {"reason": "ErrImagePull"}}}, "container app is in ErrImagePull"),
    ],
)  # fmt: skip
def test_fault_is_put_into_words(container: dict[str, Any], said: str) -> None:
    assert complaints_of(pod(**container)) == (said,)


@pytest.mark.parametrize(
    "container",
    [
        {"state": RUNNING, "ready": True, "restartCount": 0},
        {"state": {"waiting": {"reason": "ContainerCreating"}}},
        {"state": None, "restartCount": None},
    ],
)
def test_pod_without_a_fault_says_nothing(container: dict[str, Any]) -> None:
    assert complaints_of(pod(**container)) == ()


def test_init_container_that_fails_is_told() -> None:
    waiting = {"name": "init", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    said = complaints_of({"status": {"initContainerStatuses": [waiting]}})
    assert said == ("container init is in CrashLoopBackOff",)
