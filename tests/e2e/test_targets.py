"""Words on a real cluster: the pods that they mean, and why some of them cannot be traced."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import Images
from e2e.kubectl import PATIENCE_SECONDS, Kubectl, pod
from e2e.machine.cluster import Cluster
from e2e.machine.control_groups import hierarchies
from podtrace.cluster.access import Access
from podtrace.cluster.api import Api
from podtrace.cluster.target import Selection, TargetPod, resolve
from podtrace.errors import PodtraceError, TargetError, UsageError

SLEEP = ["-c", "import time; time.sleep(3600)"]
Object = dict[str, Any]


@pytest.fixture
def api(kubeconfig: Path, namespace: Kubectl) -> Iterator[Api]:
    made = Api.connect(Access(kubeconfig=str(kubeconfig), namespace=namespace.namespace))
    yield made
    made.close()


def found(api: Api, *words: str, **more: Any) -> list[TargetPod]:
    return resolve(api, Selection(None, words, **more), lambda _: None)


def refused(api: Api, *words: str, **more: Any) -> PodtraceError:
    with pytest.raises(PodtraceError) as caught:
        found(api, *words, **more)
    return caught.value


def refusal(api: Api, word: str, pattern: str) -> str:
    """Wait until a pod is refused with these words."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            message = str(found(api, word))
        except PodtraceError as error:
            message = error.message
            if re.search(pattern, message):
                return message
        assert time.monotonic() < end, message
        time.sleep(0.5)


def template(images: Images, app: str, **spec: Any) -> Object:
    made = pod("x", images.workload, SLEEP, **spec)
    return {"metadata": {"labels": {"app": app}}, "spec": made["spec"]}


def workload(kind: str, name: str, images: Images, **spec: Any) -> Object:
    group = "batch/v1" if kind == "Job" else "apps/v1"
    selector = {} if kind == "Job" else {"selector": {"matchLabels": {"app": name}}}
    return {
        "apiVersion": group,
        "kind": kind,
        "metadata": {"name": name},
        "spec": {**selector, "template": template(images, name), **spec},
    }


def test_workloads_give_their_running_pods(namespace: Kubectl, images: Images, api: Api) -> None:
    canary = workload("Deployment", "canary", images, replicas=1)
    canary["spec"]["selector"]["matchLabels"] = {"app": "web", "track": "canary"}
    canary["spec"]["template"]["metadata"]["labels"] = {"app": "web", "track": "canary"}
    job = workload("Job", "batch", images)
    job["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    service = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    namespace.apply(
        workload("Deployment", "web", images, replicas=2),
        canary,
        workload("StatefulSet", "db", images, replicas=1, serviceName="db"),
        workload("DaemonSet", "agent", images),
        job,
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": service},
    )
    for name, count in (("web", 3), ("db", 1), ("agent", 1), ("batch", 1)):
        namespace.wait("create", "pod", f"--selector=app={name}")
        end = time.monotonic() + PATIENCE_SECONDS
        while len(list(_running(namespace, name))) < count:
            assert time.monotonic() < end, namespace.run("get", "pods").stdout
            time.sleep(0.5)
    web = found(api, "deployment/web")
    assert len(web) == 2
    assert all(target.name.startswith("web-") for target in web)
    assert [target.name[:7] for target in found(api, "deploy/canary")] == ["canary-"]
    assert len(found(api, "service/web")) == 3
    assert [target.name for target in found(api, "sts/db")] == ["db-0"]
    assert [target.name[:6] for target in found(api, "job/batch")] == ["batch-"]
    agents = found(api, "daemonset/agent")
    assert len(agents) == len(list(_running(namespace, "agent")))
    assert len({target.node for target in agents}) == len(agents)
    several = found(api, "sts/db", "deploy/web", "db-0")
    assert [target.number for target in several] == [1, 2, 3]
    assert len(found(api, selector="app in (db,web)")) == 4
    error = refused(api)
    assert isinstance(error, UsageError)
    assert len(error.details) == 5 + len(agents)
    assert "deployment/web" in refused(api, "web").message


def _running(kubectl: Kubectl, app: str) -> Iterator[Object]:
    fields = "--field-selector=status.phase=Running"
    yield from kubectl.get("pods", f"--selector=app={app}", fields)["items"]


def test_pod_has_its_containers_with_the_ids_of_the_runtime(
    namespace: Kubectl, images: Images, api: Api
) -> None:
    made = pod("web-0", images.workload, SLEEP)
    main = made["spec"]["containers"][0]
    made["spec"]["containers"].append({**main, "name": "log"})
    made["spec"]["initContainers"] = [
        {**main, "name": "setup", "args": ["-c", "pass"]},
        {**main, "name": "mesh", "restartPolicy": "Always"},
    ]
    namespace.apply(made)
    namespace.wait_for_pods("web-0")
    (target,) = found(api)
    assert [(each.name, each.kind, len(each.id)) for each in target.containers] == [
        ("setup", "init", 0),
        ("mesh", "sidecar", 64),
        ("main", "container", 64),
        ("log", "container", 64),
    ]
    assert found(api, "web-0", container="log")[0].only == ("log",)
    assert "setup (init), mesh (sidecar), main, log" in (
        refused(api, "web-0", container="x").hint or ""
    )


def test_pods_that_do_not_run_say_why(namespace: Kubectl, images: Images, api: Api) -> None:
    wrong = pod("wrong", "image.invalid/none:1", SLEEP)
    wrong["spec"]["containers"][0]["imagePullPolicy"] = "Never"
    namespace.apply(
        pod("nowhere", images.workload, SLEEP, nodeSelector={"no": "such"}),
        wrong,
        pod("done", images.workload, ["-c", "pass"], restartPolicy="Never"),
        pod("failed", images.workload, ["-c", "exit(3)"], restartPolicy="Never"),
    )
    refusal(api, "nowhere", r"has no node yet: .*nodes are available")
    refusal(api, "wrong", r"container main is waiting: ErrImageNeverPull")
    refusal(api, "done", r"has ended successfully at 20")
    refusal(api, "failed", r"has failed at 20.*: container main ended with exit code 3")
    error = refused(api)
    assert isinstance(error, TargetError)
    assert "has no running pod (" in error.message
    namespace.apply(pod("going", images.workload, SLEEP, terminationGracePeriodSeconds=20))
    namespace.wait_for_pods("going")
    namespace.run("delete", "pod", "going", "--wait=false")
    assert "is being deleted since" in refused(api, "going").message


def test_pod_that_hangs_in_its_init_container_can_be_traced(
    namespace: Kubectl, images: Images, api: Api
) -> None:
    made = pod("web-0", images.workload, SLEEP)
    main = made["spec"]["containers"][0]
    made["spec"]["initContainers"] = [{**main, "name": "wait"}]
    namespace.apply(made)
    namespace.wait("jsonpath={.status.initContainerStatuses[0].state.running}", "pod/web-0")
    (target,) = found(api, "web-0")
    assert [len(each.id) for each in target.containers] == [64, 0]


def test_sandboxed_pod_is_refused_by_the_handler_of_its_runtime_class(
    kubectl: Kubectl, namespace: Kubectl, images: Images, api: Api, machine: Cluster
) -> None:
    name = f"{namespace.namespace}-strict"
    kubectl.apply(
        {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": name},
            "handler": "runsc",
        }
    )
    try:
        namespace.apply(pod("web-0", images.workload, SLEEP, runtimeClassName=name))
        namespace.wait_for_pods("web-0")
        assert f"(runtime class {name}, handler runsc)" in refused(api, "web-0").message
    finally:
        kubectl.run("delete", "runtimeclass", name)


def test_virtual_node_and_node_that_is_away_are_refused(
    kubectl: Kubectl, namespace: Kubectl, images: Images, api: Api
) -> None:
    name = f"{namespace.namespace}-virtual"
    node: Object = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"type": "virtual-kubelet"}},
    }
    kubectl.apply(node)
    try:
        namespace.apply(pod("web-0", images.workload, SLEEP, node=name))
        status = {"status": {"phase": "Running"}}
        namespace.run(
            "patch", "pod", "web-0", "--subresource=status", "--type=merge",
            f"--patch={json.dumps(status)}",
        )  # fmt: skip
        assert f"node {name} is virtual" in refused(api, "web-0").message
        kubectl.run("label", "node", name, "type-")
        ready = {"type": "Ready", "status": "Unknown", "message": "gone to lunch"}
        kubectl.run(
            "patch", "node", name, "--subresource=status", "--type=merge",
            f"--patch={json.dumps({'status': {'conditions': [ready]}})}",
        )  # fmt: skip
        assert f"node {name} is not ready" in refused(api, "web-0").message
    finally:
        kubectl.run("delete", "node", name)


def test_static_pod_has_its_cgroup_by_the_hash_of_its_manifest(
    kubectl: Kubectl, images: Images, kubeconfig: Path, machine: Cluster
) -> None:
    node = machine.plan.nodes[0]
    made = pod("static-web", images.workload, SLEEP)
    made["metadata"]["namespace"] = "default"
    manifest = node.directory / "static-pods/static-web.json"
    manifest.write_text(json.dumps(made))
    name = f"static-web-{node.name}"
    within = kubectl.within("default")
    try:
        within.wait("create", f"pod/{name}")
        within.wait_for_pods(name)
        api = Api.connect(Access(kubeconfig=str(kubeconfig), namespace="default"))
        (target,) = found(api, name)
        api.close()
        assert target.cgroup_uid != target.uid
        groups = {
            path.name
            for hierarchy in hierarchies()
            for path in (hierarchy / node.cgroup.strip("/")).rglob("pod*")
        }
        assert f"pod{target.cgroup_uid}" in groups
        assert f"pod{target.uid}" not in groups
    finally:
        manifest.unlink()
