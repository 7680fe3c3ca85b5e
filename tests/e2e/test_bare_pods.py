"""Runs of a user who may create no Jobs: the tracer's pod stands alone, and still goes."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from e2e.conftest import Images
from e2e.kubectl import Kubectl, pod
from e2e.leavings import OWN, leavings, wait_for_none
from e2e.runs import WORK, Run

USER = "e2e-bare"
RULES: list[dict[str, Any]] = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "create", "delete"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
]


@pytest.fixture
def shop(namespace: Kubectl, images: Images) -> Kubectl:
    """Return kubectl for a namespace with a pod web-0, where USER may do the least."""
    group = "rbac.authorization.k8s.io"
    role = {"kind": "Role", "metadata": {"name": USER}, "rules": RULES}
    binding = {
        "kind": "RoleBinding",
        "metadata": {"name": USER},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": USER},
        "subjects": [{"apiGroup": group, "kind": "User", "name": USER}],
    }
    namespace.apply(
        {"apiVersion": f"{group}/v1", **role},
        {"apiVersion": f"{group}/v1", **binding},
        pod("web-0", images.workload, ["-c", WORK]),
    )
    namespace.wait_for_pods("web-0")
    return namespace


def test_a_whole_run_leaves_nothing(shop: Kubectl) -> None:
    done = shop.podtrace("web-0", "--diagnose", "2s", "-o", "json", "--as", USER)
    assert json.loads(done.stdout)["summary"]["events"] > 0
    assert "created pod/podtrace-" in done.stderr
    wait_for_none(shop)


def test_a_signal_gives_all_ticks_until_then(shop: Kubectl, start: Callable[..., Run]) -> None:
    run = start(shop, "web-0", "-o", "json", "--as", USER)
    run.until("health", 2)
    run.process.send_signal(signal.SIGINT)
    code, said = run.rest()
    assert code == 0, said
    assert run.missing == 0
    wait_for_none(shop)


def test_sigkill_leaves_nothing_once_the_tracer_was_heard(
    shop: Kubectl, start: Callable[..., Run]
) -> None:
    run = start(shop, "web-0", "-o", "json", "--as", USER)
    run.until("health", 2)
    os.killpg(run.process.pid, signal.SIGKILL)
    wait_for_none(shop)


def test_a_pod_that_is_told_to_go_sooner_is_let_go(
    shop: Kubectl, start: Callable[..., Run]
) -> None:
    run = start(shop, "web-0", "-o", "json", "--as", USER)
    run.until("health", 2)
    shop.run("delete", "pod", f"--selector={OWN}", "--wait=false", "--grace-period=5")
    code, said = run.rest()
    assert code == 1
    assert "was deleted" in said
    wait_for_none(shop)


def test_the_end_of_the_namespace_is_noticed(
    shop: Kubectl, start: Callable[..., Run], kubectl: Kubectl
) -> None:
    run = start(shop, "web-0", "-o", "json", "--as", USER)
    run.until("health", 2)
    shop.run("delete", "namespace", shop.namespace, "--wait=false")
    code, _ = run.rest(60)
    assert code == 1
    kubectl.wait("delete", f"namespace/{shop.namespace}", seconds=60)


def test_a_kept_pod_stays(shop: Kubectl) -> None:
    shop.podtrace("web-0", "--diagnose", "1s", "-o", "json", "--keep", "--as", USER)
    time.sleep(3)
    (left,) = leavings(shop)
    assert left.endswith("Succeeded")
    shop.podtrace("cleanup")
    wait_for_none(shop)
