"""`-- COMMAND`: a cgroup of its own, COMMAND in it, and both gone at the end.

COMMAND is forked early and held, so that the probes are attached before its first instruction; it
joins its cgroup just before it is let go. Where no cgroup can be made it is followed as a process
and its descendants.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from podtracer import cgroups
from podtracer.errors import TracerError
from podtracer.lifetime import die_with_parent

_NAME = re.compile(r"podtrace-(\d+)-(\d+)-(\d+)")
_POLITE_SECONDS = 3.0
_KILL_SECONDS = 2.0
_HASTY_SECONDS = 0.5


def find_program(name: str, path: str | None) -> str:
    """Return the file that COMMAND's first word names, or raise TracerError saying why not."""
    if "/" in name:
        found: str | None = name if os.path.exists(name) else None
    else:
        found = shutil.which(name, mode=os.F_OK, path=path)
    if found is None:
        raise TracerError(
            "no_command",
            f"there is no program {name!r}",
            "Give its path, or a name that is on PATH.",
        )
    if os.path.isdir(found) or not os.access(found, os.X_OK):
        raise TracerError(
            "not_executable",
            f"{found!r} is not an executable file",
            f"Make it executable (chmod +x), or name its interpreter: -- sh {found}",
        )
    return os.path.abspath(found)


class Command:
    """COMMAND from its fork to its end."""

    def __init__(
        self, argv: Sequence[str], uid: int | None, gid: int | None, known: cgroups.Hierarchies
    ) -> None:
        self._argv = argv
        self._program = find_program(argv[0], os.environ.get("PATH"))
        self._identity = (uid, gid)
        self.cgroup = _make_cgroup(known)
        self._go_read, self._go_write = os.pipe()
        self._failed_read, failed_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._go_write)
            self._become(failed_write)
        # Here and in the child: whoever comes first, the group exists when it is to be killed.
        with contextlib.suppress(ProcessLookupError):
            os.setpgid(self.pid, self.pid)
        os.close(self._go_read)
        os.close(failed_write)
        self._code: int | None = None
        self._ended = False
        self._interrupted = False

    @property
    def name(self) -> str:
        """Name of the program, for reports."""
        return os.path.basename(self._program)

    def _become(self, failed: int) -> NoReturn:
        try:
            os.setpgid(0, 0)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            uid, gid = self._identity
            if uid is not None and gid is not None:
                _set_groups(uid, gid)
                os.setgid(gid)
                os.setuid(uid)
            # After the change of identity, which clears it.
            die_with_parent(signal.SIGKILL)
            if not os.read(self._go_read, 1):
                os._exit(127)
            os.dup2(2, 1)
            os.execv(self._program, list(self._argv))
        except OSError as error:
            os.write(failed, f"{error.errno} {error.strerror}".encode())
        finally:
            os._exit(127)

    def start(self) -> None:
        """Let COMMAND go; raises TracerError when the kernel cannot execute it."""
        if self.cgroup:
            Path(self.cgroup, "cgroup.procs").write_text(str(self.pid))
        # It may have ended already: killed, or for the reason that is read below.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._go_write, b"g")
        os.close(self._go_write)
        failure = os.read(self._failed_read, 256).decode()
        os.close(self._failed_read)
        if failure:
            _, _, reason = failure.partition(" ")
            self.end()
            raise TracerError(
                "not_executable",
                f"{self._program!r} cannot be executed: {reason}",
                "Is it a program for this machine? A script needs #! and an interpreter.",
            )

    def poll(self) -> int | None:
        """Exit code of COMMAND, minus the signal that ended it; None while it runs."""
        if self._code is None:
            # Not reaped before the end, so that its number stays that of its process group.
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT
            ended = os.waitid(os.P_PID, self.pid, options)
            if ended is not None:
                exited = ended.si_code == os.CLD_EXITED
                self._code = ended.si_status if exited else -ended.si_status
        return self._code

    def interrupt(self, in_haste: bool = False) -> None:
        """Ask COMMAND to stop, then insist; `end` kills it if that is not enough.

        In haste, because nobody waits for its output any more, it gets half a second each.
        """
        polite = _HASTY_SECONDS if in_haste else _POLITE_SECONDS
        insist = _HASTY_SECONDS if in_haste else _KILL_SECONDS
        if self._interrupted:
            return
        self._interrupted = True
        for number, seconds in ((signal.SIGINT, polite), (signal.SIGTERM, insist)):
            if self.poll() is not None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            deadline = time.monotonic() + seconds
            while self.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)

    def end(self) -> None:
        """Kill what is left of COMMAND and its descendants and remove its cgroup."""
        if not self._ended:
            self._ended = True
            os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            status = os.waitpid(self.pid, 0)[1]
            self._code = os.waitstatus_to_exitcode(status)
        if self.cgroup:
            remove(self.cgroup)


def _set_groups(uid: int, gid: int) -> None:
    import pwd

    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        os.setgroups([gid])
    else:
        os.initgroups(name, gid)


def _make_cgroup(known: cgroups.Hierarchies) -> str:
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
    """Kill what is in a cgroup and remove it; False where that did not succeed in two seconds."""
    deadline = time.monotonic() + _KILL_SECONDS
    while True:
        _kill_all(folder)
        try:
            for path, _, _ in os.walk(folder, topdown=False):
                os.rmdir(path)
            return True
        except FileNotFoundError:
            return True
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)


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
