"""`-- COMMAND`: a cgroup of its own, COMMAND in it, and both gone at the end.

COMMAND is forked early and held, so that the probes are attached before its first instruction; it
joins its cgroup just before it is let go. Where no cgroup can be made it is followed as a process
and its descendants. Where the tracer has rights that COMMAND must not get, not even for a moment,
whoever gave them has forked it before (Held).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from podtracer import cgroups, command_cgroup
from podtracer.errors import TracerError
from podtracer.lifetime import die_with_parent

_POLITE_SECONDS = 3.0
_KILL_SECONDS = 2.0
_HASTY_SECONDS = 0.5
_LONGEST_PATH = 4096


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


class Held(NamedTuple):
    """A child that becomes COMMAND when it is told the path of its program.

    It reads that from the other end of `go`, and what keeps it from executing it arrives at
    `failed`, as errno and its text, or nothing and the end.
    """

    pid: int
    go: int
    failed: int


class Command:
    """COMMAND from its fork to its end.

    `held` was forked by somebody else; `path` is what to look for the program in.
    """

    def __init__(
        self,
        argv: Sequence[str],
        uid: int | None,
        gid: int | None,
        known: cgroups.Hierarchies,
        held: Held | None = None,
        path: str | None = None,
    ) -> None:
        self._argv = argv
        self._program = find_program(argv[0], os.environ.get("PATH") if path is None else path)
        self._identity = (uid, gid)
        self.cgroup = command_cgroup.make(known)
        self.pid, self._go, self._failed = held or self._hold()
        # Here and in the child: whoever comes first, the group exists when it is to be killed.
        with contextlib.suppress(ProcessLookupError):
            os.setpgid(self.pid, self.pid)
        self._code: int | None = None
        self._ended = False
        self._interrupted = False

    @property
    def name(self) -> str:
        """Name of the program, for reports."""
        return os.path.basename(self._program)

    def _hold(self) -> Held:
        go_read, go = os.pipe()
        failed, failed_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(go)
            self._become(go_read, failed_write)
        os.close(go_read)
        os.close(failed_write)
        return Held(pid, go, failed)

    def _become(self, go: int, failed: int) -> NoReturn:
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
            program = os.read(go, _LONGEST_PATH)
            if not program:
                os._exit(127)
            os.dup2(2, 1)
            os.execv(program, list(self._argv))
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
            os.write(self._go, os.fsencode(self._program))
        os.close(self._go)
        failure = os.read(self._failed, 256).decode()
        os.close(self._failed)
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
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                pass
            except PermissionError:
                return
            deadline = time.monotonic() + seconds
            while self.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)

    def end(self) -> None:
        """Kill what is left of COMMAND and its descendants and remove its cgroup.

        Where the tracer is not root and COMMAND has become another user, it is left alone.
        """
        if not self._ended:
            self._ended = True
            if self._kill():
                status = os.waitpid(self.pid, 0)[1]
                self._code = os.waitstatus_to_exitcode(status)
            else:
                sys.stderr.write(
                    f"podtrace: COMMAND (process {self.pid}) runs as another user by now, who alone"
                    " may end it: it goes on\n"
                )
        if self.cgroup:
            command_cgroup.remove(self.cgroup)

    def _kill(self) -> bool:
        """Kill COMMAND and its process group; whether it has ended, or is about to."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        try:
            os.kill(self.pid, signal.SIGKILL)
        except PermissionError:
            return self.poll() is not None
        return True


def _set_groups(uid: int, gid: int) -> None:
    import pwd

    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        os.setgroups([gid])
    else:
        os.initgroups(name, gid)
