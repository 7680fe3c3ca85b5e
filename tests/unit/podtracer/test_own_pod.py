from __future__ import annotations

import os
from pathlib import Path

from podtracer.cgroups import Hierarchies
from podtracer.own_pod import OwnPod, own_pod

UID = "6c6b1d2e-aa00-4ef0-bd8c-000000000001"
ID = "ab" * 32
NOWHERE = Hierarchies("", {})


def test_own_pod_is_what_the_environment_says() -> None:
    environment = {
        "PODTRACE_POD_NAMESPACE": "tools",
        "PODTRACE_POD_NAME": "podtrace-x",
        "PODTRACE_POD_UID": UID,
        "PODTRACE_NODE": "node-a",
        "PODTRACE_BARE": "1",
    }
    assert own_pod(environment) == OwnPod("tools", "podtrace-x", UID, "node-a", True)
    assert own_pod({}) == OwnPod()
    assert not own_pod({"PODTRACE_BARE": ""}).bare


def test_outside_a_pod_there_is_no_log() -> None:
    assert OwnPod().log_pattern(NOWHERE) is None


def test_own_log_is_known_by_the_pods_folder() -> None:
    log = OwnPod("tools", "podtrace-x", UID).log_pattern(NOWHERE)
    assert log is not None
    folder = f"/var/log/pods/tools_podtrace-x_{UID}"
    assert log.search(f"{folder}/tracer/0.log")
    assert log.search(f"{folder}/tracer/0.log.20240102-030405")
    assert log.search(f"{folder}/tracer/0.log (deleted)")
    assert not log.search(f"/var/lib/kubelet/pods/{UID}/etc-hosts")
    assert not log.search(f"/var/log/pods/tools_podtrace-xy_{UID}/tracer/0.log")
    assert not log.search(f"{folder}/tracer")


def test_own_log_of_docker_is_known_by_the_containers_id(tmp_path: Path) -> None:
    container = tmp_path / "kubepods" / f"pod{UID}" / ID
    other = tmp_path / "kubepods" / f"pod{UID}" / ("cd" * 32)
    for folder, pid in ((container, os.getpid()), (other, 1)):
        folder.mkdir(parents=True)
        (folder / "cgroup.procs").write_text(f"{pid}\n")
    log = OwnPod("tools", "podtrace-x", UID).log_pattern(Hierarchies(str(tmp_path), {}))
    assert log is not None
    assert log.search(f"/var/lib/docker/containers/{ID}/{ID}-json.log")
    assert not log.search(f"/run/containerd/fifo/{ID}-stdout")
    assert not log.search(f"/var/lib/docker/containers/{'cd' * 32}/{'cd' * 32}-json.log")
