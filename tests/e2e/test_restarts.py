"""What becomes of a pod while it is traced: restarts, kills for lack of memory, its deletion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import Images
from e2e.kubectl import Kubectl, pod
from e2e.tracing import TICK_NS, PodTrace
from e2e.witness import Witness
from e2e.workloads import PodProgram, container
from kernel.neighbours import Neighbours
from kernel.tracing import Report

DATA = "/dev/shm/beat.data"
BEATS = 60
SOON_SECONDS = 2.0
MEMORY = "64Mi"
GREED = ["python3", "-c", "x = bytearray(400 << 20)"]


@dataclass
class Restart:
    """What the new container did, what a trace saw of it, and what is soon on this machine."""

    ready: dict[str, Any]
    moments: list[int]
    host_pid: int
    old_host_pid: int
    soon_ns: int
    trace: PodTrace
    report: Report

    @property
    def counted(self) -> int:
        """Writes that the trace saw; those of the old container were before it."""
        return sum(line["count"] for line in self.trace.series("file", path=DATA))


@pytest.fixture(scope="module")
def restarts(
    module_namespace: Kubectl,
    images: Images,
    witness: Witness,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Restart]:
    kubectl, image = module_namespace, images.workload
    beat = ("beat.py", "--file", DATA, "--times", BEATS)
    containers = [container("app", image, *beat), container("helper", image, "orders.py")]
    kubectl.apply(pod("web-0", image, containers=containers))
    kubectl.wait_for_pods("web-0")
    with PodProgram(kubectl, "web-0", "app") as first:
        first.done()
    node = kubectl.get("pod", "web-0")["spec"]["nodeName"]
    with (
        PodTrace(tmp_path_factory.mktemp("whole"), kubectl, "web-0") as whole,
        PodTrace(tmp_path_factory.mktemp("app"), kubectl, "web-0", "-c", "app") as only,
    ):
        neighbours = Neighbours()
        old = witness.process_id(kubectl, "web-0", "app")
        witness.kill(node, old)
        kubectl.wait("jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/web-0")
        kubectl.wait_for_pods("web-0")
        with PodProgram(kubectl, "web-0", "app") as second:
            done = second.done()
        new = witness.process_id(kubectl, "web-0", "app")
        soon_ns = int(neighbours.limit(SOON_SECONDS) * 1e9)
        found = {}
        for name, trace in (("whole", whole), ("app", only)):
            trace.wait_past(done["time_ns"] + TICK_NS)
            report = trace.stop()
            found[name] = Restart(second.facts, done["moments"], new, old, soon_ns, trace, report)
        return found


@pytest.fixture(params=["whole", "app"])
def restart(restarts: dict[str, Restart], request: pytest.FixtureRequest) -> Restart:
    found: Restart = restarts[request.param]
    return found


def test_restart_is_an_event_when_it_happens(restart: Restart) -> None:
    [event] = restart.trace.events("container_restart")
    assert (event["name"], event["process"]) == ("app", 0)
    assert abs(event["time_ns"] - restart.ready["time_ns"]) <= restart.soon_ns
    [member] = restart.report["target.members"]
    assert member["restarts"] == 1


def test_old_container_is_seen_to_end(restart: Restart) -> None:
    ended = [
        line
        for line in restart.trace.lines()
        if line["kind"] == "process" and line["process"] == restart.old_host_pid
    ]
    assert ended[-1]["exit_code"] == -9


def test_what_the_new_container_does_is_counted(restart: Restart) -> None:
    late = [moment for moment in restart.moments if moment > restart.moments[0] + restart.soon_ns]
    assert max(len(late), 1) <= restart.counted <= BEATS


def test_new_container_of_a_whole_pod_is_counted_from_its_first_moment(
    restarts: dict[str, Restart],
) -> None:
    assert restarts["whole"].counted == BEATS


def test_what_the_new_container_does_is_told_soon(restart: Restart) -> None:
    first = next(iter(restart.trace.series("file", path=DATA)))
    [health] = [
        line
        for line in restart.trace.lines()
        if line["kind"] == "health" and line["tick"] == first["tick"]
    ]
    assert restart.moments[0] <= health["time_ns"] <= restart.moments[0] + restart.soon_ns


def test_new_container_has_the_name_of_the_old_one(restart: Restart) -> None:
    for host_pid in (restart.old_host_pid, restart.host_pid):
        assert restart.report.entry("cpu_usage", host_pid=host_pid)["container"] == "app"


def test_kill_for_lack_of_memory_and_deletion_of_the_pod(
    namespace: Kubectl, images: Images, tmp_path: Path
) -> None:
    limits = {"limits": {"memory": MEMORY}}
    greedy = container("greedy", images.workload, "orders.py", resources=limits)
    namespace.apply(pod("web-0", images.workload, containers=[greedy]))
    namespace.wait_for_pods("web-0")
    with (
        PodProgram(namespace, "web-0", "greedy") as program,
        PodTrace(tmp_path, namespace, "web-0") as trace,
    ):
        program.order(("execute", {"argv": GREED}))
        killed = trace.wait_for("event", event="oom_kill")
        assert killed["target"] == 1
        trace.wait_past(killed["time_ns"])
        namespace.run("delete", "pod", "web-0", "--wait=false")
        gone = trace.wait_for("event", event="target_gone")
        assert gone["target"] == 1
        report = trace.report()
    assert trace.process.returncode == 0, trace.stderr()
    assert report["window.end_reason"] == "target_gone"
    assert report["window.complete"] is True
    assert report["quality.stream.missing_lines"] == 0
    [member] = report["target.members"]
    assert member["oom_kills"] == 1
    assert {"oom_killed", "pod_gone"} <= {issue["id"] for issue in report["issues"]}
