"""Tracing without root: what a member of the group gets, what COMMAND is, what nobody else gets."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from kernel import test_scopes
from kernel.exact_checks import ExactChecks, ExactRun
from kernel.exact_runs import run_beside_neighbour
from kernel.members import SYSTEM_PYTHON, Installation, User
from kernel.servers import start_servers
from kernel.tracing import Trace
from workload.stage import Stage

SHOW_SELF = """
import json, os
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "status": status, "environment": dict(os.environ), "folder": os.getcwd(),
    "limits": open("/proc/self/limits").read(), "mask": os.umask(0),
    "descriptors": sorted(map(int, os.listdir("/proc/self/fd")))[:-1],
}), file=__import__("sys").stderr)
"""
CHOSEN = {
    "LD_LIBRARY_PATH": "/nonexistent",
    "TMPDIR": "/var/tmp",
    "PYTHONHASHSEED": "7",
    "PATH": "/usr/bin:/bin",
    "ODD": "a=b\nc",
}


def ready(user: User, folder: str) -> Path:
    """Return a folder for a trace, with the recording that the user may write."""
    path = user.folder / folder
    path.mkdir()
    os.chown(path, user.uid, user.uid)
    # Named as the Trace does that finds one there already.
    user.empty_file(f"{folder}/trace-1.jsonl")
    return path


@pytest.fixture(scope="module")
def by_pid(member: User) -> ExactRun:
    with Stage() as stage:
        run, _ = run_beside_neighbour(
            stage,
            ready(member, "by-pid"),
            by_pid=True,
            program=member.plugin(),
            environment=member.environment(),
        )
        return run


class TestProcess(ExactChecks):
    """`--pid` of another user's process, beside a neighbour that does ten times as much."""

    @pytest.fixture
    def run(self, by_pid: ExactRun) -> ExactRun:
        return by_pid

    def test_only_the_target_appears(self, run: ExactRun) -> None:
        assert [entry["host_pid"] for entry in run.report["cpu_usage"]] == [run.truth["pid"]]


@pytest.fixture(scope="module")
def by_command(member: User) -> ExactRun:
    with Stage() as stage:
        servers = start_servers(stage)
        data = member.empty_file("exact.data")
        data.write_bytes(bytes(1 << 20))
        argv = [
            *(SYSTEM_PYTHON, "-ES", member.workload() / "exact.py"),
            *(*servers.exact_arguments(data), "--no-gate", "--stay", test_scopes.STAY_SECONDS),
        ]
        with Trace(
            ready(member, "by-command"),
            *("--", *argv),
            environment=member.environment(),
            program=[*member.plugin(), "--local"],
        ) as trace:
            report = trace.report()
            truth = json.loads(re.findall(r'\{"state": "truth".*\}', trace.stderr())[0])
        return ExactRun(report, truth, data, test_scopes.START_UP_OPERATIONS)


class TestCommand(test_scopes.TestCommand):
    """`-- COMMAND` of a member's own: the same as root's."""

    @pytest.fixture
    def run(self, by_command: ExactRun) -> ExactRun:
        return by_command


def shown(user: User, *command: object, **options: Any) -> dict[str, Any]:
    """Trace a command that shows what it is."""
    done = user.launch("--command", "--for", 60, "--", *command, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    facts: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])
    return facts


def test_command_is_what_it_would_be_without_podtrace(member: User) -> None:
    argv = [SYSTEM_PYTHON, "-c", SHOW_SELF]
    plain = json.loads(member.run(argv, env=CHOSEN).stderr.splitlines()[-1])
    traced = shown(member, *argv, env=CHOSEN)
    for key in ("Uid", "Gid", "Groups", "NoNewPrivs", "Umask", "Seccomp", "SigBlk", "SigIgn"):
        assert traced["status"][key] == plain["status"][key], key
    assert traced["environment"] == plain["environment"]
    assert traced["environment"] | CHOSEN == traced["environment"]
    for key in ("folder", "limits", "mask", "descriptors"):
        assert traced[key] == plain[key]


def test_command_has_no_capability_in_any_set(member: User) -> None:
    status = shown(member, SYSTEM_PYTHON, "-c", SHOW_SELF)["status"]
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[name], 16) == 0


@pytest.fixture
def setuid(installation: Installation) -> Any:
    """Return a maker of programs that run as root whoever starts them."""

    def make(name: str) -> Path:
        program = installation.prefix / "tracer" / f"setuid-{name}"
        source = shutil.which(name)
        assert source is not None
        shutil.copy(source, program)
        program.chmod(0o4755)
        made.append(program)
        return program

    made: list[Path] = []
    yield make
    for program in made:
        program.unlink()


def test_command_may_become_root_as_it_could_without_podtrace(member: User, setuid: Any) -> None:
    done = member.launch("--command", "--", setuid("id"), "-u")
    assert (done.returncode, done.stderr) == (0, "0\n")


def test_command_that_became_root_is_left_alone_and_told_of(member: User, setuid: Any) -> None:
    argv = [setuid("setpriv"), "--reuid", "0", "sleep", "100"]
    output = member.empty_file("left")
    began = time.monotonic()
    with output.open("wb") as stream:
        # Not a pipe, which the command would hold open.
        member.launch("--command", "--for", "1", "--", *argv, stderr=stream)
    assert time.monotonic() - began < 60
    match = re.search(r"process (\d+)\) runs as another user by now", output.read_text())
    assert match, output.read_text()
    assert Path(f"/proc/{match[1]}/cmdline").read_bytes() == b"sleep\x00100\x00"
    os.kill(int(match[1]), 9)


@pytest.mark.parametrize("how", ["rmdir ../own-folder", "chmod 0 .", "trap '' CHLD"])
def test_trace_takes_no_harm_from_what_it_inherits(
    member: User, how: str, request: pytest.FixtureRequest
) -> None:
    folder = member.folder / "own-folder"
    folder.mkdir()
    os.chown(folder, member.uid, member.uid)
    request.addfinalizer(lambda: shutil.rmtree(folder, ignore_errors=True))
    start = f"exec {member.installation.launcher} --command --for 0.2 -- /bin/true"
    done = member.run(["bash", "-c", f"{how} && {start}"], cwd=folder)
    assert done.returncode == 0, done
    assert json.loads(done.stdout.splitlines()[-1])["kind"] == "end"


def test_killed_tracer_takes_the_command_with_it(member: User, tmp_path: Path) -> None:
    process = member.start(
        [member.installation.launcher, "--command", "--", "sleep", "54321"],
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    process.stdout.readline()
    found = subprocess.run(["pgrep", "-fx", "sleep 54321"], capture_output=True, text=True)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{int(found.stdout)}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_command_is_traced_where_proc_hides_the_processes_of_others(member: User) -> None:
    mount = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
    drop = member.plugin()[: member.plugin().index("env") + 1]
    tracer = [member.installation.launcher, "--command", "--for", "60", "--", "sh", "-c", "exit 3"]
    argv = ["unshare", "-m", "sh", "-c", mount, "sh", *drop, *map(str, tracer)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=member.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["exit_code"] == 3


def test_metrics_are_served_for_a_member(member: User) -> None:
    pytest.importorskip("prometheus_client")
    argv = ["--pid", os.getpid(), "--metrics", "127.0.0.1:0", "--metrics-processes", "5"]
    process = member.start([member.installation.launcher, *argv], stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    hello = json.loads(process.stdout.readline())
    while json.loads(process.stdout.readline())["kind"] != "health":
        pass
    # The page of a tick follows its lines.
    for _ in range(50):
        with contextlib.suppress(urllib.error.HTTPError):
            with urllib.request.urlopen(f"http://{hello['metrics']}/metrics", timeout=10) as page:
                assert b"podtrace_operations_total" in page.read()
            break
        time.sleep(0.1)
    else:
        raise AssertionError("no page")
    process.terminate()
    process.communicate()


def test_outsider_is_told_of_the_group(outsider: User, installation: Installation) -> None:
    done = subprocess.run(
        [*outsider.plugin(), "--local", "--pid", "1", "--diagnose", "1s"],
        env={**os.environ, **outsider.environment()},
        cwd=outsider.folder,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"error: user {outsider.uid} may not trace: that takes root, or the group "
        f"{installation.group}\nhint: run podtrace with sudo, or have somebody run: sudo usermod"
    )


def test_outsider_cannot_execute_the_launcher(outsider: User) -> None:
    with pytest.raises(PermissionError):
        outsider.launch("--pid", "1", "--for", "1")
