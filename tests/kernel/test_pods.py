"""Pods by their uid: what is theirs, what is their neighbour's, and what comes and goes."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from kernel.pod_tracing import Kubelet, PodTracer, finish, made, twins, writer
from kernel.servers import DNS_ADDRESS
from workload.stage import Stage, StageError, cgroup_mount, remove_cgroup

KILLS = 5
STORM = ("timeout", "60", "sh", "-c", "while :; do /bin/true; done")
"""More programs each second than there are events in a second's budget."""


def test_pods_and_containers_are_told_apart_and_neighbours_left_out(
    stage: Stage, tmp_path: Path
) -> None:
    kubelet = Kubelet(stage, root=("node-a",))
    other = Kubelet(stage, systemd=True)
    web, queue = kubelet.pod("web-0"), other.pod("queue-0", quality="")
    neighbour = kubelet.pod("web-1")
    programs = {
        "app": writer(stage, web.run("app"), 30),
        "sidecar": writer(stage, web.run("sidecar"), 7),
        "worker": writer(stage, queue.run("worker"), 100),
    }
    noise = [writer(stage, neighbour.run("app"), 500), writer(stage, kubelet.base, 500)]
    with PodTracer(
        tmp_path, [web.asked(1), queue.asked(9)], environment={"PODTRACE_NODE": "n1"}
    ) as t:
        finish(*programs.values(), *noise)
        t.wait_ticks(2)
        last = t.stop()
    assert (last["kind"], last["reason"]) == ("end", "signal")
    assert (t.total("write", target=1), t.total("write", target=9)) == (37, 100)
    assert t.total("write") == 137
    for name, program in programs.items():
        assert t.containers()[program.pid] == name
    assert t.total("write", process=programs["sidecar"].pid) == 7
    assert not {program.pid for program in noise} & t.containers().keys()
    assert t.hello["node"] == "n1"
    assert [
        (target["id"], target["type"], target["namespace"], target["pod"], target["containers"])
        for target in t.hello["targets"]
    ] == [
        (1, "pod", "shop", "web-0", ["app", "sidecar"]),
        (9, "pod", "shop", "queue-0", ["worker"]),
    ]
    assert t.hello["targets"][0]["cgroup"] == str(web.folder)
    assert {state["state"] for state in t.hello["sections"].values()} == {"full"}
    assert all(not any(x["lost"].values()) for x in t.lines() if x["kind"] == "health")


def test_one_container_is_traced_through_its_restart(stage: Stage, tmp_path: Path) -> None:
    pod = Kubelet(stage).pod("web-0")
    first, beside = writer(stage, pod.run("app"), 20), writer(stage, pod.run("sidecar"), 500)
    old = pod.containers["app"]
    with PodTracer(tmp_path, [pod.asked(3, only=["app"])]) as t:
        finish(first, beside)
        t.wait_ticks(2)
        folder = pod.run("app")
        remove_cgroup(pod.folder / old)
        pod.link("app")
        # It does its work at once, long before the next look that would come by itself.
        second = writer(stage, folder, 11)
        finish(second)
        t.wait_for("event", event="container_restart")
        t.wait_ticks(2)
        t.stop()
    assert t.hello["targets"][0]["containers"] == ["app"]
    assert (t.total("write", target=3), t.total("write")) == (31, 31)
    assert t.containers() == {first.pid: "app", second.pid: "app"}
    rows = {line["process"]: line for line in t.lines() if line["kind"] == "process"}
    assert rows[first.pid]["start_ns"] is None
    assert t.hello["window_start_ns"] < rows[second.pid]["start_ns"]
    [restart] = t.events("container_restart")
    assert (restart["target"], restart["name"], restart["process"]) == (3, "app", 0)
    assert restart["detail"].startswith(f"{pod.containers['app'][:12]} in place of {old[:12]}")


def test_container_gets_its_name_from_the_log_link_that_comes_later(
    stage: Stage, tmp_path: Path
) -> None:
    pod = Kubelet(stage).pod("web-0")
    with PodTracer(tmp_path, [pod.asked(1)]) as t:
        late = writer(stage, pod.run("late"), 5)
        identity = pod.containers["late"]
        t.wait_for("process", process=late.pid, container=identity[:12])
        pod.link("late")
        t.wait_for("process", process=late.pid, container="late")
        finish(late)
        t.wait_ticks(2)
        t.stop()
    assert t.total("write", process=late.pid) == 5
    assert t.events("container_restart") == []


def test_container_that_ends_before_the_first_tick_has_its_name(
    stage: Stage, tmp_path: Path
) -> None:
    pod = Kubelet(stage).pod("web-0")
    brief = writer(stage, pod.run("setup"), 21)
    with PodTracer(tmp_path, [pod.asked(1)]) as t:
        t.process.send_signal(signal.SIGSTOP)  # as on a machine where others have their turn first
        finish(brief)
        remove_cgroup(pod.folder / pod.containers["setup"])
        t.process.send_signal(signal.SIGCONT)
        t.wait_ticks(2)
        t.stop()
    assert t.total("write", process=brief.pid) == 21
    assert t.containers()[brief.pid] == "setup"


def test_container_that_comes_and_goes_between_two_ticks_has_its_name(
    stage: Stage, tmp_path: Path
) -> None:
    pod = Kubelet(stage).pod("web-0")
    with PodTracer(tmp_path, [pod.asked(1)]) as t:
        t.wait_ticks(1)
        brief = writer(stage, pod.run("setup"), 21)
        finish(brief)
        remove_cgroup(pod.folder / pod.containers["setup"])
        pod.link("setup")
        t.wait_ticks(3)
        t.stop()
    assert t.total("write", process=brief.pid) == 21
    assert t.containers()[brief.pid] == "setup"


def test_pod_that_appears_later_is_traced_with_its_packets(stage: Stage, tmp_path: Path) -> None:
    kubelet = Kubelet(stage, root=("node-a", "inner"))
    stage.start("dns_server.py", "--address", DNS_ADDRESS, "--delay-ms", 1)
    there, later = kubelet.pod("web-0", quality="besteffort"), kubelet.pod("web-1", made=False)
    ask = [["look_up", {"server": DNS_ADDRESS, "name": "db.shop.test", "times": 9}]]
    with PodTracer(tmp_path, [there.asked(1), later.asked(2)]) as t:
        later.make()
        cgroup = later.run("app")
        t.wait_ticks(2)
        programs = [stage.start("steps.py", json.dumps(ask), cgroups=[cgroup])]
        programs.append(writer(stage, cgroup, 12))
        finish(*programs)
        t.wait_ticks(2)
        t.stop()
    assert t.hello["targets"][1]["cgroup"] is None
    assert t.total("write", target=2) == 12
    assert t.total("dns", target=2, process=programs[0].pid) == 9


def test_questions_of_a_pod_are_seen_without_the_right_to_its_packets(
    stage: Stage, tmp_path: Path
) -> None:
    stage.start("dns_server.py", "--address", DNS_ADDRESS, "--delay-ms", 1)
    kubelet = Kubelet(stage)
    pod, neighbour = kubelet.pod("web-0"), kubelet.pod("web-1")
    ask = [["look_up", {"server": DNS_ADDRESS, "name": "db.shop.test", "times": 9}]]
    places = (pod.run("app"), neighbour.run("app"))
    programs = [stage.start("steps.py", json.dumps(ask), cgroups=[place]) for place in places]
    without = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
    with PodTracer(tmp_path, [pod.asked(1)], command=without) as t:
        finish(*programs)
        t.wait_ticks(2)
        t.stop()
    assert t.hello["sections"]["dns"] == {"state": "full", "reason": None}
    reasons = {probe["reason"] for probe in t.hello["probes"] if probe["family"] == "dns"}
    assert all("NET_ADMIN" in reason for reason in reasons)
    assert t.total("dns", target=1, process=programs[0].pid) == t.total("dns") == 9


def test_pod_that_is_nowhere_ends_the_trace_with_what_was_looked_for(
    stage: Stage, tmp_path: Path
) -> None:
    pod = Kubelet(stage).pod("web-0", made=False)
    with PodTracer(tmp_path, [pod.asked(1)]) as t:
        error = t.end()
    assert (error["kind"], error["code"]) == ("error", "no_pod_cgroup")
    assert "pod shop/web-0" in error["message"]
    assert pod.uid in error["message"]
    assert t.process.returncode == 1


def test_trace_ends_when_the_pods_are_gone(stage: Stage, tmp_path: Path) -> None:
    kubelet = Kubelet(stage)
    pods = [kubelet.pod("web-0"), kubelet.pod("web-1")]
    with PodTracer(tmp_path, [pods[0].asked(1), pods[1].asked(2)]) as t:
        remove_cgroup(pods[0].folder)
        t.wait_for("event", event="target_gone", target=1)
        finish(writer(stage, pods[1].run("app"), 3))
        t.wait_ticks(2)
        remove_cgroup(pods[1].folder)
        last = t.end()
    assert last["reason"] == "target_gone"
    assert t.total("write", target=2) == 3
    assert [event["target"] for event in t.events("target_gone")] == [1, 2]


def test_what_a_kubelet_of_version_1_leaves_behind_is_no_pod(stage: Stage, tmp_path: Path) -> None:
    pod, other = Kubelet(stage).pod("web-0"), Kubelet(stage).pod("web-1")
    try:
        folders = twins(pod, "memory", "pids")
    except StageError as error:
        pytest.skip(str(error))
    if pod.folder in folders:
        pytest.skip("needs cgroups of both versions")
    with made(folders), PodTracer(tmp_path, [pod.asked(1), other.asked(2)]) as t:
        for folder in folders:
            folder.rmdir()
        t.wait_for("event", event="target_gone", target=1)
        t.stop()
    assert pod.folder.exists()


@pytest.mark.parametrize("stormy", [False, True])
def test_kill_for_lack_of_memory_is_an_event(stage: Stage, tmp_path: Path, stormy: bool) -> None:
    pod = Kubelet(stage).pod("web-0")
    cgroup = pod.run("app")
    places = [cgroup]
    try:
        memory = cgroup_mount("memory") / cgroup.relative_to(cgroup_mount())
        limit_file = "memory.limit_in_bytes"
    except StageError:
        pytest.skip("needs the memory controller of version 1")
    with made([memory]), PodTracer(tmp_path, [pod.asked(1)]) as t:
        (memory / limit_file).write_text(str(40 << 20))
        hog = ["/usr/bin/python3", "-c", "x = bytearray(400 << 20)"]
        steps = json.dumps([["execute", {"argv": hog, "times": KILLS}]])
        greedy = stage.start("steps.py", steps, cgroups=[memory, *places])
        if stormy:
            steps = json.dumps([["execute", {"argv": STORM}]])
            stage.start("steps.py", steps, cgroups=places).go()
            t.wait_ticks(2)
        greedy.go()
        greedy.wait_done()
        if stormy:
            assert sum(x["suppressed"] for x in t.lines() if x["kind"] == "health") > 0
        t.wait_ticks(2)
        events = t.events("oom_kill")
        t.stop()
    assert [(event["target"], event["detail"]) for event in events] == [(1, "python3")] * KILLS


def test_mark_of_deletion_is_no_order_to_end(stage: Stage, tmp_path: Path) -> None:
    pod = Kubelet(stage).pod("web-0")
    with PodTracer(tmp_path, [pod.asked(1)], environment={"PODTRACE_BARE": "1"}) as t:
        t.process.send_signal(signal.SIGTERM)
        t.wait_ticks(2)
        finish(writer(stage, pod.run("app"), 8))
        t.wait_ticks(1)
        last = t.stop(signal.SIGTERM)
    assert last["reason"] == "signal"
    assert t.total("write") == 8


def test_limit_ends_a_trace_in_order(stage: Stage, tmp_path: Path) -> None:
    pod = Kubelet(stage).pod("web-0")
    # It runs again since the plugin has asked for it.
    before = {"0" * 64: "app"}
    pod.run("app")
    pod.link("app")
    asked = {**pod.asked(1), "containers": before}
    with PodTracer(tmp_path, [asked], "--limit", 1000, "--for", 500) as t:
        t.wait_ticks(1)
        # What the timer sends; to wait for it would be to guess how long loading takes.
        last = t.stop(signal.SIGALRM)
    assert (last["kind"], last["reason"]) == ("end", "limit")
    assert [event["name"] for event in t.events("container_restart")] == ["app"]
