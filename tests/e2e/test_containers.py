"""Containers of a pod: told apart by name, and one of them traced alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.conftest import Images
from e2e.kubectl import Kubectl, pod
from e2e.servers import Servers
from e2e.tracing import TICK_NS, PodTrace, container_operations
from e2e.witness import Witness
from e2e.workloads import Order, PodProgram, container
from kernel.exact_checks import ExactChecks, ExactRun
from kernel.tracing import Report

DATA = "/dev/shm/exact.data"
EXACT, ORDERS = "exact.py", "orders.py"
DEBUGGER = """
import os, time
for number in range(13):
    os.open("/dev/shm/debugger.data", os.O_CREAT | os.O_WRONLY)
print('{"state": "done", "time_ns": %d}' % time.time_ns(), flush=True)
time.sleep(3600)
"""


def writes(times: int) -> Order:
    return "write_file", {"path": DATA, "times": times}


class Traced:
    """What came of two traces at once of a pod: of all of it, and of its container app."""

    def __init__(self, whole: Report, app: Report, run: ExactRun) -> None:
        self.whole = whole
        self.app = app
        self.run = run


@pytest.fixture(scope="module")
def traced(
    module_namespace: Kubectl,
    images: Images,
    servers: Servers,
    witness: Witness,
    tmp_path_factory: pytest.TempPathFactory,
) -> Traced:
    kubectl, image = module_namespace, images.workload
    first = [
        container("setup", image, "-c", "pass"),
        container("mesh", image, ORDERS, restartPolicy="Always"),
    ]
    others = [
        container("app", image, EXACT, *servers.exact_arguments(DATA)),
        container("helper", image, ORDERS),
    ]
    kubectl.apply(pod("web-0", image, initContainers=first, containers=others))
    kubectl.wait_for_pods("web-0")
    host_pid = witness.process_id(kubectl, "web-0", "app")
    noise: list[Order] = [
        ("look_up", {"server": servers.address, "name": "name0.exact.test", "times": 9}),
        ("connect", {"address": servers.address, "port": servers.refused_port, "times": 5}),
    ]
    debug = ("debug", "pod/web-0", f"--image={image}", "--container=debugger")
    with (
        PodProgram(kubectl, "web-0", "app") as app,
        PodProgram(kubectl, "web-0", "mesh") as mesh,
        PodProgram(kubectl, "web-0", "helper") as helper,
        PodTrace(tmp_path_factory.mktemp("whole"), kubectl, "web-0") as whole,
        PodTrace(tmp_path_factory.mktemp("app"), kubectl, "web-0", "-c", "app") as only,
    ):
        app.go()
        mesh.order(writes(37), *noise)
        helper.order(writes(5), *noise)
        kubectl.run(*debug, "--quiet", "--", "python3", "-c", DEBUGGER)
        kubectl.wait("jsonpath={.status.ephemeralContainerStatuses[0].state.running}", "pod/web-0")
        with PodProgram(kubectl, "web-0", "debugger") as debugger:
            until_ns = max(each["time_ns"] for each in (mesh.done(), helper.done(), debugger.facts))
        until_ns = max(until_ns, app.done()["time_ns"] + only.answerless_ns)
        whole.wait_past(until_ns + TICK_NS)
        only.wait_past(until_ns + TICK_NS)
        reports = whole.stop(), only.stop()
        truth = {**app.truth(), "pid": host_pid}
        return Traced(*reports, ExactRun(reports[1], truth, Path(DATA)))


class TestChosenContainer(ExactChecks):
    @pytest.fixture
    def run(self, traced: Traced) -> ExactRun:
        return traced.run

    def test_only_it_appears(self, run: ExactRun) -> None:
        for section in ("cpu_usage", "process_activity"):
            [entry] = run.report[section]
            assert (entry["host_pid"], entry["container"]) == (run.truth["pid"], "app")
        [member] = run.report["target.members"]
        assert member["containers"] == ["app"]


def test_operations_are_told_apart_by_container(traced: Traced) -> None:
    operations = container_operations(traced.whole)
    connections = {name: each["connections"] for name, each in operations.items()}
    assert connections == {"app": 23, "mesh": 5, "helper": 5, "debugger": 0}
    names = {name: each["dns"] for name, each in operations.items()}
    assert names == {"app": 41, "mesh": 9, "helper": 9, "debugger": 0}
    files = {name: each["filesystem"] for name, each in operations.items()}
    assert (files["mesh"], files["helper"]) == (38, 6)
    assert files["debugger"] >= 13


def test_whole_pod_is_the_sum_of_its_containers(traced: Traced) -> None:
    assert traced.whole["connections.attempts"] == 23 + 5 + 5
    assert traced.whole["dns.queries"] == 41 + 9 + 9
    entry = traced.whole.entry("filesystem.files", path=DATA)
    truth = traced.run.truth
    done = truth["reads"] + truth["writes"] + truth["fsyncs"] + 37 + 5
    assert entry["operations"] == done


def test_cpu_time_has_the_container_of_each_process(traced: Traced) -> None:
    used = {entry["container"] for entry in traced.whole["cpu_usage"] if entry["cpu_seconds"]}
    assert used == {"app", "mesh", "helper", "debugger"}


def test_pod_is_traced_from_its_init_container_on(
    namespace: Kubectl, images: Images, tmp_path: Path
) -> None:
    image = images.workload
    first = container(
        "setup", image, "steps.py", f'[["write_file", {{"path": "{DATA}", "times": 21}}]]'
    )
    then = container("app", image, ORDERS)
    namespace.apply(pod("web-0", image, initContainers=[first], containers=[then]))
    namespace.wait("jsonpath={.status.initContainerStatuses[0].state.running}", "pod/web-0")
    with (
        PodProgram(namespace, "web-0", "setup") as setup,
        PodTrace(tmp_path, namespace, "web-0") as trace,
    ):
        setup.go()
        setup.done()
        setup.truth()
        namespace.wait_for_pods("web-0")
        with PodProgram(namespace, "web-0", "app") as app:
            trace.wait_past(app.do(writes(8))["time_ns"] + TICK_NS)
        report = trace.stop()
    operations = container_operations(report)
    assert operations["setup"]["filesystem"] == 22
    assert operations["app"]["filesystem"] >= 9
    assert report.entry("filesystem.files", path=DATA)["operations"] == 21 + 8
