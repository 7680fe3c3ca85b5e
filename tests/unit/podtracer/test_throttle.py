from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from podtracer.cgroups import Hierarchies, hierarchies
from podtracer.target import Scope, Target
from podtracer.throttle import Throttling


class Cgroups:
    """A version 2 hierarchy of two targets in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("a", "b"):
            self.put(name, 0, 0)

    def put(self, path: str, periods: int, usec: int) -> None:
        folder = self.root / path
        folder.mkdir(parents=True, exist_ok=True)
        text = f"usage_usec 77\nnr_periods 90\nnr_throttled {periods}\nthrottled_usec {usec}\n"
        (folder / "cpu.stat").write_text(text)

    def throttling(self) -> Throttling:
        targets = [
            Target(number, "cgroup", name, str(self.root / name))
            for number, name in enumerate(("a", "b"), 1)
        ]
        return Throttling(Scope(targets, Hierarchies(str(self.root), {})))


@pytest.fixture
def cgroups(tmp_path: Path) -> Cgroups:
    return Cgroups(tmp_path)


def test_version_2_counts_microseconds(cgroups: Cgroups) -> None:
    cgroups.put("a", 4, 100)
    throttling = cgroups.throttling()
    cgroups.put("a", 6, 350)
    assert throttling.gains() == {1: (2, 250_000)}


def test_each_cgroup_with_a_quota_is_told_apart(cgroups: Cgroups) -> None:
    cgroups.put("a/x", 1, 10)
    (cgroups.root / "a/none").mkdir()
    (cgroups.root / "a/none/cpu.stat").write_text("usage_usec 77\n")
    throttling = cgroups.throttling()
    cgroups.put("a/x", 3, 15)
    throttling.gains()
    assert throttling.by_cgroup == {
        (1, str(cgroups.root / "a")): (0, 0),
        (1, str(cgroups.root / "a/x")): (2, 5000),
        (2, str(cgroups.root / "b")): (0, 0),
    }


def test_what_was_before_the_trace_and_what_was_told_are_left_out(cgroups: Cgroups) -> None:
    cgroups.put("a", 4, 100)
    throttling = cgroups.throttling()
    assert throttling.gains() == {}
    cgroups.put("a", 5, 101)
    throttling.gains()
    assert throttling.gains() == {}


def test_cgroups_beside_each_other_are_added_up(cgroups: Cgroups) -> None:
    for path in ("a/x", "a/y", "a/y/deep", "b/z"):
        cgroups.put(path, 0, 0)
    throttling = cgroups.throttling()
    cgroups.put("a/x", 2, 20)
    cgroups.put("a/y/deep", 3, 30)
    cgroups.put("b/z", 5, 50)
    assert throttling.gains() == {1: (5, 50_000), 2: (5, 50_000)}


def test_quotas_of_a_pod_and_of_its_containers_are_one_wait(cgroups: Cgroups) -> None:
    for path in ("a/x", "a/y"):
        cgroups.put(path, 0, 0)
    throttling = cgroups.throttling()
    cgroups.put("a", 8, 529)
    cgroups.put("a/x", 8, 642)
    assert throttling.gains() == {1: (8, 642_000)}
    cgroups.put("a", 20, 1000)
    cgroups.put("a/y", 2, 100)
    assert throttling.gains() == {1: (12, 358_000)}


def test_a_pod_that_is_let_go_a_tick_before_its_container_counts_once(cgroups: Cgroups) -> None:
    cgroups.put("a/x", 0, 0)
    throttling = cgroups.throttling()
    cgroups.put("a", 1, 80)
    assert throttling.gains() == {1: (1, 80_000)}
    cgroups.put("a/x", 1, 90)
    assert throttling.gains() == {1: (0, 10_000)}
    assert throttling.gains() == {}


def test_a_cgroup_that_never_had_a_quota_is_no_place(cgroups: Cgroups) -> None:
    (cgroups.root / "a/sandbox").mkdir()
    text = "usage_usec 77\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n"
    (cgroups.root / "a/sandbox/cpu.stat").write_text(text)
    throttling = cgroups.throttling()
    throttling.gains()
    assert (1, str(cgroups.root / "a/sandbox")) not in throttling.by_cgroup


def test_a_cgroup_that_is_met_later_has_no_past(cgroups: Cgroups) -> None:
    throttling = cgroups.throttling()
    cgroups.put("a/late", 9, 900)
    assert throttling.gains() == {}
    cgroups.put("a/late", 10, 950)
    assert throttling.gains() == {1: (1, 50_000)}


def test_a_cgroup_that_goes_takes_nothing_back(cgroups: Cgroups) -> None:
    cgroups.put("a/job", 9, 900)
    throttling = cgroups.throttling()
    (cgroups.root / "a/job/cpu.stat").unlink()
    assert throttling.gains() == {}
    shutil.rmtree(cgroups.root / "a/job")
    assert throttling.gains() == {}


def test_a_cgroup_that_is_made_anew_counts_from_nothing(cgroups: Cgroups) -> None:
    cgroups.put("a/job", 9, 900)
    throttling = cgroups.throttling()
    cgroups.put("a/job", 2, 30)
    assert throttling.gains() == {1: (2, 30_000)}


def test_a_cgroup_without_the_controller_is_never_throttled(cgroups: Cgroups) -> None:
    throttling = cgroups.throttling()
    (cgroups.root / "a/cpu.stat").write_text("usage_usec 500\nuser_usec 300\nsystem_usec 200\n")
    assert throttling.gains() == {}


def test_version_1_counts_nanoseconds_where_the_members_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "unified/demo"
    target.mkdir(parents=True)
    (target / "cgroup.procs").write_text("71\n72\n73\n")
    members = {71: "/quota/one", 72: "/quota/one", 73: "/quota/two"}
    processes = tmp_path / "proc"
    stats = {}
    for pid, path in members.items():
        (processes / str(pid)).mkdir(parents=True)
        lines = f"9:name=systemd:/a\x0cb:c\n5:memory:/elsewhere\n4:cpuacct,cpu:{path}\n0::/demo\n"
        (processes / str(pid) / "cgroup").write_text(lines)
        folder = tmp_path / "cpu" / path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        stats[path] = folder / "cpu.stat"
        stats[path].write_text("nr_periods 9\nnr_throttled 4\nthrottled_time 1000\n")
    monkeypatch.setattr("podtracer.throttle.PROC", str(processes))
    known = Hierarchies(str(tmp_path / "unified"), {"cpu": str(tmp_path / "cpu")})
    throttling = Throttling(Scope([Target(1, "cgroup", "demo", str(target))], known))
    stats["/quota/one"].write_text("nr_periods 9\nnr_throttled 6\nthrottled_time 1700\n")
    stats["/quota/two"].write_text("nr_periods 9\nnr_throttled 5\nthrottled_time 1011\n")
    assert throttling.gains() == {1: (3, 711)}


def test_pods_without_version_2_are_throttled_at_the_same_path_of_the_cpu_controller(
    tmp_path: Path,
) -> None:
    for controller in ("memory", "cpu"):
        (tmp_path / controller / "kubepods/pod1").mkdir(parents=True)
    stat = tmp_path / "cpu/kubepods/pod1/cpu.stat"
    stat.write_text("nr_throttled 4\nthrottled_time 1000\n")

    class Pods(Scope):
        moving = True

    top = str(tmp_path / "memory/kubepods/pod1")
    mounted = {name: str(tmp_path / name) for name in ("memory", "cpu")}
    throttling = Throttling(Pods([Target(1, "pod", "web", top)], Hierarchies("", mounted)))
    stat.write_text("nr_throttled 6\nthrottled_time 1700\n")
    assert throttling.gains() == {1: (2, 700)}


@pytest.mark.parametrize(
    ("controllers", "line"),
    [({}, "0::{}\n"), ({"cpu": "{root}"}, "3:cpu:{}\n0::/elsewhere\n")],
)
def test_a_set_of_processes_is_throttled_where_its_members_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, controllers: dict[str, str], line: str
) -> None:
    for pid, path in ((71, "/job"), (72, "/")):
        (tmp_path / "proc" / str(pid)).mkdir(parents=True)
        (tmp_path / "proc" / str(pid) / "cgroup").write_text(line.format(path))
    (tmp_path / "job").mkdir()
    for folder in (tmp_path, tmp_path / "job"):
        (folder / "cpu.stat").write_text("nr_throttled 0\nthrottled_time 0\n")
    monkeypatch.setattr("podtracer.throttle.PROC", str(tmp_path / "proc"))
    mounted = {name: path.format(root=tmp_path) for name, path in controllers.items()}
    scope = Scope(
        [Target(1, "pid", "job", pid=71)],
        Hierarchies(str(tmp_path), mounted),
        pids={71: 1, 72: 1, 73: 1},
    )
    throttling = Throttling(scope)
    for folder in (tmp_path, tmp_path / "job"):
        (folder / "cpu.stat").write_text("nr_throttled 2\nthrottled_time 30\n")
    # The root's processes are under no quota, and a process that has ended is nowhere.
    assert throttling.gains() == {1: (2, 30)}


def test_this_process_is_found_on_this_machine() -> None:
    scope = Scope([Target(1, "pid", "self", pid=os.getpid())], hierarchies(), pids={os.getpid(): 1})
    assert Throttling(scope).gains() == {}
