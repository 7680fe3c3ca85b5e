"""Whoever may execute the launcher may not make it, or the tracer, run anything else.

Where an attack leaves a mark if it works, the same attack on a program without the launcher does.
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel.members import SYSTEM_PYTHON, Installation, User, refused

CAP_BPF = 39
QUICK = ("--for", "0.1")
LOOK_INSIDE = """
import ctypes, json, os, sys
pid, libc = int(sys.argv[1]), ctypes.CDLL(None, use_errno=True)
def works(attack):
    try:
        return bool(attack())
    except OSError:
        return False
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
def write_memory():
    own = ctypes.create_string_buffer(8)
    local = Vector(ctypes.addressof(own), 8)
    there = Vector(int(open(f"/proc/{pid}/maps").readline().split("-")[0], 16), 8)
    return libc.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(there), 1, 0) > 0
print(json.dumps({
    "memory file": works(lambda: os.open(f"/proc/{pid}/mem", os.O_RDWR)),
    "memory call": works(write_memory),
    "environment": works(lambda: open(f"/proc/{pid}/environ").read()),
    "descriptor": works(lambda: os.open(f"/proc/{pid}/fd/0", os.O_RDONLY)),
    "descriptor call": works(lambda: libc.syscall(438, os.pidfd_open(pid), 0, 0) >= 0),
    "debugger": works(lambda: libc.ptrace(16, pid, 0, 0) == 0),
}))
"""


@pytest.fixture
def mark(member: User) -> Iterator[Path]:
    """Return the file that code of the member leaves if it runs."""
    path = member.folder / "mark"
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def own_code(member: User, mark: Path, tmp_path: Path) -> Path:
    """Return a folder of modules and a library of the member's, which leave the mark."""
    folder = member.folder / "own"
    if folder.exists():
        return folder
    (folder / "podtracer").mkdir(parents=True)
    text = f"open({str(mark)!r}, 'w')\n"
    names = (
        "bcc",
        "os",
        "site",
        "sitecustomize",
        "usercustomize",
        "runpy",
        "readline",
    )
    for name in (*names, "podtracer/__init__", "podtracer/__main__"):
        (folder / f"{name}.py").write_text(text)
    (tmp_path / "own.c").write_text(
        "#include <fcntl.h>\n"
        f'__attribute__((constructor)) void run(void) {{ open("{mark}", O_CREAT, 0644); }}\n'
    )
    for name in ("own.so", "libbcc.so.0"):
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-o", folder / name, tmp_path / "own.c"], check=True
        )
    return folder


def start(member: User, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    """Start a trace and wait until it runs."""
    process = member.start(
        [member.installation.launcher, *arguments], stderr=subprocess.DEVNULL, **options
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["kind"] == "hello"
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0


HOSTILE: dict[str, Callable[[Path], dict[str, str]]] = {
    "linker": lambda own: {"LD_PRELOAD": str(own / "own.so"), "LD_AUDIT": str(own / "own.so")},
    "libraries": lambda own: {"LD_LIBRARY_PATH": str(own)},
    "modules": lambda own: {"PYTHONPATH": str(own)},
    "home": lambda own: {"PYTHONHOME": str(own), "PYTHONUSERBASE": str(own), "HOME": str(own)},
    "interactive": lambda own: {"PYTHONSTARTUP": str(own / "os.py"), "PYTHONINSPECT": "1"},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_environment_reaches_neither_linker_nor_interpreter(
    member: User, mark: Path, own_code: Path, kind: str
) -> None:
    variables = HOSTILE[kind](own_code)
    if kind in ("linker", "libraries", "modules"):
        done = member.run([SYSTEM_PYTHON, "-c", "import bcc"], env=variables, cwd="/")
        assert mark.exists(), done
        mark.unlink()
    with open(own_code / "os.py") as script:
        done = member.launch("--pid", os.getpid(), *QUICK, env=variables, cwd="/", stdin=script)
    assert done.returncode == 0, done
    assert not mark.exists()


def test_folder_of_the_caller_is_not_imported_from(
    member: User, mark: Path, own_code: Path
) -> None:
    member.run([SYSTEM_PYTHON, "-m", "podtracer"], cwd=own_code)
    assert mark.exists()
    mark.unlink()
    assert member.launch("--pid", os.getpid(), *QUICK, cwd=own_code).returncode == 0
    assert not mark.exists()


def test_tracer_has_two_variables_no_descriptor_and_one_capability(
    member: User, tmp_path: Path
) -> None:
    read, write = os.pipe()
    secret = {"PODTRACE_MAP_ENTRIES": "{}", "PODTRACE_VERIFIER_LOG": str(member.folder)}
    process = start(member, "--pid", os.getpid(), env=secret, pass_fds=(write,))
    os.close(write)
    # Nobody holds the other end any more: the launcher has closed it.
    assert select.select([read], [], [], 5)[0]
    assert os.read(read, 1) == b""
    os.close(read)
    proc = Path(f"/proc/{process.pid}")
    variables = (proc / "environ").read_bytes().split(b"\0")
    assert {entry.partition(b"=")[0] for entry in variables if entry} == {b"PATH", b"LC_ALL"}
    status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines())
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 1 << CAP_BPF
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["Uid"].split() == [str(member.uid)] * 4
    stop(process)


OPTIONS = {
    "unknown": ["--pods=[]"],
    "clean-up": ["--cleanup"],
    "for the launcher only": ["--pid=1", "--held", "1", "1", "1"],
    "path": ["--command", "--path=/tmp", "--", "x"],
    "user": ["--command", "--uid", "0", "--gid", "0", "--", "x"],
    "abbreviated": ["--comm", "--", "x"],
    "twice": ["--pid=1", "--pid=1"],
    "no value": ["--pid"],
    "value for none": ["--command=1", "--", "x"],
    "not a number": ["--pid=1e3"],
    "long number": ["--pid=" + "1" * 19],
    "newline": ["--cgroup=/a\nb"],
    "long path": ["--cgroup=" + "a" * 5000],
    "empty": [""],
    "option of the interpreter": ["-c", "import os"],
    "word": ["podtracer"],
    "privileged port": ["--pid=1", "--metrics=127.0.0.1:1023"],
    "no port": ["--pid=1", "--metrics=127.0.0.1"],
    "command without option": ["--pid=1", "--", "x"],
    "option without command": ["--command"],
    "empty command": ["--command", "--"],
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_options_beside_the_known_ones_are_refused(member: User, kind: str) -> None:
    assert refused(member.launch(*OPTIONS[kind])) == "launcher_options"


def test_no_arguments_at_all_start_nothing(member: User) -> None:
    script = (
        "import ctypes, sys; nothing = (ctypes.c_char_p * 1)(None); "
        "ctypes.CDLL(None).execve(sys.argv[1].encode(), nothing, nothing)"
    )
    done = member.run([SYSTEM_PYTHON, "-c", script, member.installation.launcher])
    assert done.returncode in (2, 126)
    assert "hello" not in done.stdout


@pytest.mark.parametrize("numbers", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_closed_descriptors_never_become_a_file_of_the_tracer(
    member: User, numbers: tuple[int, ...]
) -> None:
    def close() -> None:
        for number in numbers:
            os.close(number)

    show = ["readlink", *(f"/proc/self/fd/{number}" for number in range(3))]
    done = member.launch("--command", *QUICK, "--", *show, stdin=None, preexec_fn=close)
    # Without an output that takes its lines there is no trace.
    assert (done.returncode == 0) == (1 not in numbers)
    if done.returncode == 0 and 2 not in numbers:
        stdin, stdout, stderr = done.stderr.splitlines()
        assert stdin in ("/dev/null", "/dev/full")
        assert stdout == stderr


def limited(kind: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (value, value))


def test_few_descriptors_end_the_trace_and_nothing_else(member: User, mark: Path) -> None:
    for most in (0, 3, 6, 10):
        done = member.launch(
            "--pid", os.getpid(), *QUICK, preexec_fn=limited(resource.RLIMIT_NOFILE, most)
        )
        assert done.returncode != 0


def test_where_no_file_may_be_written_none_is(member: User) -> None:
    before = set(member.folder.iterdir()) | set(Path("/tmp").glob("podtrace-header-*"))
    preexec = limited(resource.RLIMIT_FSIZE, 0)
    done = member.launch("--pid", os.getpid(), *QUICK, preexec_fn=preexec)
    assert json.loads(done.stdout)["code"] == "no_space"
    assert set(member.folder.iterdir()) | set(Path("/tmp").glob("podtrace-header-*")) == before


def test_crash_leaves_no_core_file(member: User) -> None:
    def dumps_core(process: subprocess.Popen[bytes]) -> bool:
        time.sleep(0.2)
        process.send_signal(signal.SIGSEGV)
        status = os.waitpid(process.pid, 0)[1]
        process.returncode = -signal.SIGSEGV
        process.communicate()
        return os.WCOREDUMP(status)

    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    unlimited = limited(resource.RLIMIT_CORE, most)
    if not dumps_core(member.start(["sleep", "60"], preexec_fn=unlimited)):
        pytest.skip("this machine writes no core files")
    assert not dumps_core(start(member, "--pid", os.getpid(), preexec_fn=unlimited))
    for file in member.folder.glob("core*"):
        file.unlink()


def test_nobody_of_the_same_user_can_look_into_or_change_the_tracer(member: User) -> None:
    plain = member.start(["sleep", "60"], stdout=None, stderr=None)
    traced = start(member, "--pid", os.getpid())
    outcomes = [
        json.loads(member.run([SYSTEM_PYTHON, "-c", LOOK_INSIDE, process.pid]).stdout)
        for process in (plain, traced)
    ]
    plain.kill()
    plain.wait()
    stop(traced)
    assert set(outcomes[0].values()) == {True}, outcomes[0]
    assert set(outcomes[1].values()) == {False}, outcomes[1]


def test_launcher_has_no_rights_under_a_debugger(member: User) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    done = member.run(["strace", "-qq", "-o", "/dev/null", member.installation.launcher, "--pid=1"])
    assert refused(done) == "launcher_rights"


def test_launcher_has_no_rights_with_no_new_privileges(member: User) -> None:
    done = member.run(["setpriv", "--no-new-privs", member.installation.launcher, "--pid=1"])
    assert refused(done) == "launcher_rights"


def test_launcher_has_no_rights_for_root(installation: Installation) -> None:
    done = subprocess.run([installation.launcher, "--pid=1"], capture_output=True, text=True)
    assert refused(done) == "launcher_rights"


@pytest.mark.parametrize(
    ("users", "code"),
    [(["--map-root-user"], "launcher_rights"), ([], "launcher_files")],
    ids=["as its root", "as nobody of it"],
)
def test_launcher_executes_nothing_of_a_file_system_that_the_caller_laid_out(
    member: User, mark: Path, users: list[str], code: str
) -> None:
    own = member.folder / "interpreter"
    own.write_text(f"#!/bin/sh\ntouch {mark}\n")
    own.chmod(0o755)
    laid_out = f"mount --bind {own} $(readlink -f {SYSTEM_PYTHON}) && "
    inside = ["unshare", "--user", "--mount", "--map-root-user", "sh", "-c"]
    done = member.run([*inside, f"{laid_out} exec {SYSTEM_PYTHON}"])
    if "unshare failed" in done.stderr:
        pytest.skip("users may not make namespaces here")
    assert mark.exists(), done
    mark.unlink()
    start = f"exec unshare --user {' '.join(users)} {member.installation.launcher} --pid=1"
    done = member.run([*inside, f"{laid_out} {start}"])
    assert refused(done) == code
    assert not mark.exists()


def test_link_to_the_launcher_starts_the_same(member: User, mark: Path, own_code: Path) -> None:
    link = own_code / "podtrace-tracer"
    link.unlink(missing_ok=True)
    link.symlink_to(member.installation.launcher)
    done = member.run([link, "--pid", os.getpid(), *QUICK], cwd=own_code)
    assert done.returncode == 0
    assert not mark.exists()
