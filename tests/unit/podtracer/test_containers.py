"""Container names come from the kubelet's log links, else from the id."""

from __future__ import annotations

from pathlib import Path

from podtracer.cgroups import Hierarchies
from podtracer.containers import ContainerNames
from podtracer.target import Scope, Target

APP = "a1" * 32
SIDECAR = "b2" * 32


def names_of(pod: Path, links: Path) -> ContainerNames:
    scope = Scope([Target(1, "cgroup", "pod", str(pod))], Hierarchies(str(pod.parent), {}))
    return ContainerNames(scope, str(links))


def test_container_is_named_by_its_log_link(tmp_path: Path) -> None:
    pod, links = tmp_path / "pod", tmp_path / "links"
    folder = pod / f"cri-containerd-{APP}.scope"
    folder.mkdir(parents=True)
    links.mkdir()
    (links / f"web-0_shop_my-app-{APP}.log").touch()

    assert names_of(pod, links).name(folder.stat().st_ino) == "my-app"


def test_container_without_a_log_link_is_named_by_its_id(tmp_path: Path) -> None:
    pod = tmp_path / "pod"
    inner = pod / SIDECAR / "worker"
    inner.mkdir(parents=True)

    assert names_of(pod, tmp_path / "links").name(inner.stat().st_ino) == SIDECAR[:12]


def test_container_that_has_ended_meanwhile_has_its_name(tmp_path: Path) -> None:
    pod, links = tmp_path / "pod", tmp_path / "links"
    folder = pod / APP
    folder.mkdir(parents=True)
    links.mkdir()
    (links / f"web-0_shop_setup-{APP}.log").touch()
    names = names_of(pod, links)
    cgroup = folder.stat().st_ino
    folder.rmdir()

    assert names.name(cgroup) == "setup"


def test_container_that_only_the_scope_has_seen_has_its_name(tmp_path: Path) -> None:
    class Remembering(Scope):
        def container_at(self, cgroup: int) -> str | None:
            return {7: APP}.get(cgroup)

    scope = Remembering([Target(1, "cgroup", "pod", str(tmp_path))], Hierarchies("", {}))
    names = ContainerNames(scope, str(tmp_path / "links"))

    assert names.container(7) == APP
    assert names.name(7) == APP[:12]


def test_cgroup_of_no_container_has_no_name(tmp_path: Path) -> None:
    pod = tmp_path / "pod"
    pod.mkdir()
    names = names_of(pod, tmp_path / "links")

    assert names.name(pod.stat().st_ino) is None
    assert names.name(1) is None


def test_container_that_starts_later_is_found(tmp_path: Path) -> None:
    pod = tmp_path / "pod"
    pod.mkdir()
    names = names_of(pod, tmp_path / "links")
    assert names.name(pod.stat().st_ino) is None
    later = pod / APP
    later.mkdir()

    assert names.name(later.stat().st_ino) == APP[:12]
