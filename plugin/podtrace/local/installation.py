"""What has to be on this machine before the tracer can start, and the command that starts it.

Only what the tracer cannot say itself is checked here: that its files are complete, that there is
a Python to run it, and that this user may trace at all. Everything else (BCC, BTF, kernel lockdown,
the target) is the tracer's own first check, which it reports as an `error` line.
"""

from __future__ import annotations

import os
import pwd
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from podtrace.errors import StartError
from podtrace.local.launcher import find_launcher, setup_line
from podtrace.local.scope import Scope, TracerSettings

SYSTEM_PYTHON = "/usr/bin/python3"
PYTHON_VARIABLE = "PODTRACE_PYTHON"

_CAP_SYS_ADMIN = 21
_CAP_PERFMON = 38
_CAP_BPF = 39

# Isolated from the user's PYTHON* variables and own packages, without passing one on to a COMMAND.
_BOOT = (
    "import sys, runpy; sys.path.insert(0, sys.argv.pop(1)); "
    "runpy.run_module('podtracer', run_name='__main__', alter_sys=True)"
)


def tracer_folder(package: Path | None = None) -> Path:
    """Return the folder that the tracer is run from, of a checkout or of the installed package.

    Raises:
        StartError: neither is there, or files are missing from it.
    """
    package = package or Path(__file__).resolve().parents[1]
    installed = package / "_tracer"
    checkout = package.parents[1] / "tracer-image"
    folder = installed if installed.is_dir() else checkout
    for needed in ("podtracer/__main__.py", "bpf/podtrace.h", "podtrace/wire/schema.py"):
        if not (folder / needed).is_file():
            raise StartError(
                f"this installation of podtrace is incomplete: {folder / needed} is missing",
                "install podtrace again, or run kubectl-podtrace from a complete checkout",
            )
    return folder


def tracer_python(environment: Mapping[str, str]) -> str:
    """Return the path of the Python that has BCC: the distribution's, unless the user names one.

    Raises:
        StartError: there is no such program.
    """
    chosen = environment.get(PYTHON_VARIABLE)
    python = chosen or SYSTEM_PYTHON
    if os.path.isfile(python) and os.access(python, os.X_OK):
        return python
    if chosen:
        raise StartError(
            f"{PYTHON_VARIABLE} names {chosen}, which is no program",
            f"set {PYTHON_VARIABLE} to a Python that has BCC, or unset it for {SYSTEM_PYTHON}",
        )
    raise StartError(
        f"{SYSTEM_PYTHON} is missing: the distribution's Python, which has BCC, runs the tracer",
        "install it, on Debian or Ubuntu with: sudo apt-get install python3 python3-bpfcc",
    )


def has_rights(status: Path = Path("/proc/self/status")) -> bool:
    """Whether what this program starts may load BPF programs: as root, or by capabilities."""
    if os.geteuid() == 0:
        return True
    held = _capabilities(status, "CapAmb")
    needed = 1 << _CAP_BPF | 1 << _CAP_PERFMON
    return bool(held & 1 << _CAP_SYS_ADMIN) or held & needed == needed


class Start(NamedTuple):
    """How a command line begins that starts a tracer, and the whole one that clears up after it.

    There is none for tracers of the launcher: they make no cgroup that could stay.
    """

    line: list[str]
    cleanup: list[str] | None


def tracer_start(environment: Mapping[str, str], argv: Sequence[str]) -> Start:
    """Return how to start a tracer as this user.

    Args:
        environment: may name another Python or launcher.
        argv: the command line of this program, for the line that runs it with the right to trace.

    Raises:
        StartError: this user may not trace, or something is missing.
    """
    if has_rights():
        return Start(_own_start(environment), cleanup_command(environment, argv))
    user, setup = _user_name(os.getuid()), setup_line(tracer_folder())
    launcher = find_launcher(environment, user, setup)
    if launcher is None:
        raise _no_rights(user, argv, f"; or let a group trace without it: {setup}")
    return Start([launcher], None)


def cleanup_command(environment: Mapping[str, str], argv: Sequence[str]) -> list[str]:
    """Return the command line that ends and removes what dead tracers left behind.

    Raises:
        StartError: this user may not do it, or something is missing.
    """
    if not has_rights():
        raise _no_rights(_user_name(os.getuid()), argv)
    return [*_own_start(environment), "--cleanup"]


def _own_start(environment: Mapping[str, str]) -> list[str]:
    return [tracer_python(environment), "-I", "-c", _BOOT, str(tracer_folder())]


def _no_rights(user: str, argv: Sequence[str], otherwise: str = "") -> StartError:
    # sudo has a PATH of its own, so the program is named by its full path.
    program = os.path.abspath(argv[0]) if argv else "kubectl-podtrace"
    line = shlex.join(["sudo", program, *argv[1:]])
    return StartError(f"user {user} may not trace: that takes root", f"run: {line}{otherwise}")


def caller_ids(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """Return the user and group that called sudo, or None where sudo did not start this program."""
    if os.geteuid() != 0:
        return None
    try:
        uid, gid = int(environment["SUDO_UID"]), int(environment["SUDO_GID"])
    except (KeyError, ValueError):
        return None
    return (uid, gid) if uid > 0 and gid >= 0 else None


def tracer_command(
    start: Sequence[str],
    scope: Scope,
    settings: TracerSettings,
    caller: tuple[int, int] | None = None,
) -> list[str]:
    """Return the command line that starts the tracer for a scope."""
    line = [*start, "--parent", str(os.getpid())]
    if scope.cgroup is not None:
        line.append(f"--cgroup={scope.cgroup}")
    elif scope.pid is not None:
        line.append(f"--pid={scope.pid}")
    elif scope.container is not None:
        line.append(f"--container={scope.container}")
    else:
        line.append("--command")
        if caller is not None:
            line += ["--uid", str(caller[0]), "--gid", str(caller[1])]
    if settings.duration_ns is not None:
        line += ["--for", f"{settings.duration_ns / 1e9:.9f}"]
    for option, value in (
        ("--rtt-spike", settings.rtt_spike_ns),
        ("--slow-file", settings.slow_file_ns),
        ("--long-block", settings.long_block_ns),
    ):
        if value is not None:
            line += [option, str(value)]
    if settings.metrics_at is not None:
        line += ["--metrics", settings.metrics_at]
        line += ["--metrics-processes", str(settings.metrics_processes)]
    if scope.command is not None:
        line += ["--", *scope.command]
    return line


def _capabilities(status: Path, name: str) -> int:
    try:
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    fields = (line.partition(":") for line in lines)
    return next((int(value, 16) for key, _, value in fields if key == name), 0)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
