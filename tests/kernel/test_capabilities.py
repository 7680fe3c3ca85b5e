"""The capabilities that the tracer pod is given with `--profile capabilities` do, and no fewer."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fake_cluster import FakeApi
from kernel.pod_tracing import Kubelet, Line, PodTracer, finish
from kernel.servers import DNS_ADDRESS, Servers, start_servers
from podtrace.cluster.manifest import CAPABILITIES, MEMLOCK_CAPABILITY
from podtrace.cluster.tracer_node import has_memory_limit
from workload.stage import Stage

WRITES, QUESTIONS, CONNECTS, REFUSED = 37, 9, 5, 3


def given() -> list[str]:
    """Return what the pod is given on a node with this kernel."""
    node = {"status": {"nodeInfo": {"kernelVersion": platform.release()}}}
    limited = has_memory_limit(FakeApi(objects={"/api/v1/nodes/here": node}), "here")
    return [*CAPABILITIES, *((MEMLOCK_CAPABILITY,) if limited else ())]


def trace(stage: Stage, folder: Path, capabilities: Sequence[str]) -> PodTracer:
    """Trace a pod that does a known number of things."""
    servers = start_servers(stage)
    pod = Kubelet(stage).pod("web-0")
    program = stage.start("steps.py", json.dumps(_steps(stage, servers)), cgroups=[pod.run("app")])
    with PodTracer(folder, [pod.asked(1)], capabilities=capabilities) as tracer:
        finish(program)
        tracer.wait_ticks(2)
        tracer.stop()
    return tracer


def _steps(stage: Stage, servers: Servers) -> list[Any]:
    peer = {"address": "127.0.0.1", "port": servers.port, "times": CONNECTS}
    return [
        ["write_file", {"path": str(stage.folder / "data"), "times": WRITES}],
        ["look_up", {"server": DNS_ADDRESS, "name": "db.shop.test", "times": QUESTIONS}],
        ["connect", peer],
        ["connect", {**peer, "port": servers.refused_port, "times": REFUSED}],
    ]


def counts(tracer: PodTracer) -> dict[str, int]:
    """Return what was counted of what the program did."""
    wanted = ("write", "dns", "connect", "connect_attempt")
    return {name: tracer.total(name, target=1) for name in wanted}


DONE = {
    "write": WRITES,
    "dns": QUESTIONS,
    "connect": CONNECTS,
    "connect_attempt": CONNECTS + REFUSED,
}


def test_capabilities_of_the_profile_are_enough_for_everything(
    stage: Stage, tmp_path: Path
) -> None:
    tracer = trace(stage, tmp_path, given())
    assert counts(tracer) == DONE
    assert {state["state"] for state in tracer.hello["sections"].values()} == {"full"}


def test_without_net_admin_dns_is_read_from_calls_and_says_so(stage: Stage, tmp_path: Path) -> None:
    tracer = trace(stage, tmp_path, [name for name in given() if name != "NET_ADMIN"])
    assert counts(tracer) == DONE
    assert {state["state"] for state in tracer.hello["sections"].values()} == {"full"}
    reasons = {probe["reason"] for probe in tracer.hello["probes"] if probe["family"] == "dns"}
    assert all("NET_ADMIN" in reason for reason in reasons)


@pytest.mark.parametrize("missing", ["BPF", "PERFMON", "SYS_PTRACE"])
def test_without_another_one_there_is_one_clear_error(
    stage: Stage, tmp_path: Path, missing: str
) -> None:
    pod = Kubelet(stage).pod("web-0")
    held = [name for name in given() if name != missing]
    with PodTracer(tmp_path, [pod.asked(1)], capabilities=held, wait=False) as tracer:
        error = tracer.end()
    assert tracer.process.returncode == 1
    assert [line["kind"] for line in tracer.lines()] == ["error"]
    assert missing in _text(error)


def _text(error: Line) -> str:
    return f"{error['message']} {error['hint']}"
