"""Setting the launcher up, again, and undoing it; what it refuses to be set up on or to execute."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel.members import Installation, User, refused, set_up
from kernel.tracing import ROOT

QUICK = ("--for", "0.1")


@pytest.fixture
def other() -> Iterator[Installation]:
    """An installation to take apart."""
    made = Installation.make("other")
    yield made
    if made.prefix.exists():
        made.prefix.chmod(0o755)
        made.run("undo")


@pytest.mark.parametrize("part", [".", "tracer"])
@pytest.mark.parametrize("how", ["owner", "mode"])
def test_files_that_others_can_change_are_not_executed(
    other: Installation, part: str, how: str
) -> None:
    user = User(other, 54323, [other.gid])
    target = other.prefix / part
    if how == "owner":
        os.chown(target, user.uid, -1)
    else:
        target.chmod(0o775)
    done = user.launch("--pid", os.getpid(), *QUICK)
    os.chown(target, 0, -1)
    target.chmod(0o755)
    user.close()
    assert refused(done) == "launcher_files"


def test_undo_removes_all_and_a_link_to_the_launcher_has_no_rights_left(
    other: Installation,
) -> None:
    user, kept = User(other, 54323, [other.gid]), other.prefix.parent / f"kept-{os.getpid()}"
    os.link(other.launcher, kept)
    try:
        assert user.run([kept, "--pid", os.getpid(), *QUICK]).returncode == 0
        done = other.run("undo")
        assert done.returncode == 0, done.stderr
        assert not other.prefix.exists()
        groups = Path("/etc/group").read_text()
        assert f"{other.group}:" not in groups
        assert kept.stat().st_mode & 0o777 == 0
        assert "security.capability" not in os.listxattr(kept)
    finally:
        kept.unlink()
        user.close()
    again = other.run("undo")
    assert (again.returncode, again.stdout) == (0, f"nothing is installed in {other.prefix}\n")


def test_undo_leaves_what_others_put_there_and_removes_the_group_all_the_same(
    other: Installation,
) -> None:
    foreign = other.prefix / "notes"
    foreign.touch()
    try:
        done = other.run("undo")
        assert (done.returncode, done.stderr) == (0, "")
        assert list(other.prefix.iterdir()) == [foreign]
        assert f"{other.group}:" not in Path("/etc/group").read_text()
    finally:
        shutil.rmtree(other.prefix)


@pytest.mark.parametrize("command", ["install", "undo"])
def test_folder_of_somebody_else_is_neither_replaced_nor_removed(command: str) -> None:
    prefix = Path("/opt") / f"podtrace-foreign-{os.getpid()}"
    foreign = prefix / "tracer/notes"
    foreign.parent.mkdir(parents=True)
    foreign.touch()
    group = f"podtrace-foreign-{os.getpid()}"
    try:
        done = set_up(command, "--prefix", prefix, "--group", group)
        assert done.returncode == 1
        assert "is something else than podtrace's tracer" in done.stderr
        assert foreign.exists()
        assert f"{group}:" not in Path("/etc/group").read_text()
    finally:
        set_up("undo", "--prefix", prefix, "--group", group)
        shutil.rmtree(prefix, ignore_errors=True)


def test_setting_up_again_replaces_everything(other: Installation) -> None:
    (other.prefix / "tracer" / "podtracer" / "old.py").touch()
    kept = other.prefix.parent / f"kept-{os.getpid()}"
    os.link(other.launcher, kept)
    try:
        assert other.run("install").returncode == 0
        assert "security.capability" not in os.listxattr(kept)
    finally:
        kept.unlink()
    assert not (other.prefix / "tracer" / "podtracer" / "old.py").exists()
    assert (other.prefix / "setup.state").read_text() == f"group={other.group}\n"


def test_setup_by_root_alone_tells_that_nobody_is_in_the_group_yet(other: Installation) -> None:
    nobody = f"nobody is in the group {other.group} yet: run this again with --user NAME\n"
    assert nobody in other.run("install").stdout
    with_daemon = other.run("install", "--user", "daemon")
    assert f"daemon is in the group {other.group} from the next login on\n" in with_daemon.stdout
    for done in (with_daemon, other.run("install")):
        assert f"add others with: usermod -aG {other.group} USER\n" in done.stdout
        assert nobody not in done.stdout


def test_setup_refuses_folders_that_others_can_change(tmp_path: Path) -> None:
    done = set_up("--prefix", "/tmp/podtrace")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        "error: /tmp can be changed by others than root",
    )
    link = Path("/opt") / f"podtrace-link-{os.getpid()}"
    link.symlink_to("/usr")
    try:
        done = set_up("--prefix", link / "podtrace")
    finally:
        link.unlink()
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        f"error: {link} is a link: name the folder that it leads to",
    )


def test_setup_finds_its_own_sources_whatever_cdpath_says(tmp_path: Path) -> None:
    for part in ("scripts", "launcher", "tracer-image"):
        (tmp_path / part).mkdir()
    done = subprocess.run(
        ["bash", "scripts/setup-capabilities.sh", "--dry-run", "--prefix", "/opt/podtrace-dry"],
        cwd=ROOT, env={**os.environ, "CDPATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) not in done.stdout
    assert f"{ROOT}/scripts/../launcher/launcher.c" in done.stdout


def test_dry_run_changes_nothing() -> None:
    prefix = Path("/opt") / f"podtrace-dry-{os.getpid()}"
    done = set_up("--prefix", prefix, "--group", f"podtrace-dry-{os.getpid()}", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would run: setcap cap_bpf" in done.stdout
    assert not prefix.exists()
