"""Runs of a user who may create no Jobs: the tracer's pod stands alone, and still goes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
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


def shop_in(namespace: Kubectl, images: Images) -> Kubectl:
    """Return kubectl for a namespace that has now a pod web-0, where USER may do the least."""
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


@pytest.fixture
def shop(namespace: Kubectl, images: Images) -> Kubectl:
    return shop_in(namespace, images)


def is_interrupted(shop: Kubectl, run: Run) -> None:
    run.process.send_signal(signal.SIGINT)
    code, said = run.rest()
    assert code == 0, said
    assert run.missing == 0
    wait_for_none(shop)


def is_killed(shop: Kubectl, run: Run) -> None:
    os.killpg(run.process.pid, signal.SIGKILL)
    wait_for_none(shop)


def has_its_pod_told_to_go_sooner(shop: Kubectl, run: Run) -> None:
    shop.run("delete", "pod", f"--selector={OWN}", "--wait=false", "--grace-period=5")
    code, said = run.rest()
    assert code == 1
    assert "was deleted" in said
    wait_for_none(shop)


def loses_its_namespace(shop: Kubectl, run: Run) -> None:
    shop.run("delete", "namespace", shop.namespace, "--wait=false")
    code, _ = run.rest()
    assert code == 1
    shop.within("").wait("delete", f"namespace/{shop.namespace}")


ENDINGS = (is_interrupted, is_killed, has_its_pod_told_to_go_sooner, loses_its_namespace)


@pytest.fixture(scope="module")
def endings(
    make_lasting_namespace: Callable[..., Kubectl], images: Images
) -> Iterator[Mapping[Callable[..., None], Future[None]]]:
    """Have runs end in each way, side by side: half a minute passes until a tracer gives up."""
    runs: list[Run] = []

    def carry_out(ending: Callable[[Kubectl, Run], None]) -> None:
        shop = shop_in(make_lasting_namespace(), images)
        arguments = ("web-0", "-o", "json", "--as", USER)
        run = Run(shop.start("podtrace", *arguments, start_new_session=True))
        runs.append(run)
        run.until("health", 2)
        ending(shop, run)

    pool = ThreadPoolExecutor(len(ENDINGS))
    yield {ending: pool.submit(carry_out, ending) for ending in ENDINGS}
    pool.shutdown(wait=False)
    for run in runs:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait()


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_left_of_a_run_that(
    ending: Callable[..., None], endings: Mapping[Callable[..., None], Future[None]]
) -> None:
    endings[ending].result()


def test_a_whole_run_leaves_nothing(shop: Kubectl) -> None:
    done = shop.podtrace("web-0", "--diagnose", "2s", "-o", "json", "--as", USER)
    assert json.loads(done.stdout)["summary"]["events"] > 0
    assert "created pod/podtrace-" in done.stderr
    wait_for_none(shop)


def test_a_kept_pod_stays(shop: Kubectl) -> None:
    shop.podtrace("web-0", "--diagnose", "1s", "-o", "json", "--keep", "--as", USER)
    time.sleep(3)
    (left,) = leavings(shop)
    assert left.endswith("Succeeded")
    shop.podtrace("cleanup")
    wait_for_none(shop)
