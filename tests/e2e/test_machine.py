"""That the cluster itself is fit to test on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from e2e.conftest import Images
from e2e.kubectl import CHECKOUT, PATIENCE_SECONDS, Kubectl, pod
from e2e.machine import control_groups
from e2e.machine.cluster import Cluster, sweep
from e2e.machine.images import PAUSE_IMAGE
from e2e.machine.plan import Plan
from e2e.machine.processes import start_time
from e2e.outages import Outages

NODES = ("node-a", "node-b")


def test_both_nodes_run_pods_that_reach_one_another_by_service(
    namespace: Kubectl, machine: Cluster, images: Images
) -> None:
    program = (
        "import http.server as h;"
        "h.HTTPServer(('', 8000), h.SimpleHTTPRequestHandler).serve_forever()"
    )
    for node in NODES:
        web = pod(f"web-{node}", images.workload, ["-c", program], node=node)
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"web-{node}"},
            "spec": {
                "selector": {"app": f"web-{node}"},
                "ports": [{"port": 80, "targetPort": 8000}],
            },
        }
        namespace.apply(web, service)
    namespace.wait_for_pods(*(f"web-{node}" for node in NODES))
    addresses = [namespace.get("service", f"web-{node}")["spec"]["clusterIP"] for node in NODES]
    for node in NODES:
        for address in addresses:
            fetch = f"import urllib.request as u; u.urlopen('http://{address}', timeout=30)"
            _retried(namespace, "exec", f"web-{node}", "--", "python3", "-c", fetch)
    with urllib.request.urlopen(f"http://{addresses[0]}", timeout=30) as answer:
        assert answer.status == 200


def test_log_is_followed_from_the_first_line_to_the_last_over_rotations(
    namespace: Kubectl, machine: Cluster, images: Images
) -> None:
    lines, width = 12_000, 100
    program = (
        "import time\n"
        f"for n in range({lines}):\n"
        f"    print(str(n).rjust({width}), flush=True)\n"
        "    n % 100 or time.sleep(0.1)\n"
    )
    namespace.apply(pod("writer", images.workload, ["-c", program], restartPolicy="Never"))
    namespace.wait_for_pods("writer")
    followed = namespace.run("logs", "--follow", "writer").stdout.split()
    assert followed == [str(n) for n in range(lines)]
    left = namespace.run("logs", "writer").stdout.split()
    assert len(left) < lines, "the log was not rotated"


def test_a_job_is_run_and_removed_with_its_pod(namespace: Kubectl, images: Images) -> None:
    template = pod("once", images.workload, ["-c", "print('done')"], restartPolicy="Never")
    namespace.apply(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "once"},
            "spec": {
                "ttlSecondsAfterFinished": 2,
                "backoffLimit": 0,
                "template": {"metadata": template["metadata"], "spec": template["spec"]},
            },
        }
    )
    namespace.wait("condition=Complete", "job/once")
    namespace.wait("delete", "job/once")
    namespace.wait("delete", "pod", "--selector=app=once")


def test_a_user_without_rights_is_refused(namespace: Kubectl, machine: Cluster) -> None:
    stranger = namespace.as_user(machine.plan.kubeconfig_of("dev"))
    assert "Forbidden" in stranger.run("get", "pods", check=False).stderr


def test_api_server_comes_back_with_what_it_knew(namespace: Kubectl, outages: Outages) -> None:
    with outages.outage():
        assert namespace.run("get", "serviceaccounts", check=False).code != 0
    assert namespace.get("serviceaccount", "default")["metadata"]["name"] == "default"


def test_a_cluster_whose_tests_were_killed_is_removed_by_the_next(machine: Cluster) -> None:
    program = (
        "import time; from e2e.machine.cluster import Cluster;"
        "print(Cluster.up(owned=True).plan.number, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "tests")},
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        try:
            assert owner.stdout is not None
            other = Cluster(Plan(int(owner.stdout.readline())))
            everywhere = Kubectl(other.kubectl, other.plan.kubeconfig, "default")
            for node in NODES:
                everywhere.apply(pod(f"pause-{node}", PAUSE_IMAGE, node=node))
            everywhere.wait_for_pods(*(f"pause-{node}" for node in NODES))
            assert len(_container_links(other)) == 2
            processes = [record.pid for record in other.processes.records.values()]
            processes += control_groups.processes(other.plan.cgroup)
            sweep()
            assert all(map(start_time, processes)), "swept although its tests ran"
        finally:
            owner.kill()
    sweep()
    assert not any(map(start_time, processes))
    assert not other.plan.directory.exists()
    assert not Path("/sys/class/net", other.plan.link).exists()
    assert str(other.plan.directory) not in Path("/proc/self/mountinfo").read_text()
    for hierarchy in control_groups.hierarchies():
        assert not Path(hierarchy, other.plan.cgroup.strip("/")).exists()
    assert not _container_links(other)
    assert machine.control.answers()


def _container_links(cluster: Cluster) -> list[Path]:
    """Return the links to logs that the cluster's kubelets have made on the machine."""
    links = Path("/var/log/containers").iterdir()
    return [link for link in links if link.readlink().is_relative_to(cluster.plan.directory)]


def _retried(namespace: Kubectl, *command: str) -> None:
    """Run until it works: a Service's rules follow its pods by a moment."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while namespace.run(*command, check=False).code:
        if time.monotonic() > deadline:
            pytest.fail(str(namespace.run(*command, check=False)))
        time.sleep(0.5)
