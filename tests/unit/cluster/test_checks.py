from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fake_cluster import FakeApi, node, path_of, pod, workload
from podtrace.checkup import FAILED, OK, SKIPPED, WARNING, Check
from podtrace.cluster.checks import Answers, Wish, ask_cluster
from podtrace.cluster.image import tracer_image
from podtrace.cluster.settings import LaunchSettings, PullPolicy
from podtrace.cluster.target import Selection
from podtrace.errors import ClusterError, LaunchError, PodtraceError

IMAGE = "registry.test/podtrace-tracer:1"
PODS = "/api/v1/namespaces/shop/pods"
JOBS = "/apis/batch/v1/namespaces/shop/jobs"
WHO_AM_I = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
RESTRICTED = (
    'pods "podtrace-1" is forbidden: violates PodSecurity "restricted:latest": '
    "host namespaces (hostPID=true), privileged"
)


def namespace(name: str = "shop", labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    return {"kind": "Namespace", "metadata": {"name": name, "labels": dict(labels or {})}}


def worker(name: str = "node-1", kernel: str = "6.1.0-18-amd64", **status: Any) -> dict[str, Any]:
    made = node(name, **{key: status.pop(key) for key in ("architecture",) if key in status})
    info = made["status"]["nodeInfo"]
    info |= {"kernelVersion": kernel, "containerRuntimeVersion": "containerd://1.7.1"}
    made["status"] |= status
    return made


def quota(hard: Mapping[str, str], used: Mapping[str, str], **spec: Any) -> dict[str, Any]:
    return {
        "kind": "ResourceQuota",
        "metadata": {"name": "team", "namespace": "shop"},
        "spec": {"hard": dict(hard), **spec},
        "status": {"hard": dict(hard), "used": dict(used)},
    }


def limit_range(**limit: Any) -> dict[str, Any]:
    return {
        "kind": "LimitRange",
        "metadata": {"name": "bounds", "namespace": "shop"},
        "spec": {"limits": [limit]},
    }


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi(namespace="shop")
    api.add(namespace(), worker(), pod("web-0", namespace="shop"))
    return api


def ask(
    api: FakeApi,
    *words: str,
    selector: str | None = None,
    tracer_namespace: str = "shop",
    trouble: PodtraceError | None = None,
    pull_policy: PullPolicy = "IfNotPresent",
) -> Answers:
    settings = LaunchSettings(IMAGE, tracer_namespace, 1.0, pull_policy=pull_policy)
    return ask_cluster(api, Wish(Selection("shop", words, selector), settings, trouble))


def named(answers: Answers, name: str) -> Check:
    found = [check for check in answers.checks if check.name == name]
    assert len(found) == 1, [check.name for check in answers.checks]
    return found[0]


def test_everything_is_fine_where_a_trace_would_work(api: FakeApi) -> None:
    answers = ask(api, "web-0")
    assert {check.state for check in answers.checks} == {OK}
    assert not answers.is_hopeless
    assert [target.name for target in answers.targets] == ["web-0"]


def test_asking_creates_nothing(api: FakeApi) -> None:
    before = set(api.objects)
    ask(api, "web-0")
    assert set(api.objects) == before
    posts = [call for call in api.asked("POST") if "namespaces/shop" in call.path]
    assert [call.query for call in posts] == [{"dryRun": "All"}] * 2
    assert api.asked("DELETE") == []


def test_server_that_is_away_is_the_only_failure(api: FakeApi) -> None:
    api.fail("GET", "/version", ClusterError("https://x cannot be reached", "check the VPN"))
    answers = ask(api, "web-0")
    assert named(answers, "API server") == Check(
        "API server", FAILED, "https://x cannot be reached", "check the VPN"
    )
    assert {check.state for check in answers.checks[1:]} == {SKIPPED}
    assert [call.path for call in api.calls] == ["/version"]


def test_server_tells_its_version(api: FakeApi) -> None:
    assert "v1.34.4, answers in " in named(ask(api), "API server").found


def test_old_server_is_a_warning(api: FakeApi) -> None:
    api.answers["/version"] = {"major": "1", "minor": "24+", "gitVersion": "v1.24.9-gke"}
    check = named(ask(api, "web-0"), "API server")
    assert check.state == WARNING
    assert "older than 1.25" in check.found


def test_user_is_named(api: FakeApi) -> None:
    assert named(ask(api), "User") == Check("User", OK, "jane; groups dev, system:authenticated")


def test_server_that_does_not_tell_the_user_is_no_failure(api: FakeApi) -> None:
    api.fail("POST", WHO_AM_I, 404, "not found", reason="NotFound")
    answers = ask(api, "web-0")
    assert named(answers, "User").state == SKIPPED
    assert not answers.is_hopeless


def test_refused_credentials_fail(api: FakeApi) -> None:
    api.fail("POST", WHO_AM_I, 401, "Unauthorized", reason="Unauthorized")
    assert named(ask(api), "User").state == FAILED


def test_user_without_a_name_is_a_warning(api: FakeApi) -> None:
    api.answers[WHO_AM_I] = {"status": {"userInfo": {"username": "system:anonymous"}}}
    assert named(ask(api), "User").state == WARNING


def test_missing_namespace_fails_with_the_command_that_makes_it(api: FakeApi) -> None:
    api.remove(path_of(namespace()))
    check = named(ask(api, "web-0"), "Namespace shop")
    assert (check.state, check.found) == (FAILED, "does not exist")
    assert "  kubectl create namespace shop" in str(check.fix).splitlines()


def test_namespace_that_is_being_deleted_fails(api: FakeApi) -> None:
    api.add({**namespace(), "status": {"phase": "Terminating"}})
    assert named(ask(api), "Namespace shop").state == FAILED


def test_namespace_that_may_not_be_looked_at_is_skipped(api: FakeApi) -> None:
    api.deny("get", "namespaces")
    answers = ask(api, "web-0")
    assert named(answers, "Namespace shop").state == SKIPPED
    assert named(answers, "Pod Security").state == SKIPPED
    assert not answers.is_hopeless


def test_namespace_of_the_tracer_is_looked_at_too(api: FakeApi) -> None:
    answers = ask(api, "web-0", tracer_namespace="tools")
    assert named(answers, "Namespace shop").state == OK
    assert named(answers, "Namespace tools").state == FAILED


@pytest.mark.parametrize("verb, resource", [("create", "pods"), ("get", "pods/log")])
def test_missing_right_to_the_tracer_prints_the_role(
    api: FakeApi, verb: str, resource: str
) -> None:
    api.deny(verb, resource)
    api.deny("create", "jobs")
    check = named(ask(api, "web-0"), "Rights: tracer")
    assert (check.state, check.found) == (
        FAILED,
        f"you may not {verb} {resource} in namespace shop",
    )
    lines = str(check.fix).splitlines()
    assert "    kind: Role" in lines
    assert any('kind: User, name: "jane"' in line for line in lines)


def test_right_to_jobs_makes_up_for_the_right_to_pods(api: FakeApi) -> None:
    api.deny("create", "pods")
    answers = ask(api, "web-0")
    assert named(answers, "Rights: tracer").state == OK
    assert named(answers, "Admission of the pod").state == SKIPPED
    assert named(answers, "Admission of the Job").state == OK
    assert not answers.is_hopeless


@pytest.mark.parametrize(
    "verb, resource, name",
    [
        ("create", "jobs", "Rights: Jobs"),
        ("list", "events", "Rights: events"),
        ("get", "nodes", "Rights: nodes"),
        ("list", "services", "Rights: names"),
    ],
)
def test_missing_convenience_is_a_warning_that_says_what_is_lost(
    api: FakeApi, verb: str, resource: str, name: str
) -> None:
    api.deny(verb, resource)
    answers = ask(api, "web-0")
    check = named(answers, name)
    assert check.state == WARNING
    assert f"you may not {verb} {resource}" in check.found and ": " in check.found
    assert not answers.is_hopeless


def test_right_to_list_pods_is_needed_only_where_pods_are_not_named(api: FakeApi) -> None:
    api.deny("list", "pods")
    assert named(ask(api, "web-0"), "Rights: traced pods").state == OK
    by_selector = ask(api, selector="app=web")
    check = named(by_selector, "Rights: traced pods")
    assert (check.state, check.found) == (FAILED, "you may not list pods in namespace shop")
    assert "    kind: Role" in str(check.fix).splitlines()


def test_one_role_is_printed_for_all_that_is_missing(api: FakeApi) -> None:
    api.deny("*", "*")
    answers = ask(api, "deployment/web")
    fixes = [check.fix for check in answers.checks if check.fix and "kind: Role\n" in check.fix]
    assert len(fixes) == 1
    assert named(answers, "deployment/web").fix == "see Rights: traced pods"


def test_rights_that_cannot_be_asked_for_fail(api: FakeApi) -> None:
    api.fail("POST", ".*/selfsubjectaccessreviews", ClusterError("the connection broke"))
    assert named(ask(api, "web-0"), "Rights").found == "the connection broke"


def test_pod_that_is_not_there_hides_no_other(api: FakeApi) -> None:
    answers = ask(api, "nope", "web-0")
    assert named(answers, "Pod nope").state == FAILED
    assert named(answers, "Pod web-0").found == "Running on node-1; container app"
    assert named(answers, "Node node-1").state == OK


def test_pods_of_several_names_have_numbers_of_their_own(api: FakeApi) -> None:
    api.add(pod("web-1", namespace="shop"))
    answers = ask(api, "web-0", "web-1")
    assert [(each.number, each.name) for each in answers.targets] == [(1, "web-0"), (2, "web-1")]


def test_pod_that_does_not_run_fails_with_its_state(api: FakeApi) -> None:
    api.add(pod("done", namespace="shop", phase="Succeeded"))
    check = named(ask(api, "done"), "Pod done")
    assert check.state == FAILED
    assert "has ended" in check.found


def test_pod_named_twice_is_one_target(api: FakeApi) -> None:
    answers = ask(api, "web-0", "pod/web-0")
    assert [(target.number, target.name) for target in answers.targets] == [(1, "web-0")]


def test_many_pods_of_a_workload_are_summed_up(api: FakeApi) -> None:
    api.add(workload("Service", "all", namespace="shop", selector={"app": "many"}))
    for number in range(12):
        api.add(pod(f"many-{number:02}", namespace="shop", labels={"app": "many"}))
    answers = ask(api, "service/all")
    assert named(answers, "Other pods").found == "2 more, all running"
    assert len(answers.targets) == 12


def test_runtime_class_is_told(api: FakeApi) -> None:
    made = pod("fast", namespace="shop")
    made["spec"]["runtimeClassName"] = "crun"
    api.add(made)
    api.add({"kind": "RuntimeClass", "metadata": {"name": "crun"}, "handler": "crun"})
    assert named(ask(api, "fast"), "Pod fast").found.endswith("; runtime class crun")


@pytest.mark.parametrize(
    "kernel, state",
    [
        ("5.4.0-150-generic", FAILED),
        ("5.8.0", OK),
        ("5.14.0-427.el9.x86_64", OK),
        ("6.1.0", OK),
        ("", OK),
    ],
)
def test_kernel_of_the_node_decides(api: FakeApi, kernel: str, state: str) -> None:
    api.add(worker(kernel=kernel))
    check = named(ask(api, "web-0"), "Node node-1")
    assert check.state == state
    assert kernel in check.found


def test_node_that_is_not_ready_fails(api: FakeApi) -> None:
    api.add(node("node-1", ready=False))
    checks = [check for check in ask(api, "web-0").checks if check.state == FAILED]
    assert any("node node-1 is not ready" in check.found for check in checks)


def test_node_without_an_image_for_its_processor_is_a_warning(api: FakeApi) -> None:
    api.add(worker(architecture="s390x"))
    check = named(ask(api, "web-0"), "Node node-1")
    assert check.state == WARNING
    assert "s390x" in check.found


def test_node_under_pressure_is_a_warning(api: FakeApi) -> None:
    api.add(worker(conditions=[{"type": "DiskPressure", "status": "True"}]))
    check = named(ask(api, "web-0"), "Node node-1")
    assert check.state == WARNING
    assert "DiskPressure" in check.found


def test_node_that_may_not_be_looked_at_is_skipped(api: FakeApi) -> None:
    api.deny("get", "nodes")
    assert named(ask(api, "web-0"), "Node node-1").state == SKIPPED


def test_without_pods_all_nodes_are_told_by_kind(api: FakeApi) -> None:
    api.add(worker("node-2"), worker("old", kernel="4.18.0-513.el8"))
    answers = ask(api)
    assert named(answers, "2 nodes").found.startswith("node-1, node-2: Ready, linux/amd64, kernel")
    assert named(answers, "Node old").state == WARNING
    assert answers.targets == () and not answers.is_hopeless


def test_cluster_of_old_kernels_alone_fails(api: FakeApi) -> None:
    api.add(worker(kernel="4.18.0"))
    assert named(ask(api), "Node node-1").state == FAILED


def test_nodes_that_may_not_be_listed_are_skipped(api: FakeApi) -> None:
    api.deny("list", "nodes")
    assert named(ask(api), "Nodes").state == SKIPPED


def test_missing_image_fails_and_admission_is_asked_all_the_same(api: FakeApi) -> None:
    with pytest.raises(LaunchError) as caught:
        tracer_image(None, {})
    answers = ask(api, "web-0", trouble=caught.value)
    check = named(answers, "Tracer image")
    assert check.state == FAILED
    assert "--tracer-image" in str(check.fix)
    assert named(answers, "Admission of the pod").state == OK


def test_image_that_a_node_has_is_told(api: FakeApi) -> None:
    api.add(worker(images=[{"names": [IMAGE]}]))
    assert named(ask(api, "web-0"), "Tracer image").found.endswith("; on node-1")


def test_image_that_no_node_lists_may_be_there_all_the_same(api: FakeApi) -> None:
    check = named(ask(api, "web-0"), "Tracer image")
    assert check.state == OK
    assert "; not among the images that the nodes list, which they do every few" in check.found


def test_image_that_may_not_be_pulled_and_is_not_there_is_a_warning(api: FakeApi) -> None:
    check = named(ask(api, "web-0", pull_policy="Never"), "Tracer image")
    assert check.state == WARNING
    assert "not reported by node-1" in check.found


def test_refusal_by_pod_security_gives_the_label_command_once(api: FakeApi) -> None:
    api.add(namespace(labels={"pod-security.kubernetes.io/enforce": "restricted"}))
    api.fail("POST", PODS, 403, RESTRICTED, reason="Forbidden")
    answers = ask(api, "web-0")
    command = "  kubectl label --overwrite ns shop pod-security.kubernetes.io/enforce=privileged"
    admission = named(answers, "Admission of the pod")
    assert admission.state == FAILED
    assert command in str(admission.fix).splitlines()
    labels = named(answers, "Pod Security")
    assert (labels.state, labels.fix) == (FAILED, "see Admission of the pod")
    assert "enforce=restricted" in labels.found


def test_labels_give_the_command_where_admission_cannot_be_asked(api: FakeApi) -> None:
    api.add(namespace(labels={"pod-security.kubernetes.io/enforce": "baseline"}))
    api.deny("create", "pods")
    check = named(ask(api, "web-0"), "Pod Security")
    assert check.state == FAILED
    assert "kubectl label --overwrite ns shop" in str(check.fix)


def test_exemption_from_pod_security_is_told(api: FakeApi) -> None:
    api.add(namespace(labels={"pod-security.kubernetes.io/enforce": "restricted"}))
    check = named(ask(api, "web-0"), "Pod Security")
    assert check.state == OK
    assert "exempt" in check.found


def test_refused_job_fails(api: FakeApi) -> None:
    text = 'admission webhook "no-jobs.test" denied the request: no Jobs here'
    api.fail("POST", JOBS, 403, text, reason="Forbidden")
    answers = ask(api, "web-0")
    assert named(answers, "Admission of the pod").state == OK
    check = named(answers, "Admission of the Job")
    assert check.state == FAILED
    assert "no-jobs.test" in check.found


def test_webhook_without_dry_run_is_a_warning(api: FakeApi) -> None:
    text = 'admission webhook "old.test" does not support dry run'
    api.fail("POST", PODS, 400, text, reason="BadRequest")
    answers = ask(api, "web-0")
    assert named(answers, "Admission of the pod").state == WARNING
    assert not answers.is_hopeless


def test_full_quota_fails(api: FakeApi) -> None:
    api.add(quota({"pods": "10", "limits.memory": "1Gi"}, {"pods": "3", "limits.memory": "900Mi"}))
    check = named(ask(api, "web-0"), "Quota")
    assert check.state == FAILED
    assert check.found == "team has room for 0 of 1 tracer pods (limits.memory: 900Mi of 1Gi used)"


def test_quota_must_have_room_for_the_tracers_of_all_nodes(api: FakeApi) -> None:
    api.add(worker("node-2"), pod("web-1", namespace="shop", node="node-2"))
    api.add(quota({"pods": "4"}, {"pods": "3"}))
    check = named(ask(api, "web-0", "web-1"), "Quota")
    assert (check.state, check.found[:37]) == (FAILED, "team has room for 1 of 2 tracer pods ")


def test_quota_with_room_is_fine(api: FakeApi) -> None:
    api.add(quota({"pods": "10", "requests.cpu": "100m"}, {"pods": "3", "requests.cpu": "45m"}))
    check = named(ask(api, "web-0"), "Quota")
    assert check == Check(
        "Quota", OK, "team has room for 5 tracer pods (requests.cpu: 45m of 100m used)"
    )


@pytest.mark.parametrize("scope", ["BestEffort", "NotTerminating"])
def test_quota_of_a_scope_without_the_tracer_does_not_count(api: FakeApi, scope: str) -> None:
    api.add(quota({"pods": "0"}, {"pods": "0"}, scopes=[scope]))
    assert named(ask(api, "web-0"), "Quota").state == OK


@pytest.mark.parametrize("kind", ["Container", "Pod"])
def test_limit_range_below_the_tracer_fails(api: FakeApi, kind: str) -> None:
    api.add(limit_range(type=kind, max={"memory": "128Mi"}))
    check = named(ask(api, "web-0"), "LimitRange")
    assert check.state == FAILED
    assert check.found == f"bounds: memory of a {kind} is bounded by max 128Mi"


def test_limit_range_with_room_is_fine(api: FakeApi) -> None:
    api.add(limit_range(type="Container", max={"memory": "1Gi"}, min={"cpu": "5m"}))
    assert named(ask(api, "web-0"), "LimitRange").state == OK


@pytest.mark.parametrize(
    "resource, name", [("resourcequotas", "Quota"), ("limitranges", "LimitRange")]
)
def test_rooms_that_may_not_be_looked_at_are_skipped(
    api: FakeApi, resource: str, name: str
) -> None:
    api.deny("list", resource)
    answers = ask(api, "web-0")
    assert named(answers, name).state == SKIPPED
    assert not answers.is_hopeless
