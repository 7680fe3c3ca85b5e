from __future__ import annotations

import pytest

from fake_cluster import Object
from launching import running, terminated, waiting
from podtrace.cluster.pod_status import (
    ending_of,
    is_accepted,
    is_deleted,
    is_running,
    obstacle_of,
)


def pod(status: Object) -> Object:
    return {"metadata": {"name": "x"}, "status": status}


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"phase": "Pending"},
        {"phase": "Pending", "containerStatuses": None, "conditions": None},
        waiting("ContainerCreating"),
        waiting("PodInitializing"),
        running(),
        terminated(0, "Completed"),
        terminated(3),
    ],
)
def test_a_pod_on_its_way_has_no_obstacle(status: Object) -> None:
    assert obstacle_of(pod(status)) is None


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (waiting("ErrImagePull", "not found"), "ErrImagePull"),
        (waiting("CreateContainerError", "no"), "CreateContainerError"),
        ({"phase": "Failed", "reason": "OutOfcpu", "message": "Pod was rejected"}, "OutOfcpu"),
        ({"phase": "Failed"}, "Failed"),
        (
            {
                "phase": "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
                ],
            },
            "Unschedulable",
        ),
    ],
)
def test_an_obstacle_is_named_by_the_clusters_own_reason(status: Object, reason: str) -> None:
    obstacle = obstacle_of(pod(status))
    assert obstacle is not None
    assert obstacle.reason == reason
    assert obstacle.message == (status.get("message") or obstacle.message)


def test_how_the_tracer_ended() -> None:
    assert ending_of(pod(running())) is None
    assert ending_of(pod(waiting("ContainerCreating"))) is None
    killed = ending_of(pod(terminated(137, "OOMKilled")))
    assert killed is not None
    assert (killed.reason, killed.exit_code) == ("OOMKilled", 137)


def test_what_ended_the_pod_says_more_than_how_its_process_took_it() -> None:
    evicted = {**terminated(143), "reason": "Evicted", "message": "low on memory"}
    ending = ending_of(pod(evicted))
    assert ending is not None
    assert (ending.reason, ending.message) == ("Evicted", "low on memory")
    disrupted = {
        **terminated(143),
        "conditions": [
            {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "EvictionByEvictionAPI",
                "message": "Eviction API: evicting",
            }
        ],
    }
    ending = ending_of(pod(disrupted))
    assert ending is not None
    assert ending.reason == "EvictionByEvictionAPI"


def test_the_steps_of_a_pod() -> None:
    assert not is_accepted(pod({"phase": "Pending"}))
    assert is_accepted(pod({"phase": "Pending", "startTime": "2030-01-01T00:00:00Z"}))
    assert is_running(pod(running()))
    assert not is_running(pod(terminated(0)))
    assert is_deleted({"metadata": {"deletionTimestamp": "2030-01-01T00:00:00Z"}})
    assert not is_deleted(pod({}))
