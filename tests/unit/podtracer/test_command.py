from __future__ import annotations

import os
import pwd
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from podtracer.cgroups import Hierarchies
from podtracer.command import Command, Held, find_program
from podtracer.command_cgroup import remove_leftovers
from podtracer.errors import TracerError

NOWHERE = Hierarchies("", {})
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
Start = Callable[..., Command]


def program(folder: Path, name: str = "tool", mode: int = 0o755, text: str = "#!/bin/sh\n") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


def error_of(name: str, path: str | None = None) -> TracerError:
    with pytest.raises(TracerError) as caught:
        find_program(name, path)
    return caught.value


def test_a_program_is_found_on_the_path(tmp_path: Path) -> None:
    program(tmp_path / "second")
    first = program(tmp_path / "first")
    path = f"{tmp_path}/empty:{tmp_path}/first:{tmp_path}/second"
    assert find_program("tool", path) == str(first)


def test_a_program_given_by_its_path_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = program(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert find_program("./tool", None) == str(found)
    assert find_program(str(found), "") == str(found)
    assert find_program("tool", ".") == str(found)


def test_a_name_is_not_looked_for_beside_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path)
    monkeypatch.chdir(tmp_path)
    error = error_of("tool", "/nonexistent")
    assert (error.code, error.message) == ("no_command", "there is no program 'tool'")


def test_a_path_to_nothing(tmp_path: Path) -> None:
    assert error_of(f"{tmp_path}/nothing").code == "no_command"


def test_a_file_without_the_right_to_execute_and_a_folder(tmp_path: Path) -> None:
    path = program(tmp_path, mode=0o644)
    for name, on_path in ((str(path), None), (str(tmp_path), None), ("tool", str(tmp_path))):
        error = error_of(name, on_path)
        assert error.code == "not_executable"
    assert error.message == f"'{path}' is not an executable file"
    assert error.hint.endswith(f"-- sh {path}")


@pytest.fixture
def made() -> Iterator[Start]:
    """Return a maker of commands in no cgroup, which are ended with the test."""
    commands = []

    def make(*argv: str, uid: int | None = None, gid: int | None = None) -> Command:
        commands.append(Command(argv, uid, gid, NOWHERE))
        return commands[-1]

    yield make
    for command in commands:
        command.end()


def wait(command: Command) -> int:
    deadline = time.monotonic() + 20
    while (code := command.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return code


def test_command_does_nothing_before_it_is_let_go(made: Start, tmp_path: Path) -> None:
    command = made("touch", f"{tmp_path}/touched")
    time.sleep(0.1)
    assert not (tmp_path / "touched").exists()
    assert command.poll() is None
    command.start()
    assert wait(command) == 0
    assert (tmp_path / "touched").exists()


def test_command_is_the_process_that_was_forked(made: Start, tmp_path: Path) -> None:
    command = made("sh", "-c", f'echo "$$" "$0" "$@" > {tmp_path}/out', "zero", "a b")
    command.start()
    wait(command)
    assert (tmp_path / "out").read_text() == f"{command.pid} zero a b\n"
    assert command.name == "sh"


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -TERM $$", -15)])
def test_exit_code_is_of_the_program_or_of_the_signal(made: Start, script: str, code: int) -> None:
    command = made("sh", "-c", script)
    command.start()
    assert wait(command) == code
    assert command.poll() == code


def test_command_does_not_ignore_what_the_tracer_ignores(made: Start) -> None:
    # An ignored SIGPIPE would be inherited through exec; it is ignored in this process.
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    command = made("sh", "-c", "kill -PIPE $$; exit 5")
    command.start()
    assert wait(command) == -signal.SIGPIPE


def test_what_the_kernel_cannot_execute_is_an_error(made: Start, tmp_path: Path) -> None:
    path = program(tmp_path, text="\x7fno program")
    command = made(str(path))
    with pytest.raises(TracerError) as caught:
        command.start()
    assert caught.value.code == "not_executable"
    assert caught.value.message == f"'{path}' cannot be executed: Exec format error"


def test_a_command_that_was_killed_before_it_began_has_its_exit_code(made: Start) -> None:
    command = made("sh", "-c", "exit 0")
    os.kill(command.pid, signal.SIGKILL)
    os.waitid(os.P_PID, command.pid, os.WEXITED | os.WNOWAIT)
    command.start()
    assert wait(command) == -signal.SIGKILL


@needs_root
def test_command_runs_as_the_user_that_is_named(made: Start) -> None:
    nobody = pwd.getpwnam("nobody")
    command = made("sh", "-c", f"test $(id -u) = {nobody.pw_uid} && exit 7", uid=nobody.pw_uid,
                   gid=nobody.pw_gid)  # fmt: skip
    command.start()
    assert wait(command) == 7


@pytest.fixture
def more_groups() -> Iterator[None]:
    """Be in a group that no other user has to be in."""
    before = os.getgroups()
    os.setgroups([*before, 54323])
    yield
    os.setgroups(before)


@needs_root
@pytest.mark.usefixtures("more_groups")
def test_a_user_without_an_account_has_the_group_that_is_named(made: Start) -> None:
    script = 'test "$(id -u) $(id -G)" = "54321 54322" && exit 7'
    command = made("sh", "-c", script, uid=54321, gid=54322)
    command.start()
    assert wait(command) == 7


def test_interrupted_command_may_end_by_itself(made: Start, tmp_path: Path) -> None:
    command = made("sh", "-c", f"trap 'exit 4' INT; : > {tmp_path}/ready; sleep 30 & wait")
    command.start()
    while not (tmp_path / "ready").exists():
        time.sleep(0.005)
    command.interrupt()
    assert command.poll() == 4


def test_a_stubborn_command_is_asked_once_and_killed_in_the_end(
    made: Start, tmp_path: Path
) -> None:
    script = (
        f"trap ': > {tmp_path}/asked' INT TERM; : > {tmp_path}/ready; while :; do sleep 1; done"
    )
    command = made("sh", "-c", script)
    command.start()
    while not (tmp_path / "ready").exists():
        time.sleep(0.005)
    began = time.monotonic()
    command.interrupt(in_haste=True)
    assert time.monotonic() - began < 3
    assert command.poll() is None
    began = time.monotonic()
    command.interrupt()
    assert time.monotonic() - began < 0.5
    command.end()
    assert (command.poll(), (tmp_path / "asked").exists()) == (-signal.SIGKILL, True)


def hold(*argv: str) -> Held:
    """Fork a process as the launcher does, which becomes the program that it is told."""
    go_read, go = os.pipe()
    failed, failed_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        try:
            os.execve(os.read(go_read, 4096), argv, {"HELD": "yes"})
        except OSError as error:
            os.write(failed_write, f"{error.errno} {error.strerror}".encode())
        finally:
            os._exit(127)
    os.close(go_read)
    os.close(failed_write)
    return Held(pid, go, failed)


def test_a_held_process_becomes_the_program_that_is_found_in_the_path(tmp_path: Path) -> None:
    program(tmp_path, text=f"#!/bin/sh\necho $HELD $1 > {tmp_path}/out; exit 6\n")
    held = hold("tool", "first")
    command = Command(["tool"], None, None, NOWHERE, held, str(tmp_path))
    command.start()
    assert wait(command) == 6
    command.end()
    assert command.pid == held.pid
    assert (tmp_path / "out").read_text() == "yes first\n"


def test_what_keeps_a_held_process_from_executing_is_told(tmp_path: Path) -> None:
    path = program(tmp_path, text="\x7fno program")
    command = Command([str(path)], None, None, NOWHERE, hold(str(path)))
    with pytest.raises(TracerError, match="cannot be executed: Exec format error"):
        command.start()
    command.end()


def test_command_that_became_another_user_is_left_alone_and_told_of(
    made: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = made("sleep", "30")
    command.start()

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", refuse)
        patched.setattr(os, "killpg", refuse)
        command.interrupt()
        command.end()
    assert f"process {command.pid}) runs as another user" in capsys.readouterr().err
    assert command.poll() is None
    os.kill(command.pid, signal.SIGKILL)
    os.waitpid(command.pid, 0)


def ends(pid: int) -> bool:
    """Wait until a process has ended."""
    stat = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if stat.read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except OSError:
            return True
        time.sleep(0.005)
    return False


@pytest.mark.parametrize(("rest", "code"), [("wait", -signal.SIGKILL), ("exit 6", 6)])
def test_end_of_a_command_is_the_end_of_its_group(
    made: Start, tmp_path: Path, rest: str, code: int
) -> None:
    script = f"sleep 30 & echo $! > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; {rest}"
    command = made("sh", "-c", script)
    command.start()
    while not (tmp_path / "pid").exists():
        time.sleep(0.005)
    if code > 0:
        assert wait(command) == code
    command.end()
    assert command.poll() == code
    assert ends(int((tmp_path / "pid").read_text()))


def test_a_command_can_be_ended_before_it_was_let_go_and_twice(made: Start) -> None:
    command = made("sleep", "30")
    command.end()
    command.end()
    assert command.poll() == -signal.SIGKILL


def start_time(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


NAMESPACE = os.stat("/proc/self/ns/pid").st_ino


def test_command_gets_a_cgroup_that_names_its_tracer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podtracer.command_cgroup.remove", os.rmdir)
    command = Command(["true"], None, None, Hierarchies(str(tmp_path), {}))
    name = f"podtrace-{NAMESPACE}-{os.getpid()}-{start_time(os.getpid())}"
    assert command.cgroup == str(tmp_path / name)
    assert (tmp_path / name).is_dir()
    command.end()
    assert not (tmp_path / name).exists()


def test_command_without_version_2_is_frozen_by_nobody_but_has_a_cgroup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podtracer.command_cgroup.remove", lambda path: os.rmdir(path) is None)
    mounted = {name: str(tmp_path / name) for name in ("memory", "freezer")}
    for folder in mounted.values():
        os.mkdir(folder)
    command = Command(["true"], None, None, Hierarchies("", mounted))
    command.end()
    assert os.path.dirname(command.cgroup) == mounted["freezer"]
    gone = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    left = Path(mounted["freezer"], f"podtrace-{NAMESPACE}-{gone}-5")
    left.mkdir()
    assert remove_leftovers(Hierarchies("", mounted)) == [str(left)]
    assert remove_leftovers(Hierarchies("", {"memory": mounted["memory"]})) == []


def test_command_runs_without_a_cgroup_where_none_can_be_made(tmp_path: Path) -> None:
    command = Command(["true"], None, None, Hierarchies(str(tmp_path / "nowhere"), {}))
    assert command.cgroup == ""
    command.end()


def test_only_cgroups_of_tracers_that_have_died_are_left_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "podtracer.command_cgroup.remove", lambda folder: not folder.endswith("-77")
    )
    own, began = os.getpid(), start_time(os.getpid())
    gone = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    left = [f"podtrace-{NAMESPACE}-{gone}-5", f"podtrace-{NAMESPACE}-{own}-{began + 1}"]
    others = [
        f"podtrace-{NAMESPACE}-{own}-{began}",
        f"podtrace-{NAMESPACE + 1}-{gone}-5",
        f"podtrace-{NAMESPACE}-{gone}-5-x",
        f"my-podtrace-{NAMESPACE}-{gone}-5",
        f"podtrace-{NAMESPACE}-{gone}",
        "podtrace-demo-1-2",
        # It could not be removed.
        f"podtrace-{NAMESPACE}-{gone}-77",
    ]
    for name in (*left, *others):
        (tmp_path / name).mkdir()
    found = remove_leftovers(Hierarchies(str(tmp_path), {}))
    assert sorted(found) == sorted(str(tmp_path / name) for name in left)


def test_a_cgroup_of_another_user_is_left_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError

    gone = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    (tmp_path / f"podtrace-{NAMESPACE}-{gone}-5").mkdir()
    monkeypatch.setattr(os, "rmdir", refuse)
    began = time.monotonic()
    assert remove_leftovers(Hierarchies(str(tmp_path), {})) == []
    assert time.monotonic() - began < 1


def test_without_cgroups_nothing_is_left_over() -> None:
    assert remove_leftovers(NOWHERE) == []
