"""Whatever ends a run, and whenever: the report comes where one can, and nothing is left."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.conftest import Images
from e2e.kubectl import Kubectl, pod
from e2e.leavings import OWN, leavings, wait_for_none, wait_for_tracer
from e2e.machine.cluster import Cluster
from e2e.runs import WORK, Run
from kernel.leavings import links, orphans, programs

MOMENTS = 20
MOST_AT_ONCE = 5


@pytest.fixture
def shop(namespace: Kubectl, images: Images) -> Kubectl:
    """Return kubectl for a namespace with a pod web-0 that reads files."""
    namespace.apply(pod("web-0", images.workload, ["-c", WORK]))
    namespace.wait_for_pods("web-0")
    return namespace


def test_a_whole_run_leaves_nothing(shop: Kubectl) -> None:
    done = shop.podtrace("web-0", "--diagnose", "2s", "-o", "json")
    assert json.loads(done.stdout)["summary"]["events"] > 0
    assert wait_for_none(shop, 20) < 20


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
    begin = time.monotonic()
    code, _ = run.rest(20)
    assert code == 130
    assert time.monotonic() - begin < 8
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
    namespace: Kubectl, images: Images, start: Callable[..., Run]
) -> None:
    names = [f"web-{number}" for number in range(MOMENTS)]
    namespace.apply(*(pod(name, images.workload, ["-c", WORK]) for name in names))
    namespace.wait_for_pods(*names, seconds=180)
    chosen = random.Random(0)
    for begin in range(0, MOMENTS, MOST_AT_ONCE):
        runs = [
            (start(namespace, name, "-o", "json"), chosen.uniform(0.3, 12.0))
            for name in names[begin : begin + MOST_AT_ONCE]
        ]
        started = time.monotonic()
        for run, moment in sorted(runs, key=lambda each: each[1]):
            time.sleep(max(0.0, started + moment - time.monotonic()))
            os.killpg(run.process.pid, signal.SIGKILL)
    wait_for_none(namespace)


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
    code, said = run.rest(90)
    assert code == 1, said
    kubectl.wait("delete", f"namespace/{shop.namespace}", seconds=60)


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


def test_a_restart_of_the_api_server_loses_no_line(
    shop: Kubectl, machine: Cluster, start: Callable[..., Run]
) -> None:
    run = start(shop, "web-0", "-o", "json")
    run.until("health", 3)
    machine.control.stop_api()
    time.sleep(5)
    machine.control.start_api()
    run.until("health", 15)
    run.process.send_signal(signal.SIGINT)
    code, said = run.rest()
    assert code == 0, said
    assert run.missing == 0
    wait_for_none(shop)


@pytest.mark.timeout(600)
def test_an_api_server_that_is_away_for_a_minute_ends_the_run_and_leaves_nothing(
    shop: Kubectl, machine: Cluster, start: Callable[..., Run]
) -> None:
    run = start(shop, "web-0", "-o", "json")
    run.until("health", 3)
    machine.control.stop_api()
    try:
        time.sleep(60)
    finally:
        machine.control.start_api()
    code, said = run.rest(120)
    # All that the tracer said before it gave its reader up is in.
    assert code == 1
    assert "its log was not read for 30 s" in said
    assert run.lines[-1]["reason"] == "unheard"
    assert run.missing == 0
    # Nothing runs. The objects go when the cluster's controllers have found the server again, which
    # they try ever more seldom.
    assert not any("Running" in left for left in leavings(shop))
    wait_for_none(shop, 120)


def test_no_tracer_process_outlives_its_pod(
    shop: Kubectl, machine: Cluster, start: Callable[..., Run]
) -> None:
    programs_before, links_before = programs(), links()
    run = start(shop, "web-0", "-o", "json")
    uid = shop.get("pod", wait_for_tracer(shop))["metadata"]["uid"]
    run.until("health", 1)
    assert _processes_of(uid)
    os.killpg(run.process.pid, signal.SIGKILL)
    wait_for_none(shop)
    assert _processes_of(uid) == []
    # Other tracers on this machine hold theirs: nobody's would stay for ever.
    assert orphans(programs_before, links_before) == []


def _processes_of(uid: str) -> list[str]:
    """Return the processes of a pod; this machine has those of its nodes, too."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and uid in (entry / "cgroup").read_text():
                found.append(entry.name)
    return found
