"""Starts workloads, puts them into cgroups of their own, and clears everything up again.

Tests, demo and benchmarks stand on it. Whatever it started is killed by PID and every cgroup it
made is removed when the stage closes, however that comes about.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).resolve().parent
SLOWNESS = float(os.environ.get("PODTRACE_TEST_SLOWNESS", "1"))
"""How many times longer than on an ordinary machine to wait for anything, as on an emulated one."""
READY_SECONDS = 60.0 * SLOWNESS
DONE_SECONDS = 120.0 * SLOWNESS
VERSION_1 = ("memory", "pids", "cpu")
"""Controllers of version 1 that every container runtime uses."""
_numbers = itertools.count(1)


class StageError(Exception):
    """A workload did not do what it was started for."""


class Program:
    """A running workload that speaks the protocol of gate.py."""

    def __init__(self, process: subprocess.Popen[bytes], name: str) -> None:
        self.process = process
        self.name = name
        self.pid = process.pid
        self._buffer = b""
        self._truth: dict[str, Any] | None = None
        self._is_open = False
        self.facts: dict[str, Any] = {}

    def line(self, seconds: float) -> dict[str, Any]:
        """Return the next line. Raises StageError at the end of output or of patience."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise StageError(f"{self.name}: no line within {seconds} s")
            data = os.read(descriptor, 65536)
            if not data:
                raise StageError(f"{self.name} ended with exit code {self.process.wait()}")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        facts: dict[str, Any] = json.loads(line)
        return facts

    def go(self) -> None:
        """Open the gate."""
        self._is_open = True
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def wait_done(self, seconds: float = DONE_SECONDS) -> None:
        """Wait until the workload says that its work is done."""
        if self.line(seconds)["state"] != "done":
            raise StageError(f"{self.name} said something else than done")

    def truth(self, seconds: float = DONE_SECONDS) -> dict[str, Any]:
        """Ask for the truth, once, and wait for the process to end."""
        if self._truth is None:
            if self.facts.get("gated") and not self._is_open:
                self.go()
                self.wait_done(seconds)
            self.go()
            self._truth = self.line(seconds)
            while self._truth["state"] != "truth":
                self._truth = self.line(seconds)
            self.process.wait(seconds)
        return self._truth

    def kill(self) -> None:
        """End the process if it still runs; one that can clear up gets the chance."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        if self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class Stage:
    """What one test has running. A context manager."""

    def __init__(self, controller: str | None = None) -> None:
        """Make cgroups in the version 1 hierarchy of a controller, or in that of containers."""
        self.controller = controller
        self.programs: list[Program] = []
        self.cgroups: list[Path] = []
        self.files: list[Path] = []
        self.folder = Path(tempfile.mkdtemp(prefix="podtrace-stage-"))

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def cgroup(self, name: str, parent: Path | None = None) -> Path:
        """Make a cgroup below `parent`, or an own one at the top of the hierarchy."""
        if parent is None:
            parent = cgroup_mount(self.controller)
            name = f"podtrace-test-{os.getpid()}-{next(_numbers)}-{name}"
        path = parent / name
        path.mkdir()
        self.cgroups.append(path)
        return path

    def memory_file(self, name: str, size: int = 0) -> Path:
        """Make a file that no disk is behind."""
        path = Path("/dev/shm") / f"podtrace-test-{os.getpid()}-{next(_numbers)}-{name}"
        path.write_bytes(bytes(size))
        self.files.append(path)
        return path

    def start(
        self,
        program: str | Path,
        *arguments: object,
        cgroups: Sequence[Path] = (),
        command: Sequence[str] = (),
        environment: dict[str, str] | None = None,
    ) -> Program:
        """Start a workload inside cgroups and wait until it is ready.

        `program` is a file name of this folder or the path of an executable; `command` comes before
        it.
        """
        path = Path(program)
        argv = [str(path)] if path.is_absolute() else [sys.executable, str(HERE / path)]

        def join() -> None:
            for cgroup in cgroups:
                (cgroup / "cgroup.procs").write_text("0")

        process = subprocess.Popen(
            [*command, *argv, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=join if cgroups else None,
            cwd=HERE,
            env={**os.environ, **(environment or {})},
        )
        started = Program(process, path.name)
        self.programs.append(started)
        started.facts = started.line(READY_SECONDS)
        return started

    def close(self) -> None:
        """End every program, newest first, and remove cgroups and files."""
        for program in reversed(self.programs):
            program.kill()
        for cgroup in reversed(self.cgroups):
            remove_cgroup(cgroup)
        for path in self.files:
            path.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def cgroup_mount(controller: str | None = None) -> Path:
    """Return the version 1 hierarchy of a controller, or the one in which podtrace tells cgroups.

    Raises StageError where there is none.
    """
    mounts: dict[str, Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        kind, _, options = right.split()
        names = options.split(",") if kind == "cgroup" else [kind]
        for name in names:
            mounts.setdefault(name, Path(left.split()[4]))
    wanted = ("cgroup2", *VERSION_1) if controller is None else (controller,)
    for name in wanted:
        if name in mounts:
            return mounts[name]
    raise StageError(f"no cgroup hierarchy for {controller or 'containers'}")


def remove_cgroup(path: Path) -> None:
    """Kill what is left in a cgroup and its children and remove them."""
    if not path.exists():
        return
    for child in path.iterdir():
        if child.is_dir():
            remove_cgroup(child)
    for _ in range(100):
        pids = (path / "cgroup.procs").read_text().split()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(OSError):
            path.rmdir()
            return
        time.sleep(0.02)
    raise StageError(f"cannot remove {path}")


def compile_c(source: str, folder: Path) -> Path:
    """Compile a program of the rates folder and return its path. Raises StageError without gcc."""
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        raise StageError("no C compiler")
    target = folder / source.removesuffix(".c")
    command = [compiler, "-O2", "-o", str(target), str(HERE / "rates" / source), "-lpthread"]
    subprocess.run(command, check=True)
    return target
