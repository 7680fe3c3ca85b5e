"""Machines with nothing but cgroups of version 1: the same exact counts as anywhere."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel.exact_checks import ExactChecks, ExactRun
from kernel.exact_runs import run_beside_neighbour
from kernel.hidden import VERSION_1, stage_of_version_1
from kernel.pod_tracing import Kubelet, PodTracer, finish, writer
from kernel.servers import DNS_ADDRESS
from kernel.test_connections import greet
from kernel.test_hooks import OLD_KERNEL
from kernel.tracing import Trace
from podtracer.hooks import TP_BTF
from podtracer.root_level import own_ancestors
from workload.stage import Stage, cgroup_mount, remove_cgroup

HIDDEN = {"PODTRACE_HIDE": ",".join(VERSION_1)}
ACCEPTS = 9
LIFETIME_SECONDS = 0.3


@pytest.fixture
def stage() -> Iterator[Stage]:
    yield from stage_of_version_1()


@pytest.fixture(
    scope="module", params=[(), OLD_KERNEL, (f"hook {TP_BTF}",)], ids=["new", "old", "raw"]
)
def by_cgroup(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ExactRun:
    for stage in stage_of_version_1():
        folder = tmp_path_factory.mktemp("cgroup")
        hidden = (*VERSION_1, *request.param)
        return run_beside_neighbour(stage, folder, hidden=hidden)[0]
    raise AssertionError("there is a stage or a skipped test")


class TestCgroup(ExactChecks):
    @pytest.fixture
    def run(self, by_cgroup: ExactRun) -> ExactRun:
        return by_cgroup

    def test_only_the_target_appears(self, run: ExactRun) -> None:
        assert [entry["host_pid"] for entry in run.report["cpu_usage"]] == [run.truth["pid"]]
        assert {e["host_pid"] for e in run.report["process_activity"]} == {run.truth["pid"]}


def test_cgroup_is_told_in_whichever_hierarchy_its_path_is(tmp_path: Path) -> None:
    with Stage("freezer") as stage:
        cgroup = stage.cgroup("target")
        steps = json.dumps([["write_file", {"path": str(stage.folder / "data"), "times": 20}]])
        inside = stage.start("steps.py", steps, cgroups=[cgroup])
        beside = stage.start("steps.py", steps)
        with Trace(tmp_path, "--cgroup", cgroup, environment=HIDDEN) as trace:
            finish(inside, beside)
            trace.wait_tick()
            report = trace.stop()
    assert trace.hello["cgroup_mode"] == "v1"
    assert report["filesystem.write.count"] == 20
    assert {entry["host_pid"] for entry in report["process_activity"]} == {inside.pid}


def test_command_has_a_cgroup_of_the_freezer_and_leaves_none(tmp_path: Path) -> None:
    with Trace(tmp_path, "--", "/bin/sleep", "0.2", environment=HIDDEN) as trace:
        [target] = trace.hello["targets"]
        trace.report()
    assert Path(target["cgroup"]).parent == cgroup_mount("freezer")
    assert not Path(target["cgroup"]).exists()


def test_accepted_connections_are_their_processes(stage: Stage, tmp_path: Path) -> None:
    port = secrets.randbelow(10000) + 20000
    steps = [
        ["listen", {"address": "127.0.0.1", "port": port}],
        ["gate", {}],
        ["accept", {"times": ACCEPTS}],
    ]
    program = stage.start("steps.py", json.dumps(steps), cgroups=[stage.cgroup("server")])
    neighbour = stage.start("steps.py", json.dumps(steps).replace(str(port), str(port + 1)))
    scope = ("--cgroup", stage.cgroups[-1])
    with Trace(tmp_path, *scope, environment=HIDDEN) as trace:
        program.go()
        neighbour.go()
        greet("127.0.0.1", port, ACCEPTS, seconds=LIFETIME_SECONDS)
        greet("127.0.0.1", port + 1, ACCEPTS)
        program.wait_done()
        trace.wait_tick()
        report = trace.stop()
    assert report["connections.accepted"] == ACCEPTS
    assert report["tcp.send.count"] == report["tcp.receive.count"] == ACCEPTS
    series = [line for line in trace.lines() if line["kind"] == "series"]
    lifetimes = [line for line in series if line["metric"] == "connection"]
    assert sum(line["count"] for line in lifetimes) == ACCEPTS
    assert min(line["sum_ns"] / line["count"] for line in lifetimes) >= 1e9 * LIFETIME_SECONDS
    # Round trips are taken from the answers that are acknowledged, none before the accept.
    trips = [line for line in series if line["metric"] == "rtt"]
    assert ACCEPTS <= sum(line["count"] for line in trips) <= 2 * ACCEPTS
    assert {line["process"] for line in (*lifetimes, *trips)} == {program.pid}


@pytest.mark.parametrize("systemd", [False, True], ids=["cgroupfs", "systemd"])
def test_pods_are_told_apart_and_neighbours_left_out(
    stage: Stage, tmp_path: Path, systemd: bool
) -> None:
    stage.start("dns_server.py", "--address", DNS_ADDRESS, "--delay-ms", 1)
    kubelet = Kubelet(stage, root=("node-a",), systemd=systemd)
    web, later = kubelet.pod("web-0"), kubelet.pod("web-1", made=False)
    neighbour = kubelet.pod("web-2")
    programs = {
        "app": writer(stage, web.run("app"), 30),
        "sidecar": writer(stage, web.run("sidecar"), 7),
    }
    noise = [writer(stage, neighbour.run("app"), 500), writer(stage, kubelet.base, 500)]
    ask = [["look_up", {"server": DNS_ADDRESS, "name": "db.shop.test", "times": 9}]]
    with PodTracer(tmp_path, [web.asked(1), later.asked(2)], environment=HIDDEN) as t:
        finish(*programs.values(), *noise)
        later.make()
        cgroup = later.run("app")
        t.wait_ticks(2)
        late = stage.start("steps.py", json.dumps(ask), cgroups=[cgroup])
        finish(late)
        t.wait_ticks(2)
        remove_cgroup(web.folder)
        t.wait_for("event", event="target_gone", target=1)
        t.stop()
    assert t.hello["cgroup_mode"] == "v1"
    assert {state["state"] for state in t.hello["sections"].values()} == {"full"}
    assert t.hello["targets"][0]["cgroup"] == str(web.folder)
    assert t.total("write", target=1) == t.total("write") == 37
    assert t.total("dns", target=2, process=late.pid) == t.total("dns") == 9
    for name, program in programs.items():
        assert t.containers()[program.pid] == name
    assert not {program.pid for program in noise} & t.containers().keys()
    assert all(not any(x["lost"].values()) for x in t.lines() if x["kind"] == "health")


@pytest.mark.parametrize("controller", ["memory", "freezer", None])
def test_own_cgroups_are_told_from_the_kernels_root_on(controller: str | None) -> None:
    """Of a controller's hierarchy, or of that of version 2."""
    subsystem = f"{controller}_cgrp_id" if controller else ""
    with Stage(controller) as stage:
        folders = [cgroup_mount(controller), stage.cgroup("outer")]
        folders.append(stage.cgroup("inner", folders[-1]))
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                (folders[-1] / "cgroup.procs").write_text("0")
                os.write(writing, json.dumps(own_ancestors(subsystem)).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        found = json.loads(os.read(reading, 4096))
        os.close(reading)
        os.close(writing)
        assert found == [folder.stat().st_ino for folder in folders]
