"""Where the node's files are seen, in a folder that stands for /proc."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podtracer import node
from podtracer.errors import TracerError
from podtracer.node import node_files

V2 = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = "32 23 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"


def process(proc: Path, pid: int, mounts: str, root: bool = True) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "mountinfo").write_text(mounts)
    if root:
        (folder / "root" / "sys" / "fs" / "cgroup").mkdir(parents=True)


@pytest.fixture(autouse=True)
def level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "root_level", lambda top, subsystem: 3)


def test_node_is_what_its_first_process_sees(tmp_path: Path) -> None:
    process(tmp_path, 1, V1 + V2)
    process(tmp_path, 2, V2)
    root, known = node_files(str(tmp_path))
    assert root == f"{tmp_path}/1/root"
    assert known.unified == f"{tmp_path}/1/root/sys/fs/cgroup"
    assert known.controllers["cpu"] == f"{tmp_path}/1/root/sys/fs/cgroup/cpu"
    assert (known.mode, known.level) == ("hybrid", 3)


def test_next_process_serves_where_the_first_may_not_be_looked_into(tmp_path: Path) -> None:
    process(tmp_path, 1, V2, root=False)
    process(tmp_path, 12, V2)
    process(tmp_path, 9, V2)
    assert node_files(str(tmp_path))[0] == f"{tmp_path}/9/root"


def test_own_child_serves_as_little_as_the_tracer_itself(tmp_path: Path) -> None:
    process(tmp_path, 1, V2, root=False)
    process(tmp_path, 9, V2)
    (tmp_path / "9" / "stat").write_text(f"9 (pod tracer)) S {os.getpid()} 9 9 0 -1")
    with pytest.raises(TracerError) as caught:
        node_files(str(tmp_path))
    assert caught.value.code == "no_node_root"


def test_node_without_version_2_is_told_by_a_controller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(node, "root_level", lambda *asks: asked.append(asks) or 2)
    process(tmp_path, 1, V1)
    _, known = node_files(str(tmp_path))
    top = f"{tmp_path}/1/root/sys/fs/cgroup/cpu"
    assert (known.mode, known.top, known.level) == ("v1", top, 2)
    assert asked == [(top, "cpu_cgrp_id")]


def test_version_2_can_be_hidden_from_a_test(tmp_path: Path) -> None:
    process(tmp_path, 1, V1 + V2)
    assert node_files(str(tmp_path), frozenset({"cgroup2"}))[1].mode == "v1"


def test_node_without_cgroups(tmp_path: Path) -> None:
    process(tmp_path, 1, "33 23 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n")
    with pytest.raises(TracerError) as caught:
        node_files(str(tmp_path))
    assert caught.value.code == "no_cgroups"


def test_no_process_may_be_looked_into(tmp_path: Path) -> None:
    process(tmp_path, 1, V2, root=False)
    with pytest.raises(TracerError) as caught:
        node_files(str(tmp_path))
    assert caught.value.code == "no_node_root"
    assert "SYS_PTRACE" in caught.value.hint


def test_level_of_the_kernels_own_root_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    from podtracer import root_level

    def stat(path: str) -> os.stat_result:
        return os.stat_result((0, 1, *[0] * 8))

    monkeypatch.setattr(root_level.os, "stat", stat)
    assert root_level.root_level("/sys/fs/cgroup", "") == 0


@pytest.mark.parametrize(("ancestors", "level"), [([1, 50, 77, 90], 2), ([1, 77], 1)])
def test_level_is_where_the_mount_stands_among_the_own_ancestors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ancestors: list[int], level: int
) -> None:
    from podtracer import root_level

    inode = tmp_path.stat().st_ino
    found = [inode if number == 77 else number for number in ancestors]
    monkeypatch.setattr(root_level, "own_ancestors", lambda subsystem: found)
    assert root_level.root_level(str(tmp_path), "") == level


def test_level_of_a_mount_that_is_not_around_the_tracer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from podtracer import root_level

    monkeypatch.setattr(root_level, "own_ancestors", lambda subsystem: [1, 2])
    with pytest.raises(TracerError, match="the tracer is not below it"):
        root_level.root_level(str(tmp_path), "")


def test_own_view_is_not_the_nodes(tmp_path: Path) -> None:
    process(tmp_path, os.getpid(), V2)
    with pytest.raises(TracerError) as caught:
        node_files(str(tmp_path))
    assert caught.value.code == "no_node_root"
