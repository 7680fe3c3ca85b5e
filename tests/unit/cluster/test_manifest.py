from __future__ import annotations

import json
from typing import Any

import pytest

from launching import RUN, plan, settings, target
from podtrace.cluster.manifest import OWN_LABELS, plan_tracers, tracer_job, tracer_pod
from podtrace.cluster.patch import Patch
from podtrace.errors import UsageError


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def environment(pod: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each for each in container(pod)["env"]}


def test_the_pod_sees_the_node_and_nothing_of_the_cluster() -> None:
    spec = tracer_pod(plan(), settings())["spec"]
    assert spec["hostPID"] is True
    assert "hostNetwork" not in spec
    assert "serviceAccountName" not in spec
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert [volume["hostPath"] for volume in spec["volumes"] if "hostPath" in volume] == [
        {"path": "/sys/kernel/btf"}
    ]
    assert all(
        mount["readOnly"]
        for mount in spec["containers"][0]["volumeMounts"]
        if mount["name"] != "tmp"
    )


def test_the_pod_goes_to_the_node_whatever_its_taints_and_is_not_started_again() -> None:
    spec = tracer_pod(plan(), settings())["spec"]
    assert spec["nodeName"] == "node-a"
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["restartPolicy"] == "Never"
    assert spec["terminationGracePeriodSeconds"] > 0


def test_the_tracer_is_told_its_targets_and_limits() -> None:
    arguments = container(tracer_pod(plan(), settings(window_seconds=20.0, slow_file_ns=5)))["args"]
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert json.loads(given.pop("--pods")) == [
        {
            "id": 1,
            "namespace": "shop",
            "pod": "web-0",
            "uid": "cgroup-1",
            "containers": {"1" * 64: "web"},
            "only": ["web"],
        }
    ]
    assert given == {
        "--for": "20",
        "--limit": "140",
        "--until-unheard": "30",
        "--slow-file": "5",
    }


@pytest.mark.parametrize(
    ("window", "limit"), [(None, 3600), (20.0, 140), (0.5, 121), (8 * 3600.0, 8 * 3600 + 120)]
)
def test_every_tracer_has_a_limit_and_the_cluster_a_later_one(
    window: float | None, limit: int
) -> None:
    made = settings(window_seconds=window)
    assert made.limit_seconds == limit
    job = tracer_job(plan(), made)
    assert job["spec"]["activeDeadlineSeconds"] == limit + 300
    assert job["spec"]["template"]["spec"]["activeDeadlineSeconds"] == limit + 300


def test_only_a_bare_pod_is_told_that_its_first_signal_is_a_mark() -> None:
    assert environment(tracer_pod(plan(), settings()))["PODTRACE_BARE"]["value"] == "1"
    template = tracer_job(plan(), settings())["spec"]["template"]
    assert "PODTRACE_BARE" not in environment(template)
    # Nobody marks a pod that is to be kept.
    assert "PODTRACE_BARE" not in environment(tracer_pod(plan(), settings(keep=True)))


def test_a_job_makes_one_pod_once_and_goes_by_itself() -> None:
    job = tracer_job(plan(), settings())
    spec = job["spec"]
    assert (spec["backoffLimit"], spec["completions"], spec["parallelism"]) == (0, 1, 1)
    assert spec["ttlSecondsAfterFinished"] == 10
    assert "ttlSecondsAfterFinished" not in tracer_job(plan(), settings(keep=True))["spec"]
    assert job["metadata"]["labels"] == spec["template"]["metadata"]["labels"]
    assert "name" not in spec["template"]["metadata"]


def test_privileged_is_the_default_and_capabilities_are_few() -> None:
    assert container(tracer_pod(plan(), settings()))["securityContext"]["privileged"] is True
    pod = tracer_pod(plan(), settings(profile="capabilities"))
    context = container(pod)["securityContext"]
    assert context["privileged"] is False
    assert context["capabilities"]["drop"] == ["ALL"]
    few = ["BPF", "NET_ADMIN", "PERFMON", "SYS_PTRACE"]
    assert context["capabilities"]["add"] == [*few, "SYS_RESOURCE"]
    newer = tracer_pod(plan(), settings(profile="capabilities"), memlock=False)
    assert container(newer)["securityContext"]["capabilities"]["add"] == few
    assert context["seccompProfile"] == context["appArmorProfile"] == {"type": "Unconfined"}
    assert context["seLinuxOptions"] == {"type": "spc_t"}
    key = "container.apparmor.security.beta.kubernetes.io/tracer"
    assert pod["metadata"]["annotations"][key] == "unconfined"


def test_metrics_have_a_port_that_prometheus_finds() -> None:
    job = tracer_job(plan(), settings(metrics_processes=7))
    pod = job["spec"]["template"]
    assert container(pod)["args"][-4:] == ["--metrics", "[::]:3000", "--metrics-processes", "7"]
    assert container(pod)["ports"] == [
        {"name": "metrics", "containerPort": 3000, "protocol": "TCP"}
    ]
    annotations = pod["metadata"]["annotations"]
    found = {key: text for key, text in annotations.items() if key.startswith("prometheus.io/")}
    assert found == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "3000",
        "prometheus.io/path": "/metrics",
    }


def test_without_metrics_there_is_no_port() -> None:
    pod = tracer_pod(plan(), settings())
    assert "ports" not in container(pod)
    assert "--metrics" not in container(pod)["args"]
    assert not any("prometheus" in key for key in pod["metadata"]["annotations"])


def test_the_image_is_pulled_as_asked() -> None:
    pod = tracer_pod(plan(), settings(pull_policy="Never", pull_secrets=("one", "two")))
    assert container(pod)["imagePullPolicy"] == "Never"
    assert pod["spec"]["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]


def test_there_is_one_tracer_for_each_node() -> None:
    pods = [target(1, "node-a"), target(2, "node-b", "web-1"), target(3, "node-a", "web-2")]
    plans = plan_tracers(RUN, pods)
    assert [(each.number, each.node) for each in plans] == [(1, "node-a"), (2, "node-b")]
    assert [pod.number for pod in plans[0].targets] == [1, 3]
    assert [each.name for each in plans] == [f"podtrace-{RUN}-1", f"podtrace-{RUN}-2"]
    assert plans[0].selector != plans[1].selector


def test_a_patch_changes_the_pod_and_the_template_of_its_job() -> None:
    changed = settings(patch=Patch({"spec": {"priorityClassName": "high"}}))
    assert tracer_pod(plan(), changed)["spec"]["priorityClassName"] == "high"
    template = tracer_job(plan(), changed)["spec"]["template"]
    assert template["spec"]["priorityClassName"] == "high"


def test_a_patch_cannot_take_away_what_finds_the_pod_again() -> None:
    patch = Patch(
        {
            "metadata": {
                "name": "other",
                "namespace": "kube-system",
                "labels": {"team": "x", "podtrace.io/run": "y", "app.kubernetes.io/name": None},
            }
        }
    )
    metadata = tracer_pod(plan(), settings(patch=patch))["metadata"]
    assert (metadata["name"], metadata["namespace"]) == (f"podtrace-{RUN}-1", "shop")
    labels = metadata["labels"]
    assert labels["team"] == "x"
    assert labels["podtrace.io/run"] == RUN
    assert OWN_LABELS.items() <= labels.items()
    removed = Patch([{"op": "remove", "path": "/metadata/labels"}])
    labels = tracer_job(plan(), settings(patch=removed))["spec"]["template"]["metadata"]["labels"]
    assert OWN_LABELS.items() <= labels.items()


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": None},
        {"metadata": None},
        {"kind": "Job"},
        {"spec": {"containers": [{"name": "other"}]}},
        {"spec": {"containers": None}},
        {"spec": {"restartPolicy": "Always"}},
        {"metadata": {"labels": "x"}},
    ],
)
def test_a_patch_that_breaks_the_tracer_is_refused(patch: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--patch"):
        tracer_job(plan(), settings(patch=Patch(patch)))


def test_a_very_long_list_of_targets_does_not_make_the_annotations_too_large() -> None:
    pods = [target(number, name="w" * 200 + str(number)) for number in range(200)]
    pod = tracer_pod(plan(*pods), settings())
    assert len(pod["metadata"]["annotations"]["podtrace.io/targets"]) < 5000
