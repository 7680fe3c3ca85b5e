"""What is checked before the tracer is started, and the command line that starts it."""

from __future__ import annotations

import grp
import os
import subprocess
import sys
from pathlib import Path

import pytest

from podtrace.errors import StartError
from podtrace.local import installation
from podtrace.local.installation import tracer_command
from podtrace.local.launcher import find_launcher
from podtrace.local.scope import Scope, TracerSettings
from podtrace.wire.version import VERSION

NEEDED = ("podtracer/__main__.py", "bpf/podtrace.h", "podtrace/wire/schema.py")
SUDO = {"SUDO_UID": "1000", "SUDO_GID": "1001"}


def make_folder(folder: Path, files: tuple[str, ...] = NEEDED) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_tracer_of_an_installed_package_is_found(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "podtrace"
    folder = make_folder(package / "_tracer")
    assert installation.tracer_folder(package) == folder


def test_tracer_of_a_checkout_is_found(tmp_path: Path) -> None:
    package = tmp_path / "plugin" / "podtrace"
    package.mkdir(parents=True)
    folder = make_folder(tmp_path / "tracer-image")
    assert installation.tracer_folder(package) == folder


@pytest.mark.parametrize("missing", NEEDED)
def test_incomplete_installation_names_the_missing_file(tmp_path: Path, missing: str) -> None:
    package = tmp_path / "podtrace"
    make_folder(package / "_tracer", tuple(name for name in NEEDED if name != missing))
    (package / "_tracer").mkdir(exist_ok=True)
    with pytest.raises(StartError, match=f"incomplete: .*{missing} is missing"):
        installation.tracer_folder(package)


def test_python_is_the_distributions_unless_chosen() -> None:
    assert installation.tracer_python({"PODTRACE_PYTHON": sys.executable}) == sys.executable
    if os.path.exists(installation.SYSTEM_PYTHON):
        assert installation.tracer_python({}) == installation.SYSTEM_PYTHON


def test_chosen_python_that_is_no_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"PODTRACE_PYTHON names .*/none, which is no program"):
        installation.tracer_python({"PODTRACE_PYTHON": str(tmp_path / "none")})


def test_missing_system_python_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "SYSTEM_PYTHON", "/none/python3")
    with pytest.raises(StartError) as caught:
        installation.tracer_python({})
    assert "python3-bpfcc" in (caught.value.hint or "")


def status(tmp_path: Path, ambient: int) -> Path:
    path = tmp_path / "status"
    path.write_text(f"Name:\tx\nCapEff:\t{0:016x}\nCapAmb:\t{ambient:016x}\n")
    return path


ARGV = ["/opt/kubectl-podtrace", "--local", "--", "sh", "-c", "echo $HOME"]
SUDO_LINE = "run: sudo /opt/kubectl-podtrace --local -- sh -c 'echo $HOME'"


@pytest.fixture
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "has_rights", lambda: False)


@pytest.mark.usefixtures("unprivileged")
def test_user_without_rights_gets_the_sudo_line_and_the_other_way() -> None:
    nowhere = {"PODTRACE_LAUNCHER": "/none"}
    with pytest.raises(StartError, match="may not trace: that takes root") as caught:
        installation.tracer_start(nowhere, ARGV)
    hint = caught.value.hint or ""
    assert hint.startswith(f"{SUDO_LINE}; or let a group trace without it: sudo bash /")
    assert Path(hint.rpartition(" ")[2]).is_file()
    with pytest.raises(StartError) as caught:
        installation.cleanup_command(nowhere, ARGV)
    assert caught.value.hint == SUDO_LINE


@pytest.mark.usefixtures("unprivileged")
def test_user_without_rights_starts_the_launcher_where_there_is_one(tmp_path: Path) -> None:
    launcher = make_launcher(tmp_path)
    start = installation.tracer_start({"PODTRACE_LAUNCHER": str(launcher)}, ARGV)
    assert start == ([str(launcher)], None)


def make_launcher(folder: Path, version: str = VERSION, mode: int = 0o755) -> Path:
    launcher = folder / "podtrace-tracer"
    launcher.touch(mode)
    file = folder / "tracer" / "podtrace" / "wire" / "version.py"
    file.parent.mkdir(parents=True)
    file.write_text(f'"""Text."""\n\nVERSION = "{version}"\n')
    return launcher


def test_root_needs_no_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "has_rights", lambda: True)
    environment = {"PODTRACE_PYTHON": sys.executable, "PODTRACE_LAUNCHER": "/none"}
    start = installation.tracer_start(environment, ARGV)
    assert start.line[:2] == [sys.executable, "-I"]
    assert start.cleanup == [*start.line, "--cleanup"]


def refusal(launcher: Path, user: str = "alice") -> StartError:
    with pytest.raises(StartError) as caught:
        find_launcher({"PODTRACE_LAUNCHER": str(launcher)}, user, "sudo setup")
    return caught.value


def test_tracer_of_another_version_has_to_be_set_up_again(tmp_path: Path) -> None:
    error = refusal(make_launcher(tmp_path, "0.0.1"))
    assert f"is of podtrace 0.0.1, and this is {VERSION}" in error.message
    assert error.hint == "set it up again: sudo setup"


def test_launcher_without_its_tracer_has_to_be_set_up_again(tmp_path: Path) -> None:
    launcher = make_launcher(tmp_path)
    (tmp_path / "tracer" / "podtrace" / "wire" / "version.py").unlink()
    assert refusal(launcher).message == f"the tracer beside {launcher} is incomplete"


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        grp, "getgrgid", lambda gid: grp.struct_group(("tracing", "x", gid, ["alice"]))
    )


@pytest.mark.usefixtures("groups")
def test_who_is_not_in_the_group_is_told_how_to_get_in(tmp_path: Path) -> None:
    error = refusal(make_launcher(tmp_path, mode=0o644), "bob")
    assert error.message == "user bob may not trace: that takes root, or the group tracing"
    assert "sudo usermod -aG tracing bob" in (error.hint or "")


@pytest.mark.usefixtures("groups")
def test_who_is_in_the_group_since_the_login_is_told_to_log_in_again(tmp_path: Path) -> None:
    error = refusal(make_launcher(tmp_path, mode=0o644))
    assert "from the next login on, as a member of the group tracing" in error.message
    assert error.hint == "log in again, or begin a shell in the group: newgrp tracing"


@pytest.mark.parametrize(
    ("capabilities", "enough"),
    [(0, False), (1 << 39, False), (1 << 21, True), (1 << 38 | 1 << 39, True)],
)
def test_ambient_capabilities_give_the_right_if_they_suffice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capabilities: int, enough: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert installation.has_rights(status(tmp_path, capabilities)) == enough


def test_user_behind_sudo_is_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert installation.caller_ids(SUDO) == (1000, 1001)
    assert installation.caller_ids({}) is None
    assert installation.caller_ids({"SUDO_UID": "0", "SUDO_GID": "0"}) is None
    assert installation.caller_ids({"SUDO_UID": "x", "SUDO_GID": "1"}) is None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert installation.caller_ids(SUDO) is None


def tracer_arguments(scope: Scope, settings: TracerSettings | None = None) -> list[str]:
    line = tracer_command(["x", "y"], scope, settings or TracerSettings(), (1000, 1001))
    assert line[:4] == ["x", "y", "--parent", str(os.getpid())]
    return line[4:]


def test_each_scope_has_its_option() -> None:
    assert tracer_arguments(Scope(cgroup="/c")) == ["--cgroup=/c"]
    assert tracer_arguments(Scope(pid=7)) == ["--pid=7"]
    assert tracer_arguments(Scope(container="abc")) == ["--container=abc"]


def test_target_that_looks_like_an_option_is_a_target() -> None:
    assert tracer_arguments(Scope(cgroup="--cleanup")) == ["--cgroup=--cleanup"]


def test_command_runs_as_the_caller_and_comes_last() -> None:
    scope = Scope(command=("ls", "--", "--for"))
    expected = "--command --uid 1000 --gid 1001 --for 1.500000000 -- ls -- --for"
    assert tracer_arguments(scope, TracerSettings(duration_ns=1_500_000_000)) == expected.split()


def test_thresholds_of_the_kernel_side_are_passed_on() -> None:
    settings = TracerSettings(rtt_spike_ns=1, slow_file_ns=2, long_block_ns=3)
    assert tracer_arguments(Scope(pid=7), settings)[1:] == (
        ["--rtt-spike", "1", "--slow-file", "2", "--long-block", "3"]
    )


def test_metrics_are_the_tracers_to_offer() -> None:
    settings = TracerSettings(metrics_at="[::1]:0", metrics_processes=7)
    assert tracer_arguments(Scope(pid=7), settings)[1:] == (
        ["--metrics", "[::1]:0", "--metrics-processes", "7"]
    )


def test_tracer_is_run_from_its_folder_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No PYTHON variable reaches the tracer's imports, and none is added for COMMAND."""
    folder = make_folder(tmp_path / "tracer")
    (folder / "podtracer" / "__init__.py").touch()
    (folder / "podtracer" / "__main__.py").write_text(
        "import os, sys, podtracer\n"
        "print(podtracer.__file__, sys.argv[1:], os.environ.get('PYTHONPATH'))"
    )
    other = tmp_path / "other"
    make_folder(other, ("podtracer/__init__.py", "os.py"))
    monkeypatch.setattr(installation, "has_rights", lambda: True)
    monkeypatch.setattr(installation, "tracer_folder", lambda: folder)
    start = installation.tracer_start({"PODTRACE_PYTHON": sys.executable}, ARGV)
    line = tracer_command(start.line, Scope(pid=7), TracerSettings())
    environment = {**os.environ, "PYTHONPATH": str(other)}
    done = subprocess.run(line, env=environment, cwd=other, capture_output=True, text=True)
    expected = f"{folder}/podtracer/__init__.py ['--parent', '{os.getpid()}', '--pid=7'] {other}"
    assert done.stdout.strip() == expected, done.stderr


def test_scope_is_labelled_for_messages() -> None:
    assert Scope(cgroup="/c").label == "/c"
    assert Scope(pid=7).label == "process 7"
    assert Scope(container="abc").label == "container abc"
    assert Scope(command=("ls", "-l")).label == "ls"
