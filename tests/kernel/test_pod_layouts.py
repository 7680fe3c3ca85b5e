"""Where container runtimes and both cgroup drivers put pods, all of them in one trace."""

from __future__ import annotations

from pathlib import Path

from kernel.pod_tracing import Kubelet, PodTracer, finish, writer
from workload.stage import Stage


def test_pods_of_every_layout_are_counted_apart(stage: Stage, tmp_path: Path) -> None:
    kubelets = [
        Kubelet(stage),
        Kubelet(stage, systemd=True),
        Kubelet(stage, systemd=True, runtime="crio"),
    ]
    pods = [
        kubelet.pod(f"web-{number}", quality)
        for number, (kubelet, quality) in enumerate(
            (kubelet, quality) for kubelet in kubelets for quality in ("burstable", "")
        )
    ]
    neighbours = [kubelet.pod("other-0") for kubelet in kubelets]
    programs = [writer(stage, pod.run("app"), 10 * n) for n, pod in enumerate(pods, start=1)]
    noise = [writer(stage, pod.run("app"), 300) for pod in neighbours]
    with PodTracer(tmp_path, [pod.asked(n) for n, pod in enumerate(pods, start=1)]) as t:
        finish(*programs, *noise)
        t.wait_ticks(2)
        t.stop()
    for number, program in enumerate(programs, start=1):
        assert t.total("write", target=number) == 10 * number
        assert t.total("write", target=number, process=program.pid) == 10 * number
        assert t.containers()[program.pid] == "app"
    assert t.total("write") == 10 * sum(range(1, len(pods) + 1))
    assert not {program.pid for program in noise} & t.containers().keys()
    assert [target["cgroup"] for target in t.hello["targets"]] == [str(p.folder) for p in pods]
    assert {state["state"] for state in t.hello["sections"].values()} == {"full"}
