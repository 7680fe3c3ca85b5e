"""Whatever ends a run, and whenever: the report comes where one can, and nothing is left."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from e2e.conftest import Images
from e2e.kubectl import Kubectl, pod
from e2e.leavings import OWN, leavings, processes_of, tracers_of, wait_for_none, wait_for_tracer
from e2e.machine.cluster import Cluster
from e2e.runs import WORK, Run, apply_work
from kernel.leavings import links, orphans, programs
from kernel.neighbours import Neighbours

MOMENTS = 20
LONGEST_SECONDS = 12.0
MOST_AT_ONCE = 5
LEAVE_SECONDS = 8.0


@pytest.fixture
def shop(namespace: Kubectl, images: Images) -> Kubectl:
    """Return kubectl for a namespace with a pod web-0 that reads files."""
    apply_work(namespace, images.workload)
    return namespace


def test_a_whole_run_leaves_nothing(shop: Kubectl) -> None:
    done = shop.podtrace("web-0", "--diagnose", "2s", "-o", "json")
    assert json.loads(done.stdout)["summary"]["events"] > 0
    wait_for_none(shop, 20)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_asks_for_the_last_lines(
    shop: Kubectl, start: Callable[..., Run], number: signal.Signals
) -> None:
    run = start(shop, "web-0", "-o", "json")
    run.until("health", 2)
    run.process.send_signal(number)
    code, said = run.rest()
    assert code == 0, said
    assert run.lines[-1]["kind"] == "end"
    assert run.lines[-1]["reason"] == "signal"
    assert run.missing == 0
    wait_for_none(shop)


def test_a_second_signal_leaves_at_once(shop: Kubectl, start: Callable[..., Run]) -> None:
    run = start(shop, "web-0", "--diagnose", "300s")
    wait_for_tracer(shop)
    time.sleep(1)
    run.process.send_signal(signal.SIGINT)
    time.sleep(0.2)  # two at once are one
    run.process.send_signal(signal.SIGINT)
    neighbours, begin = Neighbours(), time.monotonic()
    code, _ = run.rest()
    assert code == 130
    assert time.monotonic() - begin < neighbours.limit(LEAVE_SECONDS)
    wait_for_none(shop)


def test_a_signal_while_the_tracer_starts_removes_it(
    shop: Kubectl, start: Callable[..., Run]
) -> None:
    run = start(shop, "web-0", "--diagnose", "300s")
    while not leavings(shop):
        time.sleep(0.05)
    run.process.send_signal(signal.SIGINT)
    code, said = run.rest()
    assert code == 130, said
    wait_for_none(shop)


@pytest.mark.timeout(900)
def test_sigkill_at_any_moment_leaves_nothing(
    namespace: Kubectl, images: Images, started: Cluster | None, start: Callable[..., Run]
) -> None:
    names = [f"web-{number}" for number in range(MOMENTS)]
    namespace.apply(*(pod(name, images.workload, ["-c", WORK]) for name in names))
    namespace.wait_for_pods(*names)
    programs_before, links_before = programs(), links()

    def kill_after(name: str, seconds: float) -> None:
        run = start(namespace, name, "-o", "json")
        time.sleep(seconds)
        os.killpg(run.process.pid, signal.SIGKILL)

    chosen = random.Random(0)
    moments = [chosen.uniform(0.3, LONGEST_SECONDS) for _ in names]
    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        list(pool.map(kill_after, names, moments))
    tracers = namespace.get("pods", f"--selector={OWN}")["items"]
    uids = [each["metadata"]["uid"] for each in tracers]
    assert started is None or any(map(tracers_of, uids))
    wait_for_none(namespace)
    if started is not None:
        # No process outlives its pod. Other tracers on this machine hold their programs; nobody's
        # would stay for ever.
        assert not any(map(processes_of, uids))
        assert orphans(programs_before, links_before) == []


def test_a_tracer_pod_deleted_by_hand_ends_the_run_and_no_second_one_comes(
    shop: Kubectl, start: Callable[..., Run]
) -> None:
    run = start(shop, "web-0", "-o", "json")
    run.until("health", 2)
    shop.run("delete", "pod", f"--selector={OWN}", "--wait=false")
    code, said = run.rest()
    assert code == 1
    assert "its pod was deleted" in said
    assert run.missing == 0
    wait_for_none(shop)
    time.sleep(3)
    assert leavings(shop) == []


def test_the_end_of_the_namespace_ends_the_tracer(
    shop: Kubectl, start: Callable[..., Run], kubectl: Kubectl
) -> None:
    run = start(shop, "web-0", "-o", "json")
    run.until("health", 2)
    shop.run("delete", "namespace", shop.namespace, "--wait=false")
    code, said = run.rest()
    assert code == 1, said
    kubectl.wait("delete", f"namespace/{shop.namespace}")


def test_a_kept_tracer_stays_until_it_is_cleaned_up(shop: Kubectl) -> None:
    done = shop.podtrace("web-0", "--diagnose", "2s", "--keep", "-o", "json")
    assert "to remove it: kubectl delete" in done.stderr
    job = shop.get("jobs", f"--selector={OWN}")["items"][0]["metadata"]["name"]
    shop.wait("condition=Complete", f"job/{job}")
    cleaned = shop.podtrace("cleanup")
    assert f"removed job {shop.namespace}/{job}" in cleaned.stdout
    wait_for_none(shop, 30)
    assert "nothing was left" in shop.podtrace("cleanup").stdout


def test_cleanup_leaves_what_runs_and_what_is_not_ours(
    shop: Kubectl, start: Callable[..., Run]
) -> None:
    run = start(shop, "web-0", "-o", "json")
    run.until("health", 1)
    assert "--force" in shop.podtrace("cleanup").stdout
    run.until("health", 3)
    assert "removed job" in shop.podtrace("cleanup", "--force").stdout
    code, _ = run.rest()
    assert code == 1
    wait_for_none(shop)
    assert shop.get("pod", "web-0")["status"]["phase"] == "Running"
