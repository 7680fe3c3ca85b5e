"""The own cgroup's memory file, in the ways that containers see their hierarchies."""

from __future__ import annotations

from pathlib import Path

import pytest

from podtracer.own_memory import own_memory_file

POD = "/kubepods/burstable/podu1/abc"


class Machine:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = folder / "self"
        self.process.mkdir()
        self.mounts = ""
        self.cgroups = ""

    def mount(self, kind: str, root: str, point: str, options: str = "rw") -> Path:
        path = self.folder / point
        path.mkdir(parents=True, exist_ok=True)
        self.mounts += f"31 23 0:28 {root} {path} rw,nosuid - {kind} {kind} {options}\n"
        return path

    def file(self) -> str | None:
        (self.process / "mountinfo").write_text(self.mounts)
        (self.process / "cgroup").write_text(self.cgroups)
        return own_memory_file(str(self.process))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_own_cgroup_of_version_2_is_the_root_of_its_namespace(machine: Machine) -> None:
    machine.cgroups = "0::/\n"
    file = machine.mount("cgroup2", "/", "cg") / "memory.current"
    file.write_text("1")
    assert machine.file() == str(file)


def test_own_cgroup_of_version_2_in_the_whole_hierarchy(machine: Machine) -> None:
    machine.cgroups = f"0::{POD}\n"
    inside = machine.mount("cgroup2", "/", "cg") / POD[1:]
    inside.mkdir(parents=True)
    (inside / "memory.current").write_text("1")
    assert machine.file() == str(inside / "memory.current")


def test_own_cgroup_of_version_1_is_all_there_is_of_the_hierarchy(machine: Machine) -> None:
    machine.cgroups = f"5:cpu,cpuacct:{POD}\n4:memory:{POD}\n0::{POD}\n"
    machine.mount("cgroup2", POD, "unified")
    file = machine.mount("cgroup", POD, "memory", "rw,memory") / "memory.usage_in_bytes"
    file.write_text("1")
    assert machine.file() == str(file)


def test_root_of_a_machine_is_not_the_tracers_own(machine: Machine) -> None:
    machine.cgroups = "4:memory:/\n0::/\n"
    point = machine.mount("cgroup", "/", "memory", "rw,memory")
    (point / "memory.usage_in_bytes").write_text("1")
    (point / "release_agent").write_text("")
    assert machine.file() is None


def test_hierarchy_that_is_not_mounted(machine: Machine) -> None:
    machine.cgroups = f"0::{POD}\n"
    assert machine.file() is None
    machine.mount("cgroup2", "/", "cg")
    assert machine.file() is None
