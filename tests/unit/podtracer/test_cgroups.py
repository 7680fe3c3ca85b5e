from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from podtracer.cgroups import (
    Hierarchies,
    cgroup_id,
    container_folder,
    container_of,
    depth,
    hierarchies,
    processes,
    resolve,
)
from podtracer.errors import TracerError

ID = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4
V2 = "31 23 0:28 / {} rw,nosuid shared:9 master:2 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "32 31 0:29 / {} rw,relatime - cgroup cgroup rw,{}"
Folder = Callable[..., str]


def read(path: Path, *lines: str) -> Hierarchies:
    mountinfo = path / "mountinfo"
    mountinfo.write_bytes(os.fsencode("\n".join(lines) + "\n"))
    return hierarchies(str(mountinfo))


def test_version_2_alone(tmp_path: Path) -> None:
    known = read(tmp_path, "1 0 8:1 / / rw - ext4 /dev/sda1 rw", V2.format("/sys/fs/cgroup"))
    assert known == Hierarchies("/sys/fs/cgroup", {})
    assert known.mode == "v2"


def test_version_1_alone_has_its_controllers(tmp_path: Path) -> None:
    known = read(
        tmp_path,
        V1.format("/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct"),
        V1.format("/sys/fs/cgroup/systemd", "xattr,name=systemd"),
    )
    assert (known.unified, known.mode) == ("", "v1")
    assert known.controllers["cpu"] == "/sys/fs/cgroup/cpu,cpuacct"
    assert known.controllers["cpuacct"] == "/sys/fs/cgroup/cpu,cpuacct"
    assert known.controllers["name=systemd"] == "/sys/fs/cgroup/systemd"


def test_both_versions_together_are_hybrid(tmp_path: Path) -> None:
    known = read(tmp_path, V1.format("/c/cpu", "cpu"), V2.format("/c/unified"))
    assert (known.unified, known.controllers["cpu"], known.mode) == (
        "/c/unified",
        "/c/cpu",
        "hybrid",
    )


def test_the_first_mount_of_each_counts(tmp_path: Path) -> None:
    known = read(
        tmp_path,
        V2.format("/first"),
        V2.format("/second"),
        V1.format("/cpu-first", "cpu"),
        V1.format("/cpu-second", "cpu"),
    )
    assert (known.unified, known.controllers["cpu"]) == ("/first", "/cpu-first")


def test_version_2_can_be_hidden_from_a_test(tmp_path: Path) -> None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(V1.format("/c/cpu", "cpu") + "\n" + V2.format("/c/unified") + "\n")
    known = hierarchies(str(mountinfo), hidden=frozenset({"cgroup2"}))
    assert (known.mode, known.top) == ("v1", "/c/cpu")


def test_escapes_in_paths_are_undone(tmp_path: Path) -> None:
    known = read(tmp_path, V2.format(r"/a\040b\011c\134d\012e"), V1.format(r"/x\040-\040y", "cpu"))
    assert known.unified == "/a b\tc\\d\ne"
    assert known.controllers["cpu"] == "/x - y"


@pytest.mark.parametrize("separator", ["\r", "\f", "\x1c", "\x85", "\u2028", "\udcff"])
def test_only_the_newline_ends_a_mount(tmp_path: Path, separator: str) -> None:
    strange = f"9 8 0:5 / /mnt/a{separator}b rw - tmpfs tmpfs rw"
    assert read(tmp_path, strange, V2.format("/sys/fs/cgroup")).unified == "/sys/fs/cgroup"


def test_this_machine_s_mounts_can_be_read() -> None:
    known = hierarchies()
    assert known.mode in ("v1", "v2", "hybrid")
    for path in (known.unified, *known.controllers.values()):
        assert not path or os.path.isdir(path)


@pytest.fixture
def make(tmp_path: Path) -> Folder:
    """Return a maker of cgroups: folders with the list of their processes."""

    def made(path: str, *pids: int) -> str:
        folder = tmp_path.resolve() / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
        return str(folder)

    return made


@pytest.fixture
def known(make: Folder) -> Hierarchies:
    controllers = {"cpu": make("cpu"), "memory": make("memory")}
    return Hierarchies(make("unified", 1, 2, 3), controllers)


@pytest.mark.parametrize(
    "given",
    [
        "{root}/unified/demo/app",
        "{root}/unified/demo/app/",
        "{root}/unified/demo/../demo/app",
        "{root}/cpu/demo/app",
        "{root}/memory/demo/app",
        "/demo/app",
        "demo/app",
        "demo//app/",
        "./demo/app",
    ],
)
def test_a_cgroup_is_found_however_it_is_spelled(
    tmp_path: Path, make: Folder, known: Hierarchies, given: str
) -> None:
    folder = make("unified/demo/app")
    make("unified/demo")
    make("cpu/demo/app")
    assert resolve(given.format(root=tmp_path.resolve()), known) == (folder, known)


def test_a_link_into_a_hierarchy_is_followed(
    tmp_path: Path, make: Folder, known: Hierarchies
) -> None:
    folder = make("unified/demo")
    (tmp_path / "link").symlink_to(make("cpu/demo"))
    assert resolve(str(tmp_path / "link"), known) == (folder, known)


@pytest.mark.parametrize(
    "given", ["{root}/unified", "{root}/unified/", "{root}/cpu", "/", "", ".", "demo/..", "/.."]
)
def test_a_root_is_refused_with_the_number_of_its_processes(
    tmp_path: Path, make: Folder, known: Hierarchies, given: str
) -> None:
    make("unified/demo")
    with pytest.raises(TracerError, match="it holds 3 processes") as caught:
        resolve(given.format(root=tmp_path.resolve()), known)
    assert caught.value.code == "root_cgroup"


@pytest.mark.parametrize(
    "given",
    [
        "{root}/unified/nothing",
        "{root}/elsewhere",
        "nothing",
        "{root}/cpu/nothing",
        "{root}/unified-demo",
    ],
)
def test_a_cgroup_that_does_not_exist(
    tmp_path: Path, make: Folder, known: Hierarchies, given: str
) -> None:
    for name in ("elsewhere", "unified/demo", "unified-demo"):
        make(name)
    path = given.format(root=tmp_path.resolve())
    with pytest.raises(TracerError) as caught:
        resolve(path, known)
    assert caught.value.code == "no_cgroup"
    assert caught.value.message == f"there is no cgroup {path!r}"
    assert caught.value.hint == f"List cgroups with: find {known.unified} -type d"


def test_a_cgroup_of_version_1_alone_beside_version_2(
    tmp_path: Path, make: Folder, known: Hierarchies
) -> None:
    path = make("cpu/only-there")
    with pytest.raises(TracerError) as caught:
        resolve(path, known)
    assert caught.value.message.startswith(f"{path!r} is a cgroup of version 1, and cgroups are")
    assert caught.value.message.endswith(f" here, {known.unified}")
    assert "--pid PID" in caught.value.hint


def test_a_folder_that_is_no_cgroup(tmp_path: Path, known: Hierarchies) -> None:
    (tmp_path / "unified/plain").mkdir()
    with pytest.raises(TracerError) as caught:
        resolve("plain", known)
    assert caught.value.code == "no_cgroup"


def test_without_a_controller_there_is_nothing_to_resolve() -> None:
    for find in (resolve, container_folder):
        with pytest.raises(TracerError) as caught:
            find(ID, Hierarchies("", {"name=systemd": "/sys/fs/cgroup/systemd"}))
        assert caught.value.code == "no_cgroups"


@pytest.fixture
def version_1(make: Folder) -> Hierarchies:
    names = ("cpu", "blkio", "memory", "name=systemd")
    return Hierarchies("", {name: make(name, 1, 2) for name in names})


def test_version_2_tells_cgroups_apart_wherever_it_is_mounted(known: Hierarchies) -> None:
    assert (known.top, known.controller, known.subsystem) == (known.unified, "", "")
    assert known.choosing("cpu") == known


def test_without_version_2_the_controller_that_every_runtime_uses_tells_cgroups_apart(
    version_1: Hierarchies,
) -> None:
    assert (version_1.controller, version_1.subsystem) == ("memory", "memory_cgrp_id")
    assert version_1.top == version_1.controllers["memory"]


@pytest.mark.parametrize(
    ("controller", "subsystem"),
    [
        ("cpu", "cpu_cgrp_id"),
        ("blkio", "io_cgrp_id"),
        ("freezer", "memory_cgrp_id"),
        ("name=systemd", "memory_cgrp_id"),
    ],
)
def test_a_controller_that_is_mounted_can_be_chosen(
    version_1: Hierarchies, controller: str, subsystem: str
) -> None:
    assert version_1.choosing(controller).subsystem == subsystem


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("{root}/cpu/demo", "cpu/demo"),
        ("{root}/memory/demo", "memory/demo"),
        ("demo", "memory/demo"),
        ("demo/only", "blkio/demo/only"),
        ("{root}/name=systemd/demo", "memory/demo"),
        ("{root}/cpu/demo/only", "blkio/demo/only"),
    ],
)
def test_a_cgroup_of_version_1_is_found_where_it_is(
    tmp_path: Path, make: Folder, version_1: Hierarchies, given: str, found: str
) -> None:
    for path in ("cpu/demo", "memory/demo", "blkio/demo/only", "name=systemd/demo"):
        make(path)
    folder, chosen = resolve(given.format(root=tmp_path.resolve()), version_1)
    assert folder == str(tmp_path.resolve() / found)
    assert chosen.controller == found.split("/")[0]
    assert depth(folder, chosen) == len(found.split("/")) - 1


@pytest.mark.parametrize("given", ["{root}/cpu", "/", "{root}/name=systemd"])
def test_a_root_of_version_1_is_refused(tmp_path: Path, version_1: Hierarchies, given: str) -> None:
    with pytest.raises(TracerError, match="it holds 2 processes"):
        resolve(given.format(root=tmp_path.resolve()), version_1)


def test_a_container_is_found_in_version_1(make: Folder, version_1: Hierarchies) -> None:
    make(f"cpu/docker/{ID}")
    folder = make(f"memory/docker/{ID}")
    assert container_folder(ID, version_1) == folder


CONTAINERS = [
    f"kubepods/burstable/pod1/{ID}",
    f"kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope",
    f"kubepods.slice/kubepods-pod1.slice/crio-{ID}.scope",
    f"kubepods/pod1/crio-{ID}",
    f"system.slice/docker-{ID}.scope",
    f"docker/{ID}",
    f"machine.slice/libpod-{ID}.scope",
    f"libpod_parent/libpod-{ID}",
]


@pytest.mark.parametrize("path", CONTAINERS)
@pytest.mark.parametrize(
    "given", [ID, ID[:12], ID[:40], f"containerd://{ID}", f"docker://{ID[:12]}", ID.upper()]
)
def test_a_container_is_found_by_the_names_of_all_runtimes(
    make: Folder, known: Hierarchies, path: str, given: str
) -> None:
    folder = make(f"unified/{path}")
    make(f"unified/kubepods/pod2/{OTHER}")
    assert container_folder(given, known) == folder


@pytest.mark.parametrize("path", CONTAINERS)
def test_a_cgroup_is_in_the_innermost_container_of_its_path(path: str) -> None:
    assert container_of(f"/sys/fs/cgroup/{path}") == ID
    assert container_of(f"/sys/fs/cgroup/{path}/init.scope/deep") == ID
    assert container_of(f"/sys/fs/cgroup/docker/{OTHER}/{path}") == ID


def test_a_cgroup_that_is_in_no_container() -> None:
    for path in ("", "/", "/user.slice/session-1.scope", f"/x-{ID}", f"/crio-conmon-{ID}.scope"):
        assert container_of(path) == ""


def test_a_monitor_beside_its_container_is_not_the_container(
    make: Folder, known: Hierarchies
) -> None:
    folder = make(f"unified/pod/crio-{ID}.scope")
    make(f"unified/pod/crio-conmon-{ID}.scope")
    assert container_folder(ID, known) == folder


def test_the_outermost_of_nested_folders_of_a_container_is_taken(
    make: Folder, known: Hierarchies
) -> None:
    folder = make(f"unified/pod/libpod-{ID}.scope")
    make(f"unified/pod/libpod-{ID}.scope/container/{ID}")
    assert container_folder(ID, known) == folder


def test_a_beginning_that_several_containers_share_is_refused(
    make: Folder, known: Hierarchies
) -> None:
    make(f"unified/pod/{ID}")
    make(f"unified/pod/{ID[:-1]}0")
    with pytest.raises(TracerError, match=f"2 containers begin with '{ID[:12]}'") as caught:
        container_folder(ID[:12], known)
    assert caught.value.code == "ambiguous_container"
    assert container_folder(ID, known) == os.path.join(known.unified, "pod", ID)


def test_a_container_that_does_not_run(make: Folder, known: Hierarchies) -> None:
    make(f"unified/pod/{OTHER}")
    with pytest.raises(TracerError) as caught:
        container_folder(ID, known)
    assert caught.value.code == "no_container"


@pytest.mark.parametrize("given", ["", ID[:11], ID + "0", "nginx-0123456789ab", "../" + ID[:12]])
def test_what_is_no_container_id(known: Hierarchies, given: str) -> None:
    with pytest.raises(TracerError) as caught:
        container_folder(given, known)
    assert caught.value.code == "bad_container"


def test_depth_and_identity_of_a_cgroup(make: Folder, known: Hierarchies) -> None:
    make("unified/a/b")
    folder = make("unified/a/b/c")
    assert depth(folder, known) == 3
    assert depth(make("unified/a"), known) == 1
    assert cgroup_id(folder) == os.stat(folder).st_ino


def test_processes_are_those_of_a_cgroup_and_of_all_below_it(tmp_path: Path, make: Folder) -> None:
    make("unified/a", 10, 11)
    make("unified/a/b", 12)
    make("unified/other", 13)
    (tmp_path / "unified/a/unreadable").mkdir()
    assert sorted(processes(str(tmp_path / "unified/a"))) == [10, 11, 12]
