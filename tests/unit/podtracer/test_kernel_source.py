from __future__ import annotations

import fcntl
import multiprocessing
import os
import re
import shutil
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from btf_blob import Blob
from podtracer import kernel_source
from podtracer.btf import Btf, BtfError
from podtracer.kernel_source import KernelSource, KernelSourceError, prepare

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do it")
NEEDS = {"struct task_struct": ("pid",)}
KERNEL_H = "include/podtrace/kernel.h"


def blob(offset: int = 0) -> bytes:
    made = Blob()
    u32 = made.integer("unsigned int", 4)
    made.struct("task_struct", 64, [("pid", u32, offset * 8)])
    return made.encoded()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache"


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Let permissions count although the tests may run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def trees(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.name != ".lock")


def assert_right(source: KernelSource, offset: int = 0) -> None:
    text = (source.path / KERNEL_H).read_text()
    assert "u32 pid;" in text
    assert (f"[{offset}]" in text) == bool(offset)
    assert (source.path / "include/linux/kconfig.h").is_file()


def test_first_use_makes_the_tree_and_the_second_finds_it(cache: Path) -> None:
    first = prepare(cache, blob(), NEEDS)
    second = prepare(cache, Btf(blob()), NEEDS)
    assert (first.made, second.made) == (True, False)
    assert first.path == second.path
    assert not first.temporary
    assert_right(second)
    assert trees(cache) == [first.path.name]


def test_a_cached_tree_stays_after_cleanup(cache: Path) -> None:
    with prepare(cache, blob(), NEEDS) as source:
        pass
    assert_right(source)


def test_a_hit_does_not_parse_the_btf(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(cache, blob(), NEEDS)
    monkeypatch.setattr(kernel_source, "Btf", None)
    monkeypatch.setattr(kernel_source, "emit", None)
    assert not prepare(cache, blob(), NEEDS).made


def test_another_kernel_gets_another_tree(cache: Path) -> None:
    assert_right(prepare(cache, blob(0), NEEDS), 0)
    assert_right(prepare(cache, blob(8), NEEDS), 8)
    assert_right(prepare(cache, blob(0), NEEDS), 0)
    assert len(trees(cache)) == 2


def test_other_needs_get_another_tree(cache: Path) -> None:
    one = prepare(cache, blob(), NEEDS)
    other = prepare(cache, blob(), {"struct task_struct": ()})
    assert one.path != other.path


def test_another_kernel_release_gets_another_tree(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = prepare(cache, blob(), NEEDS)
    uname = os.uname()
    renamed = os.uname_result((*uname[:2], "5.10.0-31-amd64", *uname[3:]))
    monkeypatch.setattr(os, "uname", lambda: renamed)
    other = prepare(cache, blob(), NEEDS)
    assert one.path != other.path
    machine = (other.path / "include/podtrace/machine.h").read_text()
    assert f"LINUX_VERSION_CODE {5 << 16 | 10 << 8}\n" in machine


@pytest.mark.parametrize("release", ["6.18.44-fc-v657", "6.1.0", "5.4.302+", "4.19", "6.x", ""])
def test_any_kernel_release_gives_a_version_code(release: str) -> None:
    text = kernel_source.machine_header(release, 65536)
    match = re.search(r"LINUX_VERSION_CODE (\d+)$", text, re.MULTILINE)
    assert match is not None
    numbers = [int(number) for number in re.findall(r"\d+", release)[:3]]
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    assert int(match[1]) == major * 65536 + minor * 256 + min(patch, 255)
    assert "PAGE_SHIFT 16\n" in text


def damage_cut(tree: Path) -> None:
    header = tree / KERNEL_H
    header.write_bytes(header.read_bytes()[:-3])


def damage_empty(tree: Path) -> None:
    (tree / KERNEL_H).write_bytes(b"")


def damage_removed(tree: Path) -> None:
    (tree / "include/linux/types.h").unlink()


def damage_added(tree: Path) -> None:
    (tree / "include/linux/compiler.h").write_text("#error planted\n")


def damage_no_manifest(tree: Path) -> None:
    (tree / "manifest.json").unlink()


def damage_cut_manifest(tree: Path) -> None:
    manifest = tree / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:40])


def damage_odd_manifest(tree: Path) -> None:
    (tree / "manifest.json").write_text("[1, 2]")


def damage_link(tree: Path) -> None:
    header = tree / KERNEL_H
    copy = tree.parent.parent / "copy.h"
    shutil.copy(header, copy)
    header.unlink()
    header.symlink_to(copy)


def damage_everything(tree: Path) -> None:
    shutil.rmtree(tree / "include")


def damage_file_instead(tree: Path) -> None:
    shutil.rmtree(tree)
    tree.write_text("no folder")


DAMAGES = [value for name, value in list(globals().items()) if name.startswith("damage_")]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_torn_tree_is_made_again(cache: Path, damage: object) -> None:
    tree = prepare(cache, blob(), NEEDS).path
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    assert callable(damage)
    damage(tree)
    again = prepare(cache, blob(), NEEDS)
    assert again.made
    assert not again.temporary
    assert again.path == tree
    after = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    assert after == before
    assert not any(path.is_symlink() for path in tree.rglob("*"))
    assert not prepare(cache, blob(), NEEDS).made


def test_a_tree_moved_under_another_key_is_stale(cache: Path) -> None:
    one = prepare(cache, blob(0), NEEDS).path
    other = prepare(cache, blob(8), NEEDS).path
    shutil.rmtree(other)
    shutil.copytree(one, other)
    assert_right(prepare(cache, blob(8), NEEDS), 8)


def race(cache: Path, start: Barrier) -> None:
    start.wait()
    for _ in range(20):
        source = prepare(cache, blob(), NEEDS)
        assert_right(source)
        assert not source.temporary


@pytest.mark.parametrize("before", ["nothing", "torn"])
def test_processes_at_once_all_get_a_whole_tree(cache: Path, before: str) -> None:
    if before == "torn":
        damage_cut(prepare(cache, blob(), NEEDS).path)
    context = multiprocessing.get_context("fork")
    start = context.Barrier(6)
    workers = [context.Process(target=race, args=(cache, start)) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 6
    source = prepare(cache, blob(), NEEDS)
    assert not source.made
    assert trees(cache) == [source.path.name]


def assert_temporary(source: KernelSource) -> None:
    with source:
        assert source.temporary
        assert source.made
        assert_right(source)
        path = source.path
        assert path.stat().st_mode & 0o077 == 0
    assert not path.exists()
    source.cleanup()


@pytest.mark.usefixtures("unprivileged")
def test_a_read_only_cache_gives_a_temporary_tree() -> None:
    assert_temporary(prepare(Path("/proc/podtrace"), blob(), NEEDS))
    assert_temporary(prepare(Path("/usr/lib/podtrace-cache"), blob(), NEEDS))


def test_a_cache_path_that_is_a_file_gives_a_temporary_tree(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    assert_temporary(prepare(tmp_path / "cache", blob(), NEEDS))


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777, 0o702])
def test_a_cache_that_others_can_write_into_is_not_trusted(cache: Path, mode: int) -> None:
    tree = prepare(cache, blob(), NEEDS).path
    cache.chmod(mode)
    assert_temporary(prepare(cache, blob(), NEEDS))
    cache.chmod(0o700)
    found = prepare(cache, blob(), NEEDS)
    assert (found.path, found.made) == (tree, False)


def test_a_cache_below_a_folder_of_others_is_not_trusted(cache: Path) -> None:
    cache.parent.mkdir()
    cache.parent.chmod(0o777)
    assert_temporary(prepare(cache, blob(), NEEDS))
    cache.parent.chmod(0o1777)
    assert not prepare(cache, blob(), NEEDS).temporary


@needs_root
def test_a_cache_of_another_user_is_not_trusted(cache: Path) -> None:
    prepare(cache, blob(), NEEDS)
    os.chown(cache, 65534, 65534)
    assert_temporary(prepare(cache, blob(), NEEDS))


def test_a_lock_held_for_ever_gives_a_temporary_tree(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_source, "_LOCK_SECONDS", 0.05)
    cache.mkdir(parents=True, mode=0o700)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert_temporary(prepare(cache, blob(), NEEDS))


def test_no_place_at_all_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("")
    monkeypatch.setattr(kernel_source.tempfile, "tempdir", str(tmp_path / "cache"))
    monkeypatch.setattr(kernel_source, "_MEMORY", tmp_path / "nowhere")
    with pytest.raises(KernelSourceError, match="cache"):
        prepare(tmp_path / "cache", blob(), NEEDS)


def test_unreadable_btf_is_a_btf_error_and_leaves_nothing(cache: Path) -> None:
    with pytest.raises(BtfError):
        prepare(cache, blob()[:-1], NEEDS)
    assert trees(cache) == []


def test_trees_that_nobody_uses_are_deleted(cache: Path) -> None:
    used = prepare(cache, blob(0), NEEDS).path
    unused = prepare(cache, blob(4), NEEDS).path
    unfinished = cache / ".new-abandoned"
    unfinished.mkdir()
    foreign = cache / "notes"
    foreign.mkdir()
    ages = {used: 20, unused: 40, unfinished: 1, foreign: 400}
    for path, days in ages.items():
        os.utime(path, times=(time.time() - days * 86400,) * 2)
    newest = prepare(cache, blob(8), NEEDS).path
    assert trees(cache) == sorted([used.name, newest.name, foreign.name])


def test_using_a_tree_keeps_it_from_deletion(cache: Path) -> None:
    used = prepare(cache, blob(0), NEEDS).path
    os.utime(used, times=(0, 0))
    prepare(cache, blob(0), NEEDS)
    prepare(cache, blob(8), NEEDS)
    assert used.exists()


def test_without_a_folder_for_temporary_files_memory_holds_the_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("")
    (tmp_path / "memory").mkdir()
    monkeypatch.setattr(kernel_source.tempfile, "tempdir", str(tmp_path / "cache"))
    monkeypatch.setattr(kernel_source, "_MEMORY", tmp_path / "memory")
    source = prepare(tmp_path / "cache", blob(), NEEDS)
    assert source.path.parent == tmp_path / "memory"
    assert_temporary(source)


def refuse_chroot(path: object) -> None:
    raise PermissionError(path)


@pytest.mark.parametrize("may_change_root", [False, pytest.param(True, marks=needs_root)])
def test_compiling_points_bcc_into_the_tree_and_restores_all(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, may_change_root: bool
) -> None:
    if not may_change_root:
        monkeypatch.setattr(os, "chroot", refuse_chroot)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CPATH", "/hostile")
    monkeypatch.setenv("BCC_KERNEL_SOURCE", "/before")
    monkeypatch.delenv("ARCH", raising=False)
    source = prepare(cache, blob(), NEEDS)

    def compile_and_fail() -> None:
        with source.compiling():
            inside = Path("/") if may_change_root else source.path
            assert os.environ["BCC_KERNEL_SOURCE"] == str(inside)
            assert "CPATH" not in os.environ
            assert Path.cwd() == inside
            assert Path("include/linux/kconfig.h").exists()
            assert Path("/etc/passwd").exists() is not may_change_root
            raise ArithmeticError

    open_before = os.listdir("/proc/self/fd")
    with pytest.raises(ArithmeticError):
        compile_and_fail()
    assert os.environ["BCC_KERNEL_SOURCE"] == "/before"
    assert os.environ["CPATH"] == "/hostile"
    assert "ARCH" not in os.environ
    assert Path.cwd() == tmp_path
    assert Path("/etc/passwd").exists()
    assert len(os.listdir("/proc/self/fd")) == len(open_before)
