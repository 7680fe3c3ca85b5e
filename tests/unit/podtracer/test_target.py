from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from podtracer.cgroups import Hierarchies
from podtracer.errors import TracerError
from podtracer.target import (
    Scope,
    Target,
    alive,
    cgroup_scope,
    container_scope,
    family,
    process_scope,
)

ID = "0123456789abcdef" * 4
NOWHERE = Hierarchies("", {})
TREE = """
import os, time
for depth, name in enumerate((b"child", b"a) S 1 (b", b"")):
    if not name or os.fork():
        break
    with open("/proc/self/comm", "wb") as comm:
        comm.write(name)
os.write(1, b"%d %d\\n" % (depth, os.getpid()))
os.wait() if name else time.sleep(60)
"""
"""A process, its child, and the child's child, whose name looks like the end of one."""


@pytest.fixture
def tree() -> Iterator[list[int]]:
    """Yield the PIDs of a process, its child and its grandchild."""
    process = subprocess.Popen([sys.executable, "-c", TREE], stdout=subprocess.PIPE)
    assert process.stdout is not None
    lines = sorted(process.stdout.readline().split() for _ in range(3))
    pids = [int(pid) for _, pid in lines]
    yield pids
    # The others wait for the innermost.
    os.kill(pids[-1], signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.fixture
def zombie() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield process.pid
    process.wait()


@pytest.fixture
def hierarchy(tmp_path: Path) -> Path:
    """Return a version 2 root in a folder."""
    (tmp_path / "cgroup.procs").write_text("1\n")
    return tmp_path


@pytest.fixture
def known(hierarchy: Path) -> Hierarchies:
    return Hierarchies(str(hierarchy), {})


def make(hierarchy: Path, name: str) -> Path:
    folder = hierarchy / name
    folder.mkdir(parents=True)
    (folder / "cgroup.procs").write_text("")
    return folder


def test_family_is_a_process_with_all_its_descendants(tree: list[int]) -> None:
    assert len(set(tree)) == 3
    assert family(tree[0]) == set(tree)
    assert family(tree[1]) == {tree[1], tree[2]}
    assert family(tree[2]) == {tree[2]}
    assert set(tree) <= family(os.getpid())


def test_scope_of_a_process_is_its_family(tree: list[int]) -> None:
    scope = process_scope(tree[1], "", NOWHERE)
    assert scope.pids == {tree[1]: 1, tree[2]: 1}
    assert scope.targets == [Target(1, "pid", "child", pid=tree[1])]
    assert (scope.cgroup_ids, scope.levels) == ({}, ())
    assert process_scope(tree[1], "mine", NOWHERE, "command").targets == [
        Target(1, "command", "mine", pid=tree[1])
    ]


@pytest.mark.parametrize("pid", [0, -1])
def test_what_is_no_process_id(pid: int) -> None:
    with pytest.raises(TracerError, match=f"^{pid} is not a process id$") as caught:
        process_scope(pid, "", NOWHERE)
    assert caught.value.code == "no_process"


def test_a_process_that_does_not_exist() -> None:
    gone = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    with pytest.raises(TracerError, match=f"^there is no process {gone}$") as caught:
        process_scope(gone, "", NOWHERE)
    assert caught.value.code == "no_process"
    assert not alive(gone)


def test_a_process_that_has_ended_but_was_not_waited_for(zombie: int) -> None:
    with pytest.raises(TracerError, match=f"^there is no process {zombie}$"):
        process_scope(zombie, "", NOWHERE)
    assert not alive(zombie)


def test_a_thread_is_told_from_its_process() -> None:
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        with pytest.raises(TracerError, match="is a thread of process") as caught:
            process_scope(thread.native_id or 0, "", NOWHERE)
    finally:
        ended.set()
        thread.join()
    assert caught.value.hint == f"Trace the process: --pid {os.getpid()}"


def test_a_running_process_is_alive(tree: list[int]) -> None:
    assert alive(tree[0])


def test_scope_of_a_cgroup(hierarchy: Path, known: Hierarchies) -> None:
    folder = make(hierarchy, "demo/app")
    scope = cgroup_scope("demo/app", "", known)
    assert scope.targets == [Target(1, "cgroup", "app", str(folder))]
    assert scope.cgroup_ids == {folder.stat().st_ino: 1}
    assert (scope.levels, scope.pids) == ((2,), {})
    assert cgroup_scope("demo/app", "mine", known).targets[0].name == "mine"


def test_scope_of_a_cgroup_of_version_1_goes_by_the_hierarchy_that_it_is_in(tmp_path: Path) -> None:
    known = Hierarchies("", {name: str(tmp_path / name) for name in ("memory", "cpu")})
    for name in ("memory", "memory/demo", "cpu/demo", "cpu/demo/app"):
        make(tmp_path, name)
    scope = cgroup_scope(str(tmp_path / "cpu/demo"), "", known)
    assert scope.targets[0].cgroup == str(tmp_path / "cpu/demo")
    assert (scope.known.subsystem, scope.levels) == ("cpu_cgrp_id", (1,))
    assert cgroup_scope("demo", "", known).known.subsystem == "memory_cgrp_id"
    assert cgroup_scope("demo/app", "", known).known.subsystem == "cpu_cgrp_id"


def test_scope_of_a_container_has_the_short_id_for_a_name(
    hierarchy: Path, known: Hierarchies
) -> None:
    folder = make(hierarchy, f"pod/{ID}")
    scope = container_scope(ID, "", known)
    assert scope.targets == [Target(1, "container", ID[:12], str(folder))]
    assert scope.levels == (2,)
    assert container_scope(ID, "web", known).targets[0].name == "web"
    assert container_scope(f"containerd://{ID}", "", known).targets[0].name == ID[:12]


def test_a_target_is_described_with_what_it_has() -> None:
    assert Target(3, "cgroup", "app", "/sys/fs/cgroup/app").as_fields() == {
        "id": 3,
        "type": "cgroup",
        "name": "app",
        "cgroup": "/sys/fs/cgroup/app",
        "pid": None,
        "namespace": None,
        "pod": None,
    }
    fields = Target(1, "pid", "sh", pid=77).as_fields()
    assert (fields["cgroup"], fields["pid"]) == (None, 77)


def test_packets_are_seen_at_the_targets_or_at_the_root_for_processes() -> None:
    v2, v1 = Hierarchies("/cg", {}), Hierarchies("", {"cpu": "/cpu"})
    targets = [Target(1, "cgroup", "a", "/cg/a"), Target(2, "cgroup", "b", "/cg/b")]
    process = [Target(1, "pid", "sh", pid=7)]
    assert Scope(targets, v2, {1: 1}, (1,)).packet_cgroups == ("/cg/a", "/cg/b")
    assert Scope(process, v2, pids={7: 1}).packet_cgroups == ("/cg",)
    assert Scope(process, v1, pids={7: 1}).packet_cgroups == ()


def test_a_cgroup_that_was_removed_or_made_anew_is_gone(
    hierarchy: Path, known: Hierarchies
) -> None:
    folder = make(hierarchy, "demo")
    scope = cgroup_scope("demo", "", known)
    assert scope.gone() == []
    folder.rename(hierarchy / "kept")
    assert scope.gone() == list(scope.cgroup_ids)
    make(hierarchy, "demo")
    assert scope.gone() == list(scope.cgroup_ids)
