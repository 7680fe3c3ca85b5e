from __future__ import annotations

from typing import Any

import pytest

from fake_cluster import FakeApi, node
from launching import JOBS, PODS, RUN, plan, running, settings, with_pods
from podtrace.cluster import tracer_pod
from podtrace.cluster.tracer_pod import TracerPod
from podtrace.errors import ApiError, ClusterError, LaunchError, PodtraceError

NAME = f"podtrace-{RUN}-1"


@pytest.fixture
def api() -> FakeApi:
    return with_pods(FakeApi())


def made(api: FakeApi, **changes: Any) -> TracerPod:
    pod = TracerPod(api, plan(), settings(**changes))
    pod.create()
    return pod


def created(api: FakeApi) -> list[str]:
    return [call.path for call in api.asked("POST") if not call.query.get("dryRun")]


def deletions(api: FakeApi) -> list[tuple[str, int]]:
    return [(call.path, call.body["gracePeriodSeconds"]) for call in api.asked("DELETE")]


def test_a_job_is_made_where_the_user_may(api: FakeApi) -> None:
    pod = made(api)
    assert created(api) == [JOBS]
    assert pod.has_job
    found = pod.find()
    assert found is not None
    assert pod.where == f"shop/{NAME}-x"


def test_the_pod_itself_is_asked_about_before_anything_is_made(api: FakeApi) -> None:
    made(api)
    asked = [call.path for call in api.asked("POST") if call.query.get("dryRun") == "All"]
    assert asked == [PODS]
    assert api.asked("POST")[0].path == PODS


def test_a_refused_pod_makes_nothing(api: FakeApi) -> None:
    api.fail("POST", PODS, 403, 'pods "x" is forbidden: violates PodSecurity "baseline:latest": x')
    with pytest.raises(LaunchError, match="Pod Security level baseline"):
        made(api)
    assert created(api) == []


@pytest.mark.parametrize("right", [("create", "jobs"), ("list", "pods")])
def test_a_bare_pod_is_made_where_no_job_can_be(api: FakeApi, right: tuple[str, str]) -> None:
    api.deny(*right)
    pod = made(api)
    assert created(api)[-1] == PODS
    assert not pod.has_job
    assert pod.pod_name == NAME
    found = pod.find()
    assert found is not None
    assert found["metadata"]["name"] == NAME


def test_who_may_create_jobs_only_is_not_stopped_by_the_question(api: FakeApi) -> None:
    api.deny("create", "pods")
    assert made(api).has_job


def test_who_may_create_nothing_is_told_the_rights(api: FakeApi) -> None:
    api.deny("create", "pods")
    api.deny("create", "jobs")
    with pytest.raises(ClusterError, match="create pods in namespace shop"):
        made(api)
    assert not TracerPod(api, plan(), settings()).is_created


def test_a_new_namespace_gets_time_to_make_its_service_account(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracer_pod, "_RETRY_SECONDS", 0.0)
    early = 'pods "x" is forbidden: error looking up service account: serviceaccount "d" not found'
    api.fail("POST", PODS, 403, early, times=3)
    assert made(api).has_job
    monkeypatch.setattr(tracer_pod, "_ACCOUNT_SECONDS", 0.0)
    api.fail("POST", PODS, 403, early)
    with pytest.raises(LaunchError, match="service account d"):
        made(api)


def test_nothing_is_ever_deleted_without_a_grace_period(api: FakeApi) -> None:
    made(api).remove()
    api.deny("create", "jobs")
    made(api).remove()
    assert [path for path, _ in deletions(api)] == [f"{JOBS}/{NAME}", f"{PODS}/{NAME}"]
    assert all(grace > 0 for _, grace in deletions(api))
    assert api.asked("DELETE")[0].body["propagationPolicy"] == "Background"


def test_a_request_whose_answer_was_lost_may_have_done_its_work(api: FakeApi) -> None:
    api.fail("POST", JOBS, ClusterError("cut"))
    pod = TracerPod(api, plan(), settings())
    with pytest.raises(ClusterError, match="cut"):
        pod.create()
    pod.remove()
    assert [path for path, _ in deletions(api)] == [f"{JOBS}/{NAME}"]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 504])
def test_an_answer_that_leaves_it_open_may_have_done_its_work(api: FakeApi, status: int) -> None:
    api.fail("POST", JOBS, status, "no answer from what lies behind")
    pod = TracerPod(api, plan(), settings())
    with pytest.raises(PodtraceError):
        pod.create()
    assert pod.kind_and_name == f"job/{NAME}"
    pod.remove()
    assert [path for path, _ in deletions(api)] == [f"{JOBS}/{NAME}"]


@pytest.mark.parametrize("status", [401, 429, 500, 503])
@pytest.mark.parametrize("path", [PODS, JOBS])
def test_trouble_of_the_server_or_the_login_is_no_refusal_of_the_pod(
    api: FakeApi, status: int, path: str
) -> None:
    api.fail("POST", path, status, "no")
    for ask in (TracerPod.create, TracerPod.rehearse):
        with pytest.raises(ApiError) as caught:
            ask(TracerPod(api, plan(), settings()))
        assert caught.value.hint
        assert "--tracer-namespace" not in caught.value.hint


def test_a_webhook_that_cannot_be_asked_beforehand_is_asked_by_the_creation(api: FakeApi) -> None:
    text = 'admission webhook "mutate.example.test" does not support dry run'
    api.fail("POST", PODS, 400, text, reason="BadRequest")
    assert made(api).has_job


def test_a_webhook_that_is_away_is_named(api: FakeApi) -> None:
    text = 'Internal error occurred: failed calling webhook "w.example.test": connection refused'
    api.fail("POST", PODS, 500, text, reason="InternalError")
    with pytest.raises(LaunchError, match=r"admission webhook w\.example\.test"):
        made(api)


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_a_definite_refusal_leaves_nothing_to_be_removed(api: FakeApi, status: int) -> None:
    api.fail("POST", JOBS, status, "no")
    pod = TracerPod(api, plan(), settings())
    with pytest.raises(PodtraceError):
        pod.create()
    pod.remove()
    assert deletions(api) == []


def test_what_a_request_made_that_was_sent_again_is_taken_for_its_own(api: FakeApi) -> None:
    api.fail("POST", JOBS, 409, "already exists", reason="AlreadyExists")
    pod = made(api)
    assert pod.has_job
    pod.remove()
    assert [path for path, _ in deletions(api)] == [f"{JOBS}/{NAME}"]


def test_what_was_not_created_is_not_removed(api: FakeApi) -> None:
    TracerPod(api, plan(), settings()).remove()
    assert deletions(api) == []


def test_a_bare_pod_is_marked_to_go_with_its_tracer(api: FakeApi) -> None:
    api.deny("create", "jobs")
    pod = made(api, window_seconds=20.0)
    pod.mark()
    pod.mark()
    assert deletions(api) == [(f"{PODS}/{NAME}", 140 + 60)]
    # It hears of no other deletion now: there is nothing to be asked for.
    pod.remove()
    assert len(deletions(api)) == 1


def test_neither_a_job_nor_a_kept_pod_is_marked(api: FakeApi) -> None:
    made(api).mark()
    api.deny("create", "jobs")
    made(api, keep=True).mark()
    assert deletions(api) == []


def test_a_marked_pod_that_somebody_else_removes_is_noticed(api: FakeApi) -> None:
    api.deny("create", "jobs")
    pod = made(api)
    assert not pod.is_doomed()
    pod.mark()
    stored = {
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": "shop", "deletionGracePeriodSeconds": 3660},
        "spec": {},
        "status": running(),
    }
    api.add(stored)
    assert not pod.is_doomed()
    api.add({**stored, "metadata": {**stored["metadata"], "deletionGracePeriodSeconds": 5}})
    assert pod.is_doomed()
    api.add(stored)
    api.fail("POST", PODS, 403, "namespace shop because it is being terminated", times=1)
    assert pod.is_doomed()
    api.remove(f"{PODS}/{NAME}")
    assert pod.is_doomed()


def test_removal_of_what_is_gone_is_no_error(api: FakeApi) -> None:
    pod = made(api)
    pod.remove()
    pod.remove()
    api.fail("DELETE", ".*", 500, "no")
    with pytest.raises(ApiError):
        pod.remove()


def test_a_rehearsal_creates_nothing_and_gives_the_servers_answer(api: FakeApi) -> None:
    answer = TracerPod(api, plan(), settings()).rehearse()
    assert answer["kind"] == "Job"
    api.deny("create", "jobs")
    assert TracerPod(api, plan(), settings()).rehearse()["kind"] == "Pod"
    assert created(api) == []


def test_events_are_none_where_the_user_may_not_list_them(api: FakeApi) -> None:
    api.deny("list", "events")
    assert made(api).events("Job", NAME) == []


def test_trouble_of_the_node(api: FakeApi) -> None:
    pod = made(api)
    trouble = pod.node_trouble()
    assert trouble is not None
    assert "node-a" in trouble.message
    api.add(node("node-a"))
    assert pod.node_trouble() is None
    api.add(node("node-a", ready=False))
    assert pod.node_trouble() is not None
    api.fail("GET", "/api/v1/nodes/node-a", ClusterError("away"))
    assert pod.node_trouble() is None


def test_a_job_that_ran_into_its_deadline_says_so(api: FakeApi) -> None:
    pod = made(api)
    assert pod.job_failure() is None
    condition = {"type": "Failed", "reason": "DeadlineExceeded", "message": "too long"}
    job = api.get(f"{JOBS}/{NAME}")
    api.add({**job, "status": {"conditions": [condition]}})
    ending = pod.job_failure()
    assert ending is not None
    assert ending.reason == "DeadlineExceeded"


@pytest.mark.parametrize(
    ("kernel", "lifted"), [("5.10.0-28-amd64", True), ("5.11", False), ("6.1.0", False), ("", True)]
)
def test_a_limit_of_locked_memory_is_lifted_where_the_kernel_has_one(
    api: FakeApi, kernel: str, lifted: bool
) -> None:
    found = node("node-a")
    found["status"]["nodeInfo"]["kernelVersion"] = kernel
    api.add(found)
    job = TracerPod(api, plan(), settings(profile="capabilities")).job()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    added = container["securityContext"]["capabilities"]["add"]
    assert ("SYS_RESOURCE" in added) == lifted


def test_a_node_that_may_not_be_read_may_have_the_limit(api: FakeApi) -> None:
    api.deny("get", "nodes")
    job = TracerPod(api, plan(), settings(profile="capabilities")).job()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert "SYS_RESOURCE" in container["securityContext"]["capabilities"]["add"]
