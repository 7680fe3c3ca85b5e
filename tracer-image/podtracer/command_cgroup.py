"""The cgroup that COMMAND has to itself, and those that dead tracers left behind.

Its name says whose it is: identity of the PID namespace, PID and start of the tracer.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from pathlib import Path

from podtracer import cgroups

_NAME = re.compile(r"podtrace-(\d+)-(\d+)-(\d+)")
_KILL_SECONDS = 2.0


def make(known: cgroups.Hierarchies) -> str:
    """Make a cgroup named after this process; "" where there is no writable hierarchy."""
    top = _hierarchy(known)
    if not top:
        return ""
    pid = os.getpid()
    name = f"podtrace-{_pid_namespace()}-{pid}-{_start_time(pid)}"
    folder = os.path.join(top, name)
    try:
        os.mkdir(folder)
    except OSError:
        return ""
    return folder


def _hierarchy(known: cgroups.Hierarchies) -> str:
    """Mount point of the hierarchy for COMMAND: of version 1, one that changes nothing for it."""
    return known.choosing("freezer").top


def _pid_namespace() -> int:
    """Identity of this process's PID namespace: in another one its PID means another process."""
    return os.stat("/proc/self/ns/pid").st_ino


def _start_time(pid: int) -> int | None:
    """Start of a process in clock ticks since boot (proc(5), stat); None where none runs."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    state, *fields = stat.rpartition(b")")[2].split()
    # One that has ended may wait long for its parent to notice.
    return None if state in (b"Z", b"X") else int(fields[18])


def remove(folder: str) -> bool:
    """Kill what is in a cgroup and remove it.

    False where that did not succeed in two seconds, or is another user's to do.
    """
    deadline = time.monotonic() + _KILL_SECONDS
    while (removed := _attempt(folder)) is None and time.monotonic() <= deadline:
        time.sleep(0.01)
    return bool(removed)


def _attempt(folder: str) -> bool | None:
    """Whether it has gone; None where the next attempt may succeed."""
    try:
        _kill_all(folder)
        for path, _, _ in os.walk(folder, topdown=False):
            os.rmdir(path)
    except FileNotFoundError:
        return True
    except PermissionError:
        return False
    except OSError:
        return None
    return True


def _kill_all(folder: str) -> None:
    """Kill all in a cgroup and below: at once where the kernel can (5.14), else one by one."""
    try:
        Path(folder, "cgroup.kill").write_text("1")
        return
    except OSError:
        members = list(cgroups.processes(folder))
    for pid in members:
        # 0 stands for a process of an outer PID namespace; to kill() it would mean us.
        if pid > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def remove_leftovers(known: cgroups.Hierarchies) -> list[str]:
    """Remove the cgroups of tracers that have died, with the commands in them; return which."""
    top = _hierarchy(known)
    if not top:
        return []
    removed = []
    for entry in os.scandir(top):
        match = _NAME.fullmatch(entry.name)
        if match is None or int(match[1]) != _pid_namespace():
            continue
        if _start_time(int(match[2])) != int(match[3]) and remove(entry.path):
            removed.append(entry.path)
    return removed
