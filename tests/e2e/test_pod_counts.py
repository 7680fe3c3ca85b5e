"""A pod with exact counts, beside a neighbour on its node that does more of the same.

The neighbour is the same program under the same name, with the same servers, names and paths.
"""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from e2e.conftest import Images
from e2e.kubectl import CHECKOUT, Kubectl, pod
from e2e.servers import Servers
from e2e.tracing import TICK_NS, PodTrace, missing_lines
from e2e.witness import Witness
from e2e.workloads import PodProgram, container
from kernel.exact_checks import ExactChecks, ExactRun

DATA = "/dev/shm/exact.data"
NEIGHBOUR_TIMES = 4
SCHEMA = json.loads((CHECKOUT / "docs/report.schema.json").read_text())


@pytest.fixture(scope="module")
def traced(
    module_namespace: Kubectl,
    images: Images,
    nodes: list[str],
    servers: Servers,
    witness: Witness,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[ExactRun, PodTrace]:
    kubectl, image = module_namespace, images.workload
    arguments = ("exact.py", *servers.exact_arguments(DATA))
    more = ("--times", NEIGHBOUR_TIMES)
    for name, each in (("web-0", ()), ("web-1", more)):
        containers = [container("main", image, *arguments, *each)]
        kubectl.apply(pod(name, image, node=nodes[0], containers=containers, restartPolicy="Never"))
    kubectl.wait_for_pods("web-0", "web-1")
    host_pid = witness.process_id(kubectl, "web-0")
    folder = tmp_path_factory.mktemp("exact")
    with (
        PodProgram(kubectl, "web-0") as target,
        PodProgram(kubectl, "web-1") as neighbour,
        PodTrace(folder, kubectl, "web-0") as trace,
    ):
        target.go()
        neighbour.go()
        trace.wait_past(target.done()["time_ns"] + trace.answerless_ns + TICK_NS)
        neighbour.done()
        report = trace.stop()
        truth = {**target.truth(), "pid": host_pid}
        run = ExactRun(report, truth, Path(DATA))
        run.neighbour = neighbour.truth()
        return run, trace


class TestPod(ExactChecks):
    @pytest.fixture
    def run(self, traced: tuple[ExactRun, PodTrace]) -> ExactRun:
        return traced[0]

    def test_only_the_target_appears(self, run: ExactRun) -> None:
        assert run.neighbour is not None
        assert run.neighbour["reads"] == NEIGHBOUR_TIMES * run.truth["reads"]
        working = [entry for entry in run.report["cpu_usage"] if entry["cpu_seconds"]]
        for [entry] in (working, run.report["process_activity"]):
            assert entry["host_pid"] == run.truth["pid"]
            assert (entry["pid"], entry["container"], entry["pod"]) == (1, "main", "web-0")

    def test_report_names_the_pod(
        self, run: ExactRun, module_namespace: Kubectl, nodes: list[str]
    ) -> None:
        target = run.report["target"]
        assert (target["type"], target["pod"]) == ("pod", "web-0")
        assert target["namespace"] == module_namespace.namespace
        assert target["nodes"] == [nodes[0]]

    def test_every_line_arrived(self, traced: tuple[ExactRun, PodTrace]) -> None:
        lines = traced[1].lines()
        assert (lines[0]["kind"], lines[-1]["kind"]) == ("hello", "end")
        assert missing_lines(lines) == 0

    def test_report_follows_the_schema(self, run: ExactRun) -> None:
        jsonschema.validate(run.report.tree, SCHEMA)

    def test_replay_gives_the_same_report(
        self, traced: tuple[ExactRun, PodTrace], kubectl: Kubectl
    ) -> None:
        replayed = kubectl.podtrace("replay", str(traced[1].recording), "-o", "json")
        assert json.loads(replayed.stdout) == traced[0].report.tree
