"""Pods in folders that stand for the node's hierarchies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from podtracer.cgroups import Hierarchies
from podtracer.containers import LOG_LINKS
from podtracer.errors import TracerError
from podtracer.pod_scope import MISSED_NS, PodScope
from podtracer.pods import Pod
from podtracer.target import Changes

SECOND = 1_000_000_000
UIDS = [f"6c6b1d2e-aa00-4ef0-bd8c-00000000000{number}" for number in range(5)]
WEB, WEB2, SIDE, PAUSE = ("a1" * 32, "b2" * 32, "c3" * 32, "d4" * 32)


class Node:
    """A node's file system in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.unified = root / "sys/fs/cgroup/unified"
        self.memory = root / "sys/fs/cgroup/memory"
        self.links = Path(f"{root}{LOG_LINKS}")
        self.controllers: dict[str, str] = {}
        for folder in (self.unified, self.memory, self.links):
            folder.mkdir(parents=True)

    def cgroup(self, *path: str) -> Path:
        folder = self.unified.joinpath("kubepods", *path)
        folder.mkdir(parents=True)
        return folder

    def link(self, identity: str, name: str) -> None:
        (self.links / f"web-0_shop_{name}-{identity}.log").touch()

    def scope(self, *pods: Pod) -> PodScope:
        known = Hierarchies(str(self.unified), self.controllers)
        return PodScope(pods, known, str(self.root), 0)

    def scope_of_version_1(self, *pods: Pod) -> PodScope:
        known = Hierarchies("", {"memory": str(self.memory), "cpu": str(self.root / "cpu")})
        return PodScope(pods, known, str(self.root), 0)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def pod(number: int = 1, only: Sequence[str] = (), **containers: str) -> Pod:
    names = {identity: name for name, identity in containers.items()}
    return Pod(number, "shop", f"web-{number}", UIDS[number], names, tuple(only))


def number_of(folder: Path) -> int:
    return folder.stat().st_ino


def test_pods_are_traced_at_their_own_directories(node: Node) -> None:
    first = node.cgroup("burstable", f"pod{UIDS[1]}")
    second = node.cgroup(f"pod{UIDS[2]}")
    node.cgroup("burstable", f"pod{UIDS[1]}", WEB)
    node.cgroup("burstable", f"pod{UIDS[1]}", PAUSE)
    scope = node.scope(pod(1, web=WEB), pod(2))
    assert scope.cgroup_ids == {number_of(first): 1, number_of(second): 2}
    assert scope.first_changes().added == {
        number_of(first): str(first),
        number_of(second): str(second),
    }
    assert scope.levels == (2, 3)
    web = scope.targets[0].as_fields()
    assert (web["type"], web["namespace"], web["pod"]) == ("pod", "shop", "web-1")
    assert web["cgroup"] == f"/sys/fs/cgroup/unified/kubepods/burstable/pod{UIDS[1]}"
    assert web["containers"] == ["web"]
    assert scope.folders(2) == [str(second)]
    assert scope.changes(SECOND) == Changes()


def test_only_the_named_container_is_traced(node: Node) -> None:
    folder = node.cgroup("burstable", f"pod{UIDS[1]}", WEB)
    node.cgroup("burstable", f"pod{UIDS[1]}", SIDE)
    scope = node.scope(pod(1, ["web"], web=WEB, side=SIDE))
    assert scope.cgroup_ids == {number_of(folder): 1}
    assert scope.levels == (4,)
    assert scope.targets[0].containers == ("web",)


def test_container_that_comes_later_needs_its_name(node: Node) -> None:
    parent = node.cgroup("burstable", f"pod{UIDS[1]}")
    scope = node.scope(pod(1, ["web"]))
    assert (scope.cgroup_ids, scope.levels) == ({}, (4,))
    folder = node.cgroup("burstable", f"pod{UIDS[1]}", WEB)
    assert scope.changes(SECOND).added == {}
    assert scope.arrivals() == [str(parent), str(node.links)]
    node.link(WEB, "web")
    changed = scope.changes(2 * SECOND)
    assert changed.added == {number_of(folder): str(folder)}
    assert changed.named == {WEB}
    assert changed.events == []
    assert scope.container_names == {WEB: "web"}
    assert scope.arrivals() == [str(parent)]


def test_container_that_comes_to_a_whole_pod_is_noticed_at_once(node: Node) -> None:
    parent = node.cgroup("burstable", f"pod{UIDS[1]}")
    node.cgroup("burstable", f"pod{UIDS[1]}", PAUSE)
    assert node.scope(pod(1)).arrivals() == [str(parent)]


def test_container_that_ended_without_a_name_still_gets_one(node: Node) -> None:
    node.cgroup("burstable", f"pod{UIDS[1]}")
    scope = node.scope(pod(1, web=WEB))
    folder = node.cgroup("burstable", f"pod{UIDS[1]}", WEB2)
    cgroup = number_of(folder)
    assert scope.container_at(cgroup) is None
    scope.changes(SECOND)
    folder.rmdir()
    assert scope.changes(2 * SECOND) == Changes()
    assert scope.container_at(cgroup) == WEB2
    node.link(WEB2, "web")
    changed = scope.changes(3 * SECOND)
    assert changed.named == {WEB2}
    assert [event["event"] for event in changed.events] == ["container_restart"]
    assert scope.container_names[WEB2] == "web"


def test_container_in_anothers_place_is_a_restart(node: Node) -> None:
    old = node.cgroup("burstable", f"pod{UIDS[1]}", WEB)
    scope = node.scope(pod(1, web=WEB))
    scope.exit_code_of = {number_of(old): 137}.get
    old.rmdir()
    assert scope.changes(SECOND).events == []
    node.cgroup("burstable", f"pod{UIDS[1]}", WEB2)
    node.link(WEB2, "web")
    [event] = scope.changes(2 * SECOND).events
    assert event == {
        "event": "container_restart",
        "process": 0,
        "target": 1,
        "name": "web",
        "detail": f"{WEB2[:12]} in place of {WEB[:12]}, which ended with exit code 137",
    }
    assert scope.changes(3 * SECOND) == Changes()


def test_restart_since_the_pod_was_looked_up_is_told_first(node: Node) -> None:
    node.cgroup("burstable", f"pod{UIDS[1]}", WEB2)
    node.link(WEB2, "web")
    scope = node.scope(pod(1, web=WEB))
    assert [event["name"] for event in scope.first_changes().events] == ["web"]
    assert scope.changes(SECOND).events == []


def test_what_a_runtime_left_of_an_earlier_container_is_no_restart(node: Node) -> None:
    node.cgroup("burstable", f"pod{UIDS[1]}", WEB)
    now = node.cgroup("burstable", f"pod{UIDS[1]}", WEB2)
    assert number_of(now) > number_of(now.parent / WEB)
    node.link(WEB, "web")
    scope = node.scope(pod(1, web=WEB2))
    assert scope.first_changes().events == []
    assert scope.changes(SECOND).events == []


def test_restart_of_a_container_that_is_not_wanted_is_not_told(node: Node) -> None:
    node.cgroup("burstable", f"pod{UIDS[1]}", SIDE)
    scope = node.scope(pod(1, ["web"], web=WEB, side=SIDE))
    node.cgroup("burstable", f"pod{UIDS[1]}", WEB2)
    node.link(WEB2, "side")
    assert scope.changes(SECOND).events == []


def test_container_without_a_link_is_not_looked_up_for_ever(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.cgroup("burstable", f"pod{UIDS[1]}", PAUSE)
    scope = node.scope(pod(1))
    looked: list[str] = []
    monkeypatch.setattr("podtracer.pod_scope.log_links", lambda folder: looked.append(folder) or {})
    scope.changes(29 * SECOND)
    assert len(looked) == 1
    scope.changes(31 * SECOND)
    assert len(looked) == 1


def test_pod_that_is_not_there_yet_is_awaited_at_every_likely_level(node: Node) -> None:
    quality = node.cgroup("besteffort")
    node.cgroup(f"pod{UIDS[1]}")
    scope = node.scope(pod(1), pod(2))
    assert scope.levels == (2, 3)
    assert scope.targets[1].as_fields()["cgroup"] is None
    folder = node.cgroup("besteffort", f"pod{UIDS[2]}")
    assert str(quality) in scope.arrivals()
    assert scope.changes(SECOND).added == {number_of(folder): str(folder)}
    assert str(quality) not in scope.arrivals()


def test_levels_count_from_the_kernels_root(node: Node) -> None:
    node.cgroup(f"pod{UIDS[1]}")
    known = Hierarchies(str(node.unified), {}, level=3)
    assert PodScope([pod(1)], known, str(node.root), 0).levels == (5,)


def test_pods_at_more_depths_than_can_be_told_apart(node: Node) -> None:
    base = node.unified
    for number in range(5):
        base = base / "deeper"
        (base / f"pod{UIDS[number]}").mkdir(parents=True)
    with pytest.raises(TracerError, match="at 5 different depths") as caught:
        node.scope(*(Pod(n + 1, "shop", "web", UIDS[n]) for n in range(5)))
    assert caught.value.code == "too_many_levels"


def test_pod_that_comes_at_a_depth_that_is_not_compiled_in_is_an_error(node: Node) -> None:
    node.cgroup(f"pod{UIDS[1]}")
    scope = node.scope(pod(1), pod(2))
    (node.unified / "a/b/c/d/e" / f"pod{UIDS[2]}").mkdir(parents=True)
    with pytest.raises(TracerError) as caught:
        scope.changes(6 * SECOND)
    assert caught.value.code == "unexpected_level"


def test_pod_that_is_nowhere_is_an_error_after_a_while(node: Node) -> None:
    node.cgroup("burstable")
    scope = node.scope(pod(1))
    scope.changes(MISSED_NS)
    with pytest.raises(TracerError) as caught:
        scope.changes(MISSED_NS + SECOND)
    assert caught.value.code == "no_pod_cgroup"
    assert f"pod shop/web-1 (uid {UIDS[1]})" in caught.value.message
    assert "below /sys/fs/cgroup/unified" in caught.value.message


def test_trace_is_over_when_all_pods_have_been_gone_for_a_while(node: Node) -> None:
    first, second = node.cgroup(f"pod{UIDS[1]}"), node.cgroup(f"pod{UIDS[2]}")
    scope = node.scope(pod(1), pod(2))
    identity = number_of(first)
    first.rmdir()
    changed = scope.changes(20 * SECOND)
    assert changed.removed == [identity]
    assert changed.events == [{"event": "target_gone", "process": 0, "target": 1}]
    assert scope.changes(21 * SECOND) == Changes()
    second.rmdir()
    scope.changes(22 * SECOND)
    assert not scope.is_over(22 * SECOND)
    assert not scope.is_over(21 * SECOND + MISSED_NS)
    assert scope.is_over(22 * SECOND + MISSED_NS)


def test_pod_that_comes_back_is_traced_again(node: Node) -> None:
    folder = node.cgroup(f"pod{UIDS[1]}")
    scope = node.scope(pod(1))
    folder.rename(folder.with_name("kept"))
    scope.changes(SECOND)
    folder.mkdir()
    assert scope.changes(2 * SECOND).added == {number_of(folder): str(folder)}


def test_directory_that_a_kubelet_of_version_1_left_behind_is_gone(node: Node) -> None:
    node.controllers["memory"] = str(node.memory)
    folder = node.cgroup("burstable", f"pod{UIDS[1]}")
    twin = node.memory / folder.relative_to(node.unified)
    twin.mkdir(parents=True)
    scope = node.scope(pod(1))
    assert scope.cgroup_ids == {number_of(folder): 1}
    twin.rmdir()
    (folder / "cgroup.procs").write_text("77\n")
    assert scope.changes(SECOND) == Changes()
    (folder / "cgroup.procs").write_text("")
    assert [event["event"] for event in scope.changes(2 * SECOND).events] == ["target_gone"]
    assert scope.changes(3 * SECOND) == Changes()
    twin.mkdir()
    assert scope.changes(4 * SECOND).added == {number_of(folder): str(folder)}


@pytest.mark.parametrize(
    ("folder", "container"),
    [
        (f"kubepods/burstable/pod{UIDS[1]}", WEB),
        (f"kubepods/burstable/pod{UIDS[1]}", f"crio-{WEB}"),
        (
            "kubepods.slice/kubepods-burstable.slice/"
            f"kubepods-burstable-pod{UIDS[1].replace('-', '_')}.slice",
            f"crio-{WEB}.scope",
        ),
    ],
)
def test_pod_of_a_node_without_version_2_is_found_by_a_controller(
    node: Node, folder: str, container: str
) -> None:
    place = node.memory / folder / container
    place.mkdir(parents=True)
    scope = node.scope_of_version_1(pod(1, app=WEB))
    assert scope.targets[0].cgroup == f"/sys/fs/cgroup/memory/{folder}"
    assert scope.cgroup_ids == {number_of(place.parent): 1}
    assert scope.levels == (3,)
    place.rmdir()
    place.parent.rmdir()
    assert [event["event"] for event in scope.changes(SECOND).events] == ["target_gone"]
