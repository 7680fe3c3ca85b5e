from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from fake_cluster import FakeApi, Object, node
from launching import (
    PODS,
    RUN,
    lines,
    plan,
    running,
    settings,
    terminated,
    waiting,
    with_pods,
)
from podtrace.cluster import tracer_start
from podtrace.cluster.interface import ByteStream
from podtrace.cluster.pod_log import PodLog
from podtrace.cluster.tracer_pod import TracerPod
from podtrace.cluster.tracer_start import TracerStart
from podtrace.errors import ClusterError, LaunchError, PodtraceError, TargetError

POD = f"podtrace-{RUN}-1-x"


class Starting:
    """A tracer that was created, and waits for its log."""

    def __init__(self, status: Object | None = None, *, has_pod: bool = True) -> None:
        self.api = FakeApi()
        if has_pod:
            with_pods(self.api, status)
        self.api.add(node("node-a"))
        self.told: list[str] = []
        self.leaving = False
        self.tracer = TracerPod(self.api, plan(), settings())

    def becomes(self, status: Object) -> None:
        self.api.add({**self.api.get(f"{PODS}/{POD}"), "status": status})

    def event(self, kind: str, name: str, reason: str, message: str) -> None:
        self.api.add(
            {
                "kind": "Event",
                "metadata": {"name": f"event-{reason}", "namespace": "shop"},
                "involvedObject": {"kind": kind, "name": name},
                "reason": reason,
                "message": message,
            }
        )

    def open(self) -> ByteStream | None:
        self.tracer.create()

        def is_leaving() -> bool:
            return self.leaving

        log = PodLog(self.api, self.tracer, self.told.append, is_leaving)
        return TracerStart(self.tracer, log, self.told.append, is_leaving).open_log()

    def error(self) -> PodtraceError:
        with pytest.raises(PodtraceError) as caught:
            self.open()
        return caught.value


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "FIRST_LOOK_SECONDS",
        "LOOK_SECONDS",
        "EVENTS_SECONDS",
        "LASTING_SECONDS",
        "NODE_SECONDS",
        "TOLD_SECONDS",
        "LOG_SECONDS",
    ):
        monkeypatch.setattr(tracer_start, name, 0.0)
    for name in ("POD_SECONDS", "ACCEPT_SECONDS", "PULL_SECONDS", "FIRST_LINE_SECONDS"):
        monkeypatch.setattr(tracer_start, name, 0.2)


def test_the_log_is_asked_for_until_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracer_start, "PULL_SECONDS", 60.0)
    monkeypatch.setattr(tracer_start, "FIRST_LINE_SECONDS", 60.0)
    scene = Starting(waiting("ContainerCreating"))

    def start() -> None:
        time.sleep(0.1)
        scene.becomes(running())
        scene.api.logs["shop", POD] = [lines(1, 2)]

    thread = threading.Thread(target=start)
    thread.start()
    stream = scene.open()
    thread.join()
    assert stream is not None
    assert b"".join(stream) == lines(1, 2)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (waiting("ErrImagePull", "not found"), "cannot pull the image"),
        (waiting("CreateContainerConfigError", 'secret "x" not found'), "CreateContainerConfig"),
        ({"phase": "Failed", "reason": "OutOfcpu", "message": "rejected"}, "no room"),
        (terminated(128, "StartError", "exec format error"), "not for the processor"),
        (terminated(3), "exit code 3"),
        (terminated(137, "OOMKilled"), "more memory"),
    ],
)
def test_what_stands_in_the_way_is_raised(status: Object, message: str) -> None:
    error = Starting(status).error()
    assert isinstance(error, LaunchError)
    assert message in error.message


def test_a_pod_without_a_node_has_no_log_yet() -> None:
    scene = Starting(
        {
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}],
        }
    )
    # An API server gives an empty log for such a pod, which would look like one that ended.
    scene.api.logs["shop", POD] = []
    assert "is not scheduled" in scene.error().message


def test_a_job_that_makes_no_pod_says_why_by_its_events() -> None:
    scene = Starting(has_pod=False)
    scene.event(
        "Job", f"podtrace-{RUN}-1", "FailedCreate", 'violates PodSecurity "baseline:latest": no'
    )
    assert "Pod Security level baseline" in scene.error().message


def test_a_job_that_makes_no_pod_without_a_word_is_given_up() -> None:
    scene = Starting(has_pod=False)
    assert "made no pod of the Job" in scene.error().message
    assert any("waiting for the cluster" in text for text in scene.told)


def test_a_volume_that_cannot_be_mounted_shows_in_the_events() -> None:
    scene = Starting(waiting("ContainerCreating"))
    scene.event("Pod", POD, "FailedMount", 'secret "x" not found')
    error = scene.error()
    assert "FailedMount" in error.message
    assert 'secret "x" not found' in "\n".join(error.details)


def test_a_container_that_is_never_made_is_given_up_and_told_before() -> None:
    scene = Starting(waiting("ContainerCreating"))
    scene.api.deny("list", "events")
    assert "did not start the tracer pod" in scene.error().message
    assert any("ContainerCreating" in text for text in scene.told)


@pytest.mark.parametrize(
    ("reason", "message", "told"),
    [
        (
            "Started",
            "Started container tracer",
            "the tracer runs on node-a and attaches its probes",
        ),
        ("Pulling", 'Pulling "x"', 'waiting for node node-a to start the tracer: Pulling "x"'),
    ],
)
def test_the_latest_event_tells_what_is_waited_for(reason: str, message: str, told: str) -> None:
    scene = Starting(waiting("ContainerCreating"))
    scene.event("Pod", POD, reason, message)
    scene.error()
    assert told in scene.told


def test_a_kubelet_that_does_not_take_the_pod_up_is_given_up() -> None:
    assert "did not take the tracer pod" in Starting({"phase": "Pending"}).error().message


def test_a_node_that_is_not_there_is_named_at_once() -> None:
    scene = Starting({"phase": "Pending"})
    scene.api.remove("/api/v1/nodes/node-a")
    error = scene.error()
    assert isinstance(error, TargetError)
    assert "node-a" in error.message


def test_a_pod_that_somebody_deletes_is_not_waited_for() -> None:
    scene = Starting(waiting("ContainerCreating"))
    created = scene.api.on_create
    assert created is not None

    def doomed(item: Object) -> None:
        created(item)
        pod = scene.api.get(f"{PODS}/{POD}")
        pod["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
        scene.api.add(pod)

    scene.api.on_create = doomed
    assert "was deleted before it started" in scene.error().message


def test_a_tracer_that_says_nothing_is_given_up() -> None:
    scene = Starting(running())
    error = scene.error()
    assert "nothing was heard of it" in error.message
    assert "waiting to start" in "\n".join(error.details)


def test_who_may_not_read_logs_is_told_the_rights() -> None:
    scene = Starting(running())
    scene.api.deny("get", "pods/log")
    assert "get pods/log in namespace shop" in scene.error().message


def test_an_api_server_that_is_away_for_a_moment_is_borne() -> None:
    scene = Starting(running())
    scene.tracer.create()
    scene.api.logs["shop", POD] = [lines(1, 1)]
    scene.api.fail("GET", f"{PODS}.*", ClusterError("connection refused"), times=3)
    log = PodLog(scene.api, scene.tracer, scene.told.append, lambda: False)
    assert TracerStart(scene.tracer, log, scene.told.append, lambda: False).open_log() is not None
    assert any("does not answer" in text for text in scene.told)


def test_an_api_server_that_stays_away_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracer_start, "AWAY_SECONDS", 0.1)
    scene = Starting(running())
    scene.tracer.create()
    scene.api.fail("GET", ".*", ClusterError("connection refused"))
    log = PodLog(scene.api, scene.tracer, scene.told.append, lambda: False)
    with pytest.raises(ClusterError, match="connection refused"):
        TracerStart(scene.tracer, log, scene.told.append, lambda: False).open_log()


def test_who_leaves_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Starting(waiting("ContainerCreating"))
    monkeypatch.setattr(tracer_start, "PULL_SECONDS", 60.0)

    def leave() -> None:
        scene.leaving = True

    timer = threading.Timer(0.1, leave)
    timer.start()
    began: Any = time.monotonic()
    assert scene.open() is None
    assert time.monotonic() - began < 30
    timer.join()
