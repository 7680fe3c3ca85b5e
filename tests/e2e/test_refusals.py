"""What a real cluster says when it does not let a tracer start, and what we make of it.

Each refusal comes within seconds, names what is in the way and the next step, and leaves nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from e2e.conftest import Images
from e2e.kubectl import Kubectl, Result, pod
from e2e.leavings import wait_for_none
from e2e.machine.cluster import Cluster
from kernel.neighbours import Neighbours

SLEEP = ["-c", "import time; time.sleep(3600)"]
REFUSED_SECONDS = 60.0
COLLECTED_SECONDS = 120.0
"""The cluster's collector of pods looks every 20 s, and waits for 40 s whether a node appears."""


def modest_pod(image: str) -> dict[str, Any]:
    """Return a pod that every Pod Security level and every LimitRange here admits."""
    made = pod("web-0", image, SLEEP)
    made["spec"]["securityContext"] = {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    amounts = {"cpu": "100m", "memory": "64Mi"}
    made["spec"]["containers"][0] |= {
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": amounts, "limits": amounts},
    }
    return made


@pytest.fixture
def shop(namespace: Kubectl, images: Images) -> Kubectl:
    """Return kubectl for a namespace with a pod web-0."""
    namespace.apply(modest_pod(images.workload))
    namespace.wait_for_pods("web-0")
    return namespace


def refused(kubectl: Kubectl, *arguments: str) -> Result:
    """Run a trace that cannot be, and see that it leaves nothing."""
    neighbours = Neighbours()
    done = kubectl.podtrace("web-0", "--diagnose", "2s", *arguments, check=False)
    assert done.code == 1, done
    assert done.seconds < neighbours.limit(REFUSED_SECONDS)
    assert done.stdout == ""
    assert "error: " in done.stderr
    assert "Traceback (most recent" not in done.stderr
    wait_for_none(kubectl)
    return done


def patched(*operations: dict[str, Any]) -> tuple[str, str]:
    return ("--patch", json.dumps(operations))


def limit(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def stranded(module_namespace: Kubectl, images: Images, machine: Cluster) -> tuple[Kubectl, Result]:
    """Return what a trace said whose tracer's node is not there, and where that was."""
    module_namespace.apply(modest_pod(images.workload))
    module_namespace.wait_for_pods("web-0")
    away = {"op": "replace", "path": "/spec/nodeName", "value": "node-zz"}
    arguments = ("web-0", "--diagnose", "2s", *patched(away))
    return module_namespace, module_namespace.podtrace(*arguments, check=False)


def test_a_node_that_went_away_is_named(stranded: tuple[Kubectl, Result]) -> None:
    _, done = stranded
    assert done.code == 1
    assert "node" in done.stderr


@pytest.mark.parametrize("profile", ["privileged", "capabilities"])
def test_pod_security_prints_the_label_and_another_namespace_is_the_way_round(
    make_namespace: Callable[..., Kubectl], images: Images, profile: str
) -> None:
    strict = make_namespace(**{"pod-security.kubernetes.io/enforce": "restricted"})
    strict.apply(modest_pod(images.workload))
    strict.wait_for_pods("web-0")
    said = refused(strict, "--profile", profile).stderr
    label = re.search(r"kubectl (label --overwrite ns .*)", said)
    assert label is not None, said
    assert "--tracer-namespace" in said
    elsewhere = make_namespace()
    arguments = ("web-0", "--diagnose", "1s", "--profile", profile, "-o", "json")
    done = strict.podtrace(*arguments, "--tracer-namespace", elsewhere.namespace)
    assert json.loads(done.stdout)["target"]
    wait_for_none(elsewhere)
    # The command that is printed does what it is printed for.
    strict.within("").run(*label.group(1).split())
    strict.podtrace(*arguments)
    wait_for_none(strict)


def test_a_quota_says_which_resource_is_short(shop: Kubectl) -> None:
    shop.apply(limit("ResourceQuota", "team", hard={"limits.memory": "100Mi"}))
    said = refused(shop).stderr
    assert "quota team" in said
    assert "limits.memory=256Mi" in said


def test_a_quota_that_wants_more_said_is_satisfied_by_the_patch_that_is_printed(
    shop: Kubectl,
) -> None:
    shop.apply(limit("ResourceQuota", "team", hard={"limits.cpu": "4"}))
    said = refused(shop).stderr
    patch = re.search(r"--patch '(\[.*?\])'", said, re.DOTALL)
    assert patch is not None, said
    shop.podtrace("web-0", "--diagnose", "1s", "--patch", " ".join(patch.group(1).split()))


def test_a_limit_range_says_what_is_too_much(shop: Kubectl) -> None:
    limits = [{"type": "Container", "max": {"memory": "128Mi"}}]
    shop.apply(limit("LimitRange", "bounds", limits=limits))
    assert "128Mi" in refused(shop).stderr


def test_a_policy_of_the_cluster_is_named(shop: Kubectl) -> None:
    name = f"no-host-pid-{shop.namespace}"
    group = "admissionregistration.k8s.io/v1"
    match = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": shop.namespace}},
        "resourceRules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
            }
        ],
    }
    policy = {
        "matchConstraints": match,
        "validations": [
            {
                "expression": "!has(object.spec.hostPID) || !object.spec.hostPID",
                "message": "hostPID is for the platform team",
            }
        ],
    }
    kind = "ValidatingAdmissionPolicy"
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": match}
    everywhere = shop.within("")
    everywhere.apply(
        {"apiVersion": group, "kind": kind, "metadata": {"name": name}, "spec": policy},
        {
            "apiVersion": group,
            "kind": f"{kind}Binding",
            "metadata": {"name": name},
            "spec": binding,
        },
    )
    try:
        # Policies take a moment to be known to the API server.
        for _ in range(20):
            done = shop.podtrace("web-0", "--dry-run=server", check=False)
            if done.code:
                break
        said = refused(shop).stderr
        assert name in said
        assert "hostPID is for the platform team" in said
    finally:
        everywhere.run("delete", f"{kind}Binding,{kind}".lower(), name)


def test_a_namespace_that_is_not_there(shop: Kubectl) -> None:
    said = refused(shop, "--tracer-namespace", "e2e-nowhere").stderr
    assert "kubectl create namespace e2e-nowhere" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--tracer-image", "registry.invalid/none:1"), "cannot pull the image"),
        (
            ("--tracer-image", "registry.invalid/none:1", "--image-pull-policy", "Never"),
            "may not pull it",
        ),
        (("--tracer-image", "BAD//name"), "no name that an image can have"),
        (
            patched({"op": "add", "path": "/spec/containers/0/command", "value": ["/none"]}),
            "StartError",
        ),
        (
            patched(
                {
                    "op": "add",
                    "path": "/spec/containers/0/envFrom",
                    "value": [{"secretRef": {"name": "none"}}],
                }
            ),
            'secret "none" not found',
        ),
        (
            patched({"op": "replace", "path": "/spec/volumes/0/hostPath/path", "value": "/sys/no"}),
            "/sys/no",
        ),
        (
            patched(
                {
                    "op": "add",
                    "path": "/spec/containers/0/resources/requests/cpu",
                    "value": "5000",
                }
            ),
            "no room for the tracer pod",
        ),
        (
            patched(
                {"op": "remove", "path": "/spec/nodeName"},
                {"op": "add", "path": "/spec/nodeSelector", "value": {"no": "such"}},
            ),
            "is not scheduled",
        ),
        (
            patched(
                {"op": "add", "path": "/spec/containers/0/resources/limits/memory", "value": "8Mi"},
                {
                    "op": "add",
                    "path": "/spec/containers/0/resources/requests/memory",
                    "value": "8Mi",
                },
            ),
            "the tracer",
        ),
    ],
    ids=[
        "pull",
        "never-pull",
        "image-name",
        "command",
        "secret",
        "host-path",
        "room",
        "unschedulable",
        "memory",
    ],
)
def test_what_keeps_the_tracer_from_starting_is_named(
    shop: Kubectl, arguments: tuple[str, ...], words: str
) -> None:
    assert words in refused(shop, *arguments).stderr


def test_a_volume_that_cannot_be_mounted_is_named_by_its_event(shop: Kubectl) -> None:
    volume = {"name": "extra", "secret": {"secretName": "none"}}
    mount = {"name": "extra", "mountPath": "/extra"}
    said = refused(
        shop,
        *patched(
            {"op": "add", "path": "/spec/volumes/-", "value": volume},
            {"op": "add", "path": "/spec/containers/0/volumeMounts/-", "value": mount},
        ),
    ).stderr
    assert "FailedMount" in said
    assert 'secret "none" not found' in said


def test_a_dry_run_prints_what_the_server_accepts_and_creates_nothing(shop: Kubectl) -> None:
    made = shop.podtrace("web-0", "--dry-run=client", "-o", "yaml").stdout
    shop.run("create", "--dry-run=server", "--filename=-", stdin=made)
    answer = json.loads(shop.podtrace("web-0", "--dry-run=server", "-o", "json").stdout)
    assert answer["kind"] == "Job"
    assert answer["metadata"]["uid"]
    assert answer["spec"]["template"]["spec"]["hostPID"] is True
    wait_for_none(shop, 0)


def test_what_no_kubelet_confirms_is_removed_by_the_clusters_collector_of_pods(
    stranded: tuple[Kubectl, Result],
) -> None:
    # It comes last, as that takes a while.
    kubectl, _ = stranded
    wait_for_none(kubectl, COLLECTED_SECONDS)
