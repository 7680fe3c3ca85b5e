"""A deployment of three pods on two nodes: one report, in which each pod has its own figures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import jsonschema
import pytest

from e2e.conftest import Images
from e2e.kubectl import CHECKOUT, Kubectl, pod
from e2e.servers import POD as SERVERS_POD
from e2e.servers import Servers
from e2e.tracing import TICK_NS, PodTrace, missing_lines
from e2e.witness import Witness
from e2e.workloads import PodProgram, container
from kernel.tracing import Report

PODS = 3
DATA = "/dev/shm/orders.data"
LABELS = {"app": "web", "tier": "front"}
SERVICE_PORT = 80
SCHEMA = json.loads((CHECKOUT / "docs/report.schema.json").read_text())


@dataclass
class Fleet:
    """What came of the trace, and the truth of each pod in the order of `names`."""

    kubectl: Kubectl
    names: list[str]
    nodes: list[str]
    host_pids: list[int]
    truths: list[dict[str, Any]]
    service: str
    trace: PodTrace
    report: Report


def deployment(image: str) -> dict[str, Any]:
    """Return three pods that are spread over the nodes."""
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": LABELS},
    }
    containers = [container("main", image, "orders.py")]
    made = pod("web", image, containers=containers, topologySpreadConstraints=[spread])
    template = {"metadata": {"labels": LABELS}, "spec": made["spec"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": PODS, "selector": {"matchLabels": LABELS}, "template": template},
    }


def service(name: str, labels: dict[str, str], port: int) -> dict[str, Any]:
    """Return a Service for pods with these labels."""
    ports = [{"port": SERVICE_PORT, "targetPort": port}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": labels, "ports": ports},
    }


@pytest.fixture(scope="module")
def fleet(
    module_namespace: Kubectl,
    helpers: Kubectl,
    images: Images,
    servers: Servers,
    witness: Witness,
    tmp_path_factory: pytest.TempPathFactory,
) -> Fleet:
    kubectl = module_namespace
    helpers.apply(service("echo", {"app": SERVERS_POD}, servers.port))
    address = helpers.get("service", "echo")["spec"]["clusterIP"]
    kubectl.apply(deployment(images.workload), service("web", LABELS, 80))
    kubectl.wait("condition=Available", "deployment/web")
    found = kubectl.get("pods", "--selector=app=web")["items"]
    names = sorted(each["metadata"]["name"] for each in found)
    nodes = {each["metadata"]["name"]: each["spec"]["nodeName"] for each in found}
    host_pids = [witness.process_id(kubectl, name) for name in names]
    programs = [PodProgram(kubectl, name) for name in names]
    refused = {"address": servers.address, "port": servers.refused_port}
    folder, tracers = tmp_path_factory.mktemp("fleet"), len(set(nodes.values()))
    try:
        with PodTrace(folder, kubectl, "deployment/web", tracers=tracers) as trace:
            for number, program in enumerate(programs, 1):
                program.order(
                    ("write_file", {"path": DATA, "times": 100 * number}),
                    ("look_up", {"server": servers.address, "name": "nx.test", "times": number}),
                    ("connect", {**refused, "times": 2 * number}),
                    ("connect", {"address": address, "port": SERVICE_PORT, "times": 3 * number}),
                    ("burn", {"seconds": 0.3 * number}),
                )
            truths = [program.done() for program in programs]
            trace.wait_past(max(truth["time_ns"] for truth in truths) + TICK_NS)
            report = trace.stop()
    finally:
        for program in programs:
            program.kill()
    return Fleet(
        kubectl,
        names,
        [nodes[name] for name in names],
        host_pids,
        truths,
        f"service {helpers.namespace}/echo",
        trace,
        report,
    )


def test_pods_are_on_several_nodes_in_one_report(fleet: Fleet, nodes: list[str]) -> None:
    if len(nodes) < 2:
        pytest.skip("the cluster has one node")
    assert len(set(fleet.nodes)) == 2
    assert sorted(fleet.report["target.nodes"]) == sorted(set(fleet.nodes))
    members = {each["pod"]: each["node"] for each in fleet.report["target.members"]}
    assert members == dict(zip(fleet.names, fleet.nodes, strict=True))


def test_figures_of_each_pod_are_exact(fleet: Fleet) -> None:
    for number, (name, truth) in enumerate(zip(fleet.names, fleet.truths, strict=True), 1):
        member = fleet.report.entry("target.members", pod=name)
        assert member["connects_failed"] == 2 * number
        assert member["dns_errors"] == number
        assert member["errors"] == 3 * number
        assert member["cpu_seconds"] == pytest.approx(truth["cpu_ns"] / 1e9, rel=0.03, abs=0.005)
        assert (member["restarts"], member["oom_kills"], member["retransmits"]) == (0, 0, 0)


def test_processes_have_their_pod_and_the_process_id_of_its_node(fleet: Fleet) -> None:
    for number, (name, host_pid) in enumerate(zip(fleet.names, fleet.host_pids, strict=True), 1):
        activity = fleet.report.entry("process_activity", pod=name)
        assert (activity["host_pid"], activity["pid"]) == (host_pid, 1)
        assert activity["operations"]["dns"] == number
        assert activity["operations"]["connections"] == 5 * number
        assert activity["operations"]["filesystem"] == 100 * number + 1
        assert fleet.report.entry("cpu_usage", pod=name, host_pid=host_pid)["container"] == "main"


def test_sums_are_those_of_all_pods(fleet: Fleet) -> None:
    times = sum(range(1, PODS + 1))
    report = fleet.report
    assert report["filesystem.write.count"] == 100 * times
    assert report["dns.errors"] == {"NXDOMAIN": times}
    assert report["connections.attempts"] == 5 * times
    assert report["connections.errors"] == {"ECONNREFUSED": 2 * times}
    [file] = report["filesystem.files"]
    assert (file["path"], file["operations"]) == (DATA, 100 * times)


def test_nothing_is_lost_of_any_stream(fleet: Fleet) -> None:
    report = fleet.report
    assert report["quality.lost_total"] == 0
    assert report["quality.stream.missing_lines"] == 0
    assert report["window.complete"] is True
    for stream in fleet.trace.streams:
        lines = [line for line in fleet.trace.lines() if line.get("stream") == stream]
        assert (lines[0]["kind"], lines[-1]["kind"]) == ("hello", "end")
        assert missing_lines(lines) == 0
    assert [each["complete"] for each in report["quality.tracers"]] == [True] * len(
        fleet.trace.streams
    )


def test_peers_have_the_names_of_services_and_pods(fleet: Fleet, helpers: Kubectl) -> None:
    times = sum(range(1, PODS + 1))
    by_service = fleet.report.entry("connections.targets", name=fleet.service)
    assert (by_service["attempts"], by_service["failed"]) == (3 * times, 0)
    name = f"pod {helpers.namespace}/{SERVERS_POD}"
    by_pod = fleet.report.entry("connections.targets", name=name)
    assert (by_pod["attempts"], by_pod["failed"]) == (2 * times, 2 * times)


def test_report_follows_the_schema(fleet: Fleet) -> None:
    jsonschema.validate(fleet.report.tree, SCHEMA)


def test_replay_gives_the_same_report(fleet: Fleet, kubectl: Kubectl) -> None:
    replayed = kubectl.podtrace("replay", str(fleet.trace.recording), "-o", "json")
    assert json.loads(replayed.stdout) == fleet.report.tree


@pytest.mark.parametrize(
    "words",
    [
        ("deployment/web",),
        ("deploy/web",),
        ("service/web",),
        ("-l", "app=web"),
        ("-l", "tier in (front),app!=other"),
    ],
    ids=" ".join,
)
def test_every_way_to_name_the_pods_selects_the_same(fleet: Fleet, words: tuple[str, ...]) -> None:
    assert planned(fleet, *words) == dict(zip(fleet.names, fleet.nodes, strict=True))


def test_several_pods_are_named_one_by_one(fleet: Fleet) -> None:
    found = planned(fleet, fleet.names[2], f"pod/{fleet.names[0]}")
    assert found == {fleet.names[0]: fleet.nodes[0], fleet.names[2]: fleet.nodes[2]}


def planned(fleet: Fleet, *words: str) -> dict[str, str]:
    """Return the node of each pod that would be traced."""
    tree = json.loads(fleet.kubectl.podtrace(*words, "--dry-run=client", "-o", "json").stdout)
    found = {}
    for job in tree["items"] if tree["kind"] == "List" else [tree]:
        spec = job["spec"]["template"]["spec"]
        arguments = spec["containers"][0]["args"]
        for target in json.loads(arguments[arguments.index("--pods") + 1]):
            found[target["pod"]] = spec["nodeName"]
    return found
