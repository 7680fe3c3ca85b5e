from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from fake_cluster import FakeApi, Object
from podtrace.cluster.cleanup import clean_up
from podtrace.cluster.manifest import OWN_LABELS
from podtrace.errors import ClusterError


def ago(seconds: float) -> str:
    moment = datetime.now(UTC) - timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def tracer(
    kind: str,
    name: str,
    *,
    namespace: str = "shop",
    age: float = 60,
    status: Object | None = None,
    owner: str | None = None,
    deleted: bool = False,
) -> Object:
    metadata: Object = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-of-{name}",
        "labels": dict(OWN_LABELS),
        "annotations": {"podtrace.io/targets": "shop/web-0"},
        "creationTimestamp": ago(age),
    }
    if owner is not None:
        metadata["ownerReferences"] = [{"kind": "Job", "name": owner, "uid": f"uid-of-{owner}"}]
    if deleted:
        metadata["deletionTimestamp"] = ago(0)
    return {
        "kind": kind,
        "metadata": metadata,
        "spec": {"activeDeadlineSeconds": 440},
        "status": status or {},
    }


COMPLETE = {"conditions": [{"type": "Complete", "status": "True"}]}


def deleted(api: FakeApi) -> list[str]:
    return [call.path.rpartition("/")[2] for call in api.asked("DELETE")]


def test_nothing_left_is_nothing_said() -> None:
    assert clean_up(FakeApi(), "shop").lines == []


def test_what_is_finished_or_overdue_goes_and_what_runs_stays() -> None:
    api = FakeApi()
    api.add(
        tracer("Job", "a-done", status=COMPLETE),
        tracer("Job", "b-old", age=440 + 3700),
        tracer("Job", "c-runs"),
        tracer("Pod", "d-done", status={"phase": "Succeeded"}),
        tracer("Pod", "e-runs", status={"phase": "Running"}),
    )
    said = clean_up(api, "shop").lines
    assert deleted(api) == ["a-done", "b-old", "d-done"]
    assert [text.split()[0] for text in said] == ["removed", "removed", "left", "removed", "left"]
    assert "--force" in said[2]
    assert "shop/web-0" in said[2]


def test_force_removes_what_runs_but_never_without_grace() -> None:
    api = FakeApi()
    api.add(tracer("Job", "runs"))
    (said,) = clean_up(api, "shop", force=True).lines
    assert said.startswith("removed job shop/runs")
    body = api.asked("DELETE")[0].body
    assert body["gracePeriodSeconds"] > 0
    assert body["propagationPolicy"] == "Background"


def test_a_pod_goes_with_its_job() -> None:
    api = FakeApi()
    api.add(
        tracer("Job", "job", status=COMPLETE),
        tracer("Pod", "job-x", owner="job", status={"phase": "Succeeded"}),
    )
    assert len(clean_up(api, "shop").lines) == 1
    assert deleted(api) == ["job"]


def test_only_our_own_are_touched() -> None:
    api = FakeApi()
    other = tracer("Pod", "other", status={"phase": "Succeeded"})
    other["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm"
    api.add(other)
    api.add(tracer("Pod", "elsewhere", namespace="blog", status={"phase": "Succeeded"}))
    assert clean_up(api, "shop", force=True).lines == []
    assert deleted(api) == []


def test_everywhere_is_all_namespaces() -> None:
    api = FakeApi()
    api.add(tracer("Pod", "one", status={"phase": "Failed"}))
    api.add(tracer("Pod", "two", namespace="blog", status={"phase": "Failed"}))
    assert len(clean_up(api, None).lines) == 2


def test_what_was_deleted_already_is_left_to_go() -> None:
    api = FakeApi()
    api.add(tracer("Pod", "marked", status={"phase": "Running"}, deleted=True))
    (said,) = clean_up(api, "shop", force=True).lines
    assert said.startswith("left pod shop/marked")
    assert deleted(api) == []


def test_who_may_not_list_jobs_still_finds_pods() -> None:
    api = FakeApi()
    api.deny("list", "jobs")
    api.add(tracer("Pod", "done", status={"phase": "Succeeded"}))
    assert len(clean_up(api, "shop").lines) == 1


def test_who_may_list_nothing_is_told() -> None:
    api = FakeApi()
    api.deny("list", "*")
    with pytest.raises(ClusterError, match="cannot look for tracers") as caught:
        clean_up(api, None)
    assert "-n NAMESPACE" in (caught.value.hint or "")


def test_what_goes_meanwhile_is_no_error() -> None:
    api = FakeApi()
    api.add(tracer("Pod", "done", status={"phase": "Succeeded"}))
    api.fail("DELETE", ".*", 404, "not found")
    (said,) = clean_up(api, "shop").lines
    assert "was gone already" in said


def test_what_cannot_be_removed_is_told_and_the_rest_still_goes() -> None:
    api = FakeApi()
    api.add(
        tracer("Job", "a-done", status=COMPLETE),
        tracer("Job", "b-done", status=COMPLETE),
        tracer("Pod", "c-done", status={"phase": "Succeeded"}),
    )
    api.fail("DELETE", ".*/a-done", 403, "not yours")
    api.fail("DELETE", ".*/b-done", ClusterError("connection refused"))
    done = clean_up(api, "shop")
    assert deleted(api) == ["a-done", "b-done", "c-done"]
    assert "could not remove job shop/a-done" in done.lines[0]
    assert "not yours" in done.lines[0]
    assert "connection refused" in done.lines[1]
    assert done.lines[2].startswith("removed pod shop/c-done")
    with pytest.raises(ClusterError, match="2 of 3 could not be removed") as caught:
        done.check()
    assert caught.value.exit_code == 1


def test_a_clean_up_without_failures_is_no_error() -> None:
    api = FakeApi()
    api.add(tracer("Job", "done", status=COMPLETE), tracer("Job", "runs"))
    clean_up(api, "shop").check()


REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


@pytest.mark.parametrize(("age", "overdue"), [(430, False), (450, True)])
@pytest.mark.parametrize("ahead", [-7200, 0, 7200])
def test_what_is_overdue_is_judged_by_the_servers_clock(
    monkeypatch: pytest.MonkeyPatch, age: float, overdue: bool, ahead: float
) -> None:
    api = FakeApi()
    api.answers[REVIEWS]["metadata"] = {"creationTimestamp": ago(0)}
    api.add(tracer("Job", "some", age=age))
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + ahead)
    clean_up(api, "shop")
    assert deleted(api) == (["some"] if overdue else [])


def test_a_clock_that_nobody_compared_may_be_wrong() -> None:
    api = FakeApi()
    api.fail("POST", REVIEWS, 404, "the server could not find the requested resource")
    api.add(tracer("Job", "a-some", age=440 + 3500), tracer("Job", "b-some", age=440 + 3700))
    clean_up(api, "shop")
    assert deleted(api) == ["b-some"]
