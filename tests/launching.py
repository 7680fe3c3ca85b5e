"""What the tests of tracer pods share: targets, settings, lines of a stream, pods with a status."""

from __future__ import annotations

import json
from typing import Any

from fake_cluster import FakeApi, Object
from podtrace.cluster.manifest import TracerPlan
from podtrace.cluster.settings import LaunchSettings
from podtrace.cluster.target import TargetContainer, TargetPod

RUN = "0123abcd"
JOBS = "/apis/batch/v1/namespaces/shop/jobs"
PODS = "/api/v1/namespaces/shop/pods"


def target(number: int = 1, node: str = "node-a", name: str = "web-0") -> TargetPod:
    return TargetPod(
        number=number,
        namespace="shop",
        name=name,
        uid=f"uid-{number}",
        cgroup_uid=f"cgroup-{number}",
        node=node,
        containers=(
            TargetContainer("setup", "", "init"),
            TargetContainer("web", f"{number:x}" * 64, "container"),
        ),
        only=("web",),
    )


def settings(**changes: Any) -> LaunchSettings:
    return LaunchSettings(**{"image": "tracer:1", "namespace": "shop", **changes})


def plan(*targets: TargetPod) -> TracerPlan:
    return TracerPlan(RUN, 1, "node-a", targets or (target(),))


def line(seq: int, kind: str = "health", **fields: Any) -> bytes:
    return json.dumps({"kind": kind, "seq": seq, **fields}, separators=(",", ":")).encode() + b"\n"


def lines(first: int, last: int, *, end: str = "") -> bytes:
    """Return lines, the last one as the end of the stream if a reason is given."""
    whole = b"".join(line(seq) for seq in range(first, last + 1 - bool(end)))
    return whole + (line(last, "end", reason=end) if end else b"")


def with_pods(api: FakeApi, status: Object | None = None) -> FakeApi:
    """Let Jobs have their pod, named JOB-x, and pods the status of one that runs."""

    def make(item: Object) -> None:
        metadata = item["metadata"]
        pod = item
        if item["kind"] == "Job":
            pod = {
                "kind": "Pod",
                "metadata": {
                    "name": f"{metadata['name']}-x",
                    "namespace": metadata["namespace"],
                    "labels": metadata["labels"],
                },
                "spec": item["spec"]["template"]["spec"],
            }
        api.add({**pod, "status": running() if status is None else status})

    api.on_create = make
    return api


def running() -> Object:
    return container_state({"running": {"startedAt": "2030-01-01T00:00:00Z"}})


def waiting(reason: str, message: str = "") -> Object:
    return container_state({"waiting": {"reason": reason, "message": message}}, "Pending")


def terminated(code: int, reason: str = "Error", message: str = "") -> Object:
    state = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
    return container_state(state, "Succeeded" if code == 0 else "Failed")


def container_state(state: Object, phase: str = "Running") -> Object:
    return {
        "phase": phase,
        "startTime": "2030-01-01T00:00:00Z",
        "containerStatuses": [{"name": "tracer", "state": state}],
    }
