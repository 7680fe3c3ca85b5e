"""Two plugins that trace the same pod at once, each with a profile of its own: both are exact."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.conftest import Images
from e2e.kubectl import Kubectl, pod
from e2e.servers import Servers
from e2e.tracing import TICK_NS, PodTrace, missing_lines
from e2e.witness import Witness
from e2e.workloads import PodProgram, container
from kernel.exact_checks import ExactChecks, ExactRun

DATA = "/dev/shm/exact.data"
PROFILES = ("privileged", "capabilities")


@pytest.fixture(scope="module")
def runs(
    module_namespace: Kubectl,
    images: Images,
    servers: Servers,
    witness: Witness,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, ExactRun]:
    kubectl = module_namespace
    arguments = ("exact.py", *servers.exact_arguments(DATA))
    containers = [container("main", images.workload, *arguments)]
    kubectl.apply(pod("web-0", images.workload, containers=containers, restartPolicy="Never"))
    kubectl.wait_for_pods("web-0")
    host_pid = witness.process_id(kubectl, "web-0")
    folders = [tmp_path_factory.mktemp(profile) for profile in PROFILES]
    with (
        PodProgram(kubectl, "web-0") as target,
        PodTrace(folders[0], kubectl, "web-0", f"--profile={PROFILES[0]}") as first,
        PodTrace(folders[1], kubectl, "web-0", f"--profile={PROFILES[1]}") as second,
    ):
        target.go()
        until_ns = target.done()["time_ns"] + first.answerless_ns + TICK_NS
        reports = []
        for trace in (first, second):
            trace.wait_past(until_ns)
            reports.append(trace.stop())
            assert missing_lines(trace.lines()) == 0
        truth = {**target.truth(), "pid": host_pid}
    return {
        profile: ExactRun(report, truth, Path(DATA))
        for profile, report in zip(PROFILES, reports, strict=True)
    }


@pytest.mark.parametrize("profile", PROFILES)
class TestBoth(ExactChecks):
    @pytest.fixture
    def run(self, runs: dict[str, ExactRun], profile: str) -> ExactRun:
        return runs[profile]

    def test_every_section_is_full(self, run: ExactRun) -> None:
        assert run.report["quality.degraded_sections"] == []
        assert {probe["state"] for probe in run.report["quality.probes"]} == {"attached"}
