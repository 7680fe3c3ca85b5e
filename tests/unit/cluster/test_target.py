"""Which pods are traced for which words, and what is said where none can be."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fake_cluster import FakeApi, container_id, node, pod, workload
from podtrace.cluster.interface import ApiLike, Object
from podtrace.cluster.manifest import OWN_LABELS
from podtrace.cluster.target import Selection, TargetContainer, TargetPod, resolve
from podtrace.errors import ApiError, ClusterError, PodtraceError, TargetError, UsageError

WHEN = "2030-01-01T00:00:00Z"


def nobody(candidates: list[str]) -> int | None:
    return None


def found(api: ApiLike, *words: str, **more: Any) -> list[TargetPod]:
    return resolve(api, Selection("shop", words, **more), nobody)


def names(api: ApiLike, *words: str, **more: Any) -> list[str]:
    return [target.name for target in found(api, *words, **more)]


def refused(api: ApiLike, *words: str, **more: Any) -> PodtraceError:
    with pytest.raises(PodtraceError) as caught:
        found(api, *words, **more)
    assert caught.value.hint, "an error says what to do next"
    return caught.value


@pytest.fixture
def api() -> FakeApi:
    made = FakeApi()
    made.add({"kind": "Namespace", "metadata": {"name": "shop"}})
    made.add(node("node-1"), node("node-2"))
    return made


def shop(name: str, **more: Any) -> Object:
    return pod(name, namespace="shop", **more)


# Pods by name


def test_pod_becomes_a_target_with_its_containers(api: FakeApi) -> None:
    api.add(shop("web-0", containers=("web", "log")))
    assert found(api, "web-0") == [
        TargetPod(
            number=1,
            namespace="shop",
            name="web-0",
            uid="uid-of-shop-web-0",
            cgroup_uid="uid-of-shop-web-0",
            node="node-1",
            containers=(
                TargetContainer("web", container_id("web-0", "web"), "container"),
                TargetContainer("log", container_id("web-0", "log"), "container"),
            ),
        )
    ]


@pytest.mark.parametrize("word", ["web-0", "pod/web-0", "pods/web-0", "po/web-0", "POD/web-0"])
def test_pod_may_be_named_as_kubectl_does(api: FakeApi, word: str) -> None:
    api.add(shop("web-0"))
    assert names(api, word) == ["web-0"]


def test_namespace_of_the_user_is_the_default(api: FakeApi) -> None:
    api.namespace = "shop"
    api.add(shop("web-0"))
    assert [each.name for each in resolve(api, Selection(words=("web-0",)), nobody)] == ["web-0"]


def test_several_words_give_each_pod_once_in_their_order(api: FakeApi) -> None:
    web = {"app": "web"}
    api.add(workload("StatefulSet", "web", namespace="shop", selector=web))
    api.add(*(shop(f"web-{n}", labels=web, owner=("StatefulSet", "web")) for n in (0, 1)))
    api.add(shop("db-0", node="node-2"))
    targets = found(api, "db-0", "web-1", "sts/web", "pod/db-0")
    assert [target.name for target in targets] == ["db-0", "web-1", "web-0"]
    assert [target.number for target in targets] == [1, 2, 3]
    assert [target.node for target in targets] == ["node-2", "node-1", "node-1"]


HASH = "0123456789abcdef0123456789abcdef"


def static_pod(hash: str, mirror: str | None, owner: str = "") -> Object:
    made = shop("etcd-node-1")
    annotations = made["metadata"].setdefault("annotations", {})
    annotations["kubernetes.io/config.hash"] = hash
    if mirror is not None:
        annotations["kubernetes.io/config.mirror"] = mirror
    if owner:
        made["metadata"]["ownerReferences"] = [{"kind": owner, "controller": True}]
    return made


@pytest.mark.parametrize("hash", [HASH, "01234567-89ab-cdef-0123-456789abcdef"])
@pytest.mark.parametrize("owner", ["", "Node"])
def test_static_pod_has_its_cgroup_by_the_hash_of_its_manifest(
    api: FakeApi, hash: str, owner: str
) -> None:
    api.add(static_pod(hash, hash, owner))
    (target,) = found(api, "etcd-node-1")
    assert (target.uid, target.cgroup_uid) == ("uid-of-shop-etcd-node-1", hash)


@pytest.mark.parametrize(
    ("hash", "mirror", "owner"),
    [
        (HASH, None, ""),
        (HASH, HASH[::-1], ""),
        (HASH, HASH, "ReplicaSet"),
        ("../../x", "../../x", "Node"),
        ("c0ffee", "c0ffee", "Node"),
        ("", "", "Node"),
    ],
)
def test_hash_on_a_pod_that_is_not_static_is_not_believed(
    api: FakeApi, hash: str, mirror: str | None, owner: str
) -> None:
    api.add(static_pod(hash, mirror, owner))
    (target,) = found(api, "etcd-node-1")
    assert target.cgroup_uid == target.uid


def test_more_pods_than_can_be_told_apart_are_refused(api: FakeApi) -> None:
    labels = {"app": "web"}
    api.add(*(shop(f"web-{n}", labels=labels) for n in range(255)))
    assert len(found(api, selector="app=web")) == 255
    api.add(shop("web-255", labels=labels, containers=("app", "log")))
    error = refused(api, selector="app=web")
    assert isinstance(error, UsageError)
    assert "256 pods are too many: one run traces 255 at most" in error.message
    assert "-l" in (error.hint or "") and "-c" in (error.hint or "")
    assert names(api, selector="app=web", container="log") == ["web-255"]


@pytest.mark.parametrize("word", ["", "/web", "pod/", "a/b/c", "rollout/web", "deployment.x/web",
                                  "pod/..", "pod/a%2fb"])  # fmt: skip
def test_word_that_names_nothing_is_a_usage_error(api: FakeApi, word: str) -> None:
    assert isinstance(refused(api, word), UsageError)
    assert not api.calls, "and is never sent"


# Containers


def test_every_kind_of_container_is_listed(api: FakeApi) -> None:
    made = shop("web-0")
    made["spec"]["initContainers"] = [
        {"name": "setup"},
        {"name": "mesh", "restartPolicy": "Always"},
    ]
    made["spec"]["ephemeralContainers"] = [{"name": "debug"}]
    ended = {"terminated": {"exitCode": 0}}
    made["status"]["initContainerStatuses"] = [
        {"name": "setup", "containerID": "containerd://" + "1" * 64, "state": ended},
        {"name": "mesh", "containerID": "cri-o://" + "2" * 64, "state": {"running": {"x": 1}}},
    ]
    made["status"]["ephemeralContainerStatuses"] = [
        {"name": "debug", "containerID": "docker://" + "3" * 64, "state": {"running": {"x": 1}}}
    ]
    api.add(made)
    (target,) = found(api, "web-0")
    assert [(each.name, each.kind, each.id[:1]) for each in target.containers] == [
        ("setup", "init", ""),
        ("mesh", "sidecar", "2"),
        ("app", "container", container_id("web-0", "app")[:1]),
        ("debug", "ephemeral", "3"),
    ]
    error = refused(api, "web-0", container="web")
    assert error.message == "pod shop/web-0 has no container web"
    assert error.hint == (
        "its containers are: setup (init), mesh (sidecar), app, debug (ephemeral)"
    )
    assert found(api, "web-0", container="mesh")[0].only == ("mesh",)
    assert "has ended with exit code 0" in refused(api, "web-0", container="setup").message


def test_pod_whose_container_waits_to_be_restarted_is_traced(api: FakeApi) -> None:
    made = shop("web-0")
    made["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
    api.add(made)
    (target,) = found(api, "web-0")
    assert target.containers == (TargetContainer("app", "", "container"),)
    assert found(api, "web-0", container="app")[0].only == ("app",)


def test_container_chooses_among_the_pods_of_a_selector(api: FakeApi) -> None:
    api.add(shop("a", labels={"x": "1"}), shop("b", labels={"x": "1"}, containers=("web",)))
    assert names(api, selector="x=1", container="web") == ["b"]


# Workloads


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("statefulset/w", "StatefulSet"),
        ("sts/w", "StatefulSet"),
        ("daemonset/w", "DaemonSet"),
        ("ds/w", "DaemonSet"),
        ("replicaset.apps/w", "ReplicaSet"),
        ("rs/w", "ReplicaSet"),
        ("job/w", "Job"),
        ("jobs.batch/w", "Job"),
        ("jobs.v1.batch/w", "Job"),
    ],
)
def test_workload_gives_the_running_pods_that_it_controls(
    api: FakeApi, word: str, kind: str
) -> None:
    labels = {"app": "w"}
    api.add(
        workload(kind, "w", namespace="shop"),
        shop("w-1", labels=labels, owner=(kind, "w")),
        shop("w-2", labels=labels, owner=(kind, "w")),
        shop("w-3", labels=labels, owner=(kind, "w"), phase="Succeeded"),
        shop("other", labels=labels, owner=(kind, "other")),
        shop("alone", labels=labels),
        pod("w-1", namespace="elsewhere", labels=labels, owner=(kind, "w")),
    )
    assert names(api, word) == ["w-1", "w-2"]


@pytest.fixture
def canary(api: FakeApi) -> FakeApi:
    """A deployment whose selector takes in the pods of its canary too."""
    for name, generation in (("web", "aaa"), ("web-canary", "bbb")):
        labels = {"app": "web", "pod-template-hash": generation}
        replica_set = workload("ReplicaSet", f"{name}-{generation}", namespace="shop")
        replica_set["metadata"]["labels"] = labels
        replica_set["metadata"]["ownerReferences"] = [{"uid": f"uid-of-{name}", "controller": True}]
        api.add(
            workload("Deployment", name, namespace="shop", selector={"app": "web"}),
            replica_set,
            shop(
                f"{name}-{generation}-x",
                labels=labels,
                owner=("ReplicaSet", f"{name}-{generation}"),
            ),
        )
    return api


def test_deployment_does_not_give_the_pods_of_its_canary(canary: FakeApi) -> None:
    assert names(canary, "deployment/web") == ["web-aaa-x"]
    assert names(canary, "deploy/web-canary") == ["web-canary-bbb-x"]


def test_deployment_needs_no_right_on_replica_sets(canary: FakeApi) -> None:
    canary.deny("list", "replicasets")
    assert names(canary, "deployment/web") == ["web-aaa-x"]


def test_service_gives_the_pods_of_its_selector(api: FakeApi) -> None:
    api.add(workload("Service", "web", namespace="shop", selector={"tier": "front"}))
    api.add(shop("a", labels={"tier": "front"}), shop("b", labels={"tier": "back"}))
    assert names(api, "svc/web") == ["a"]
    headless = workload("Service", "ext", namespace="shop")
    headless["spec"] = {"type": "ExternalName"}
    api.add(headless)
    assert "service shop/ext has no selector" in refused(api, "service/ext").message


def test_cron_job_gives_the_pods_of_its_running_jobs(api: FakeApi) -> None:
    cron = workload("CronJob", "nightly", namespace="shop")
    cron["status"] = {"active": [{"name": "nightly-2", "uid": "uid-of-nightly-2"}]}
    api.add(cron)
    for job in ("nightly-1", "nightly-2"):
        api.add(shop(f"{job}-x", labels={"job-name": job}, owner=("Job", job)))
    assert names(api, "cronjob/nightly") == ["nightly-2-x"]
    cron["status"] = {}
    api.add(cron)
    assert "cronjob shop/nightly has no pods" in refused(api, "cj/nightly").message


def test_replication_controller_gives_its_pods(api: FakeApi) -> None:
    old = workload("ReplicationController", "old", namespace="shop")
    old["spec"] = {"selector": {"app": "old"}}
    api.add(old, shop("old-1", labels={"app": "old"}, owner=("ReplicationController", "old")))
    assert names(api, "rc/old") == ["old-1"]


def test_expressions_of_a_selector_count_too(api: FakeApi) -> None:
    made = workload("StatefulSet", "w", namespace="shop")
    made["spec"]["selector"]["matchExpressions"] = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "old", "operator": "DoesNotExist"},
        {"key": "app", "operator": "Exists"},
        {"key": "x", "operator": "NotIn", "values": ["1"]},
    ]
    owner = ("StatefulSet", "w")
    api.add(
        made,
        shop("w-0", labels={"app": "w", "tier": "a"}, owner=owner),
        shop("w-1", labels={"app": "w", "tier": "c"}, owner=owner),
        shop("w-2", labels={"app": "w", "tier": "b", "old": "y"}, owner=owner),
        shop("w-3", labels={"app": "w", "tier": "b", "x": "1"}, owner=owner),
    )
    assert names(api, "sts/w") == ["w-0"]


def test_workload_without_running_pods_says_what_they_do(api: FakeApi) -> None:
    api.add(workload("StatefulSet", "w", namespace="shop"))
    assert refused(api, "sts/w").message == "statefulset shop/w has no pods"
    owner = ("StatefulSet", "w")
    waiting = shop("w-0", labels={"app": "w"}, owner=owner, phase="Pending", node=None)
    api.add(waiting, shop("w-1", labels={"app": "w"}, owner=owner, phase="Failed"))
    error = refused(api, "sts/w")
    assert isinstance(error, TargetError)
    assert error.message == "statefulset shop/w has no running pod (1 Pending, 1 Failed)"
    assert error.details == ("pod w-0 has no node yet", "pod w-1 has failed")


# Selectors, and no words at all


def test_selector_gives_all_running_pods_that_it_fits(api: FakeApi) -> None:
    api.add(shop("b", labels={"x": "1"}), shop("a", labels={"x": "1"}), shop("c"))
    api.add(shop("d", labels={"x": "1"}, phase="Pending"))
    assert names(api, selector="x=1") == ["a", "b"]
    assert "-l x=2 in namespace shop has no pods" in refused(api, selector="x=2").message


def test_selector_that_the_server_does_not_understand_is_a_usage_error(api: FakeApi) -> None:
    api.fail("GET", ".*/pods", 400, "unable to parse requirement")
    error = refused(api, selector="x in (")
    assert isinstance(error, UsageError)
    assert error.message == "-l x in (: unable to parse requirement"


def test_only_running_pod_of_the_namespace_is_taken_as_meant(api: FakeApi) -> None:
    api.add(shop("web-0"), shop("done", phase="Succeeded"), pod("x", namespace="other"))
    tracer = shop("podtrace-1", labels=OWN_LABELS)
    api.add(tracer)
    assert names(api) == ["web-0"]


def test_one_of_several_has_to_be_chosen(api: FakeApi) -> None:
    api.add(shop("b"), shop("a"))
    asked: list[list[str]] = []

    def second(candidates: list[str]) -> int:
        asked.append(candidates)
        return 1

    (target,) = resolve(api, Selection("shop"), second)
    assert (asked, target.name) == ([["a", "b"]], "b")


def test_several_without_anybody_to_ask_are_listed(api: FakeApi) -> None:
    api.add(*(shop(f"web-{number:02}") for number in range(25)))
    error = refused(api)
    assert isinstance(error, UsageError)
    assert error.exit_code == 2
    assert error.message == "namespace shop has 25 running pods, and none was named"
    assert error.details[0] == "  1) web-00"
    assert error.details[19:] == ("  20) web-19", "  and 5 more")
    assert error.hint == ("name one, for example: kubectl podtrace -n shop web-00 --diagnose 20s")


def test_no_running_pod_at_all_is_an_error_of_exit_code_1(api: FakeApi) -> None:
    error = refused(api)
    assert (error.message, error.exit_code) == ("namespace shop has no pods", 1)
    api.add(shop("web-0", phase="Succeeded"))
    assert refused(api).message == "namespace shop has no running pod (1 Succeeded)"


# What is not there


def test_near_names_are_offered(api: FakeApi) -> None:
    api.add(shop("checkout-5d9-x7"), shop("payment-0"))
    assert refused(api, "checkout").hint == "did you mean checkout-5d9-x7?"
    assert refused(api, "paymnet-0").hint == "did you mean payment-0?"
    assert refused(api, "zzz").hint == "to see what is there: kubectl get pods -n shop"


def test_name_of_a_workload_leads_to_its_type(canary: FakeApi) -> None:
    error = refused(canary, "web")
    assert error.message == "there is no pod shop/web, but a deployment/web"
    assert error.hint == "to trace its pods: kubectl podtrace -n shop deployment/web"
    canary.add(shop("db-0", owner=("StatefulSet", "db")))
    assert "statefulset/db" in refused(canary, "db").message


def test_pod_of_another_namespace_is_found(api: FakeApi) -> None:
    api.add(pod("web-0", namespace="other"))
    error = refused(api, "web-0")
    assert error.message == "there is no pod shop/web-0, but one in namespace other"
    assert error.hint == "name its namespace: kubectl podtrace -n other web-0"


def test_missing_namespace_is_said_before_anything_else(api: FakeApi) -> None:
    for words in (("web-0",), ("deploy/web",), ()):
        with pytest.raises(TargetError, match="there is no namespace shopp") as caught:
            resolve(api, Selection("shopp", words), nobody)
        assert caught.value.hint == "did you mean shop?"


def test_near_names_of_workloads_carry_their_type(api: FakeApi) -> None:
    api.add(workload("Service", "frontend", namespace="shop"))
    assert refused(api, "svc/fronted").hint == "did you mean service/frontend?"


def test_who_may_not_list_gets_a_plain_answer(api: FakeApi) -> None:
    api.deny("list", "*")
    api.deny("get", "namespaces")
    error = refused(api, "web-0")
    assert error.message == "there is no pod shop/web-0"


# Pods that cannot be traced


def set_status(made: Object, **status: Any) -> Object:
    made["status"].update(copy.deepcopy(status))
    return made


def waiting(reason: str, message: str = "", kind: str = "containerStatuses") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {kind: [{"name": "app", "state": state}]}


@pytest.mark.parametrize(
    ("node_name", "phase", "status", "words"),
    [
        (None, "Pending", {}, "has no node yet"),
        (
            None,
            "Pending",
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 fit"}]},
            "has no node yet: 0/3 fit",
        ),
        ("node-1", "Pending", {}, "has not started: its containers are being created"),
        ("node-1", "Pending", waiting("ContainerCreating"), "has not started: its containers"),
        (
            "node-1",
            "Pending",
            waiting("ErrImagePull", "no such image"),
            "has not started: container app is waiting: ErrImagePull: no such image",
        ),
        (
            "node-1",
            "Pending",
            waiting("CrashLoopBackOff", kind="initContainerStatuses"),
            "has not started: init container app is waiting: CrashLoopBackOff",
        ),
        ("node-1", "Succeeded", {}, "has ended successfully"),
        (
            "node-1",
            "Failed",
            {"reason": "Evicted", "message": "disk is full"},
            "has failed: Evicted: disk is full",
        ),
        (
            "node-1",
            "Failed",
            {
                "containerStatuses": [
                    {"name": "app", "state": {"terminated": {"exitCode": 3, "finishedAt": WHEN}}}
                ]
            },
            f"has failed at {WHEN}: container app ended with exit code 3",
        ),
        ("node-1", "Unknown", {"reason": "NodeLost"}, "is in an unknown state: NodeLost"),
    ],
)
def test_pod_that_does_not_run_says_why(
    api: FakeApi, node_name: str | None, phase: str, status: dict[str, Any], words: str
) -> None:
    api.add(set_status(shop("web-0", node=node_name, phase=phase), **status))
    error = refused(api, "web-0")
    assert isinstance(error, TargetError)
    assert error.message.startswith(f"pod shop/web-0 {words}")


def test_pod_that_is_being_deleted_is_refused(api: FakeApi) -> None:
    made = shop("web-0")
    made["metadata"]["deletionTimestamp"] = WHEN
    api.add(made)
    assert refused(api, "web-0").message == f"pod shop/web-0 is being deleted since {WHEN}"


def test_pod_that_is_in_its_init_containers_is_traced(api: FakeApi) -> None:
    made = shop("web-0", phase="Pending")
    made["spec"]["initContainers"] = [{"name": "migrate"}]
    state = {"running": {"startedAt": WHEN}}
    set_status(made, initContainerStatuses=[{"name": "migrate", "state": state}])
    api.add(made)
    assert names(api, "web-0") == ["web-0"]


def test_own_tracers_are_never_targets(api: FakeApi) -> None:
    api.add(shop("podtrace-1", labels={**OWN_LABELS, "x": "1"}))
    assert "is a tracer of podtrace itself" in refused(api, "podtrace-1").message
    assert "has no pods" in refused(api, selector="x=1").message


@pytest.mark.parametrize(
    ("runtime", "handler"),
    [("gvisor", "runsc"), ("secure", "kata-qemu"), ("x", "runsc"), ("kata", "x"), ("x", "gVisor")],
)
def test_sandboxed_pod_is_refused(api: FakeApi, runtime: str, handler: str) -> None:
    made = shop("web-0")
    made["spec"]["runtimeClassName"] = runtime
    api.add(made, {"kind": "RuntimeClass", "metadata": {"name": runtime}, "handler": handler})
    error = refused(api, "web-0")
    assert f"runs in a sandbox (runtime class {runtime}, handler {handler})" in error.message


def test_runtime_class_that_is_no_sandbox_is_traced(api: FakeApi) -> None:
    made = shop("web-0")
    made["spec"]["runtimeClassName"] = "nvidia"
    api.add(made, {"kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"})
    assert names(api, "web-0") == ["web-0"]


def test_runtime_class_that_may_not_be_read_is_judged_by_its_name(api: FakeApi) -> None:
    api.deny("get", "runtimeclasses")
    made = shop("web-0")
    made["spec"]["runtimeClassName"] = "gvisor"
    api.add(made)
    assert "runs in a sandbox" in refused(api, "web-0").message


def test_windows_and_fargate_pods_are_refused(api: FakeApi) -> None:
    made = shop("web-0")
    made["spec"]["os"] = {"name": "windows"}
    api.add(made)
    assert "runs on windows" in refused(api, "web-0").message
    api.add(shop("web-1", labels={"eks.amazonaws.com/fargate-profile": "x"}))
    assert "runs on Fargate" in refused(api, "web-1").message


# Nodes


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (node("n", labels={"type": "virtual-kubelet"}), "node n is virtual"),
        (node("n", labels={"eks.amazonaws.com/compute-type": "fargate"}), "virtual .fargate."),
        (
            node("n", taints=[{"key": "virtual-kubelet.io/provider", "value": "azure"}]),
            "node n is virtual .azure.",
        ),
        (node("n", os="windows"), "node n runs windows"),
        (
            node("n", ready=False),
            f"node n is not ready since {WHEN}: Kubelet stopped posting node status.",
        ),
    ],
)
def test_node_that_cannot_be_traced_is_refused(api: FakeApi, made: Object, words: str) -> None:
    api.add(made, shop("web-0", node="n"), shop("web-1", labels={"x": "1"}, node="n"))
    api.add(shop("web-2", labels={"x": "1"}))
    with pytest.raises(TargetError, match=words):
        found(api, "web-0")
    with pytest.raises(TargetError, match=words):
        found(api, selector="x=1")


def test_node_that_is_gone_is_said(api: FakeApi) -> None:
    api.add(shop("web-0", node="gone"))
    assert "node gone is not there any more" in refused(api, "web-0").message


def test_node_that_may_not_be_read_is_taken_as_good(api: FakeApi) -> None:
    api.deny("get", "nodes")
    api.add(shop("web-0", node="gone"))
    assert names(api, "web-0") == ["web-0"]


# Rights and other trouble


def test_missing_right_comes_with_the_role_that_helps(api: FakeApi) -> None:
    api.deny("get", "pods")
    error = refused(api, "web-0")
    assert isinstance(error, ClusterError)
    assert error.message == "you may not get pods in namespace shop"
    assert 'cannot get resource "pods"' in error.details[0]
    assert "  kind: Role" in error.details


def test_missing_right_to_list_comes_with_a_role_for_choosing(api: FakeApi) -> None:
    api.deny("list", "pods")
    error = refused(api, selector="x=1")
    assert 'cannot list resource "pods"' in error.message
    assert any("deployments" in line for line in error.details)


@pytest.mark.parametrize("words", [("web-0",), ("deploy/web",), ()])
def test_trouble_with_the_server_is_passed_on(api: FakeApi, words: tuple[str, ...]) -> None:
    api.fail("GET", ".*", 500, "etcd is away")
    with pytest.raises(ApiError, match="etcd is away"):
        found(api, *words)
