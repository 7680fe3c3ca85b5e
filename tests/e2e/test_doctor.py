"""`doctor` on a real cluster: what it finds is what is there, and nothing is left."""

from __future__ import annotations

import json
import shlex
import signal
import time
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from e2e.conftest import Images
from e2e.kubectl import CHECKOUT, PATIENCE_SECONDS, Kubectl, pod
from e2e.leavings import leavings, wait_for_none

SCHEMA = json.loads((CHECKOUT / "docs/doctor.schema.json").read_text())
CLEAN_SECONDS = 30.0
SLEEP = ["-c", "import time; time.sleep(3600)"]
Tree = dict[str, Any]


def workload(kubectl: Kubectl, images: Images, name: str = "web-0") -> None:
    """Start a pod that every Pod Security level admits."""
    made = pod(name, images.workload, SLEEP)
    made["spec"]["securityContext"] = {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    made["spec"]["containers"][0]["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    kubectl.apply(made)
    kubectl.wait_for_pods(name)


def doctor(kubectl: Kubectl, *arguments: str) -> tuple[int, Tree]:
    """Return the exit code, and what was found by name of the check."""
    result = kubectl.podtrace("doctor", "--output=json", *arguments, check=False)
    tree = json.loads(result.stdout)
    jsonschema.validate(tree, SCHEMA)
    assert (result.code == 0) == tree["works"], tree
    return result.code, {**tree, "by_name": {check["name"]: check for check in tree["checks"]}}


def test_pod_that_can_be_traced(namespace: Kubectl, images: Images) -> None:
    workload(namespace, images)
    code, found = doctor(namespace, "web-0")
    assert code == 0, found["checks"]
    node = namespace.get("pod", "web-0")["spec"]["nodeName"]
    assert found["by_name"][f"Trace on {node}"]["state"] in ("ok", "warning")
    assert " probes attached" in found["by_name"][f"Trace on {node}"]["found"]
    assert {"dns", "tcp", "filesystem", "cpu"} <= set(found["sections"])
    wait_for_none(namespace, CLEAN_SECONDS)


def test_cluster_without_a_pod(namespace: Kubectl) -> None:
    result = namespace.podtrace("doctor")
    assert result.stdout.startswith("Nothing was found that would keep a trace from working.\n")
    assert "kernel" in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    wait_for_none(namespace, CLEAN_SECONDS)


def test_restricted_namespace_and_the_command_that_opens_it(
    make_namespace: Callable[..., Kubectl], images: Images
) -> None:
    namespace = make_namespace(**{"pod-security.kubernetes.io/enforce": "restricted"})
    workload(namespace, images)
    code, found = doctor(namespace, "web-0")
    assert code == 1
    assert found["sections"] is None
    assert found["by_name"]["Pod Security"]["state"] == "failed"
    admission = found["by_name"]["Admission of the pod"]
    assert admission["state"] == "failed"
    command = next(
        line for line in admission["fix"].splitlines() if line.startswith("  kubectl label")
    )
    namespace.within("").run(*shlex.split(command)[1:])
    code, found = doctor(namespace, "web-0", "--dry-run=client")
    assert code == 0, found["checks"]


def test_user_without_rights_and_the_role_that_is_printed(
    namespace: Kubectl, images: Images
) -> None:
    workload(namespace, images)
    user = f"--as=user-of-{namespace.namespace}"
    code, found = doctor(namespace, "web-0", user)
    assert code == 1
    rights = found["by_name"]["Rights: tracer"]
    assert rights["state"] == "failed"
    roles = [check["fix"] for check in found["checks"] if "kind: Role\n" in (check["fix"] or "")]
    assert len(roles) == 1
    lines = [line for line in roles[0].splitlines() if line.startswith("  ")]
    namespace.run("apply", "--filename=-", stdin="\n".join(lines) + "\n")
    code, found = doctor(namespace, "web-0", user)
    assert code == 0, found["checks"]
    assert found["by_name"]["Rights: nodes"]["state"] == "warning"
    assert found["sections"] is not None
    wait_for_none(namespace, CLEAN_SECONDS)


def test_image_that_no_node_has(namespace: Kubectl, images: Images) -> None:
    workload(namespace, images)
    image = "registry.invalid/podtrace/absent:1"
    code, found = doctor(namespace, "web-0", f"--tracer-image={image}", "--image-pull-policy=Never")
    assert code == 1
    assert found["by_name"]["Tracer image"]["state"] in ("ok", "warning")
    failed = [check for check in found["checks"] if check["state"] == "failed"]
    assert [check["name"].partition(" on ")[0] for check in failed] == ["Trace"]
    assert image in failed[0]["found"]
    wait_for_none(namespace, CLEAN_SECONDS)


def test_quota_without_room(namespace: Kubectl, images: Images) -> None:
    workload(namespace, images)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}}
    namespace.apply({**quota, "spec": {"hard": {"pods": "1"}}})
    namespace.wait("jsonpath={.status.used.pods}=1", "resourcequota/team")
    code, found = doctor(namespace, "web-0")
    assert code == 1
    assert found["by_name"]["Quota"]["found"].startswith("team has room for 0 of 1 tracer pods")
    assert found["by_name"]["Admission of the pod"]["state"] == "failed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_nothing(namespace: Kubectl, images: Images, number: int) -> None:
    workload(namespace, images)
    process = namespace.start("podtrace", "doctor", "web-0")
    try:
        until = time.monotonic() + PATIENCE_SECONDS
        while not leavings(namespace):
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.2)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out) == (130, ""), err
    wait_for_none(namespace, CLEAN_SECONDS)
