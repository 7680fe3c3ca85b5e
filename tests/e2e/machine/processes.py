"""The processes of a cluster: started, remembered, found again and ended.

A process that is started here is remembered with its start time in a file, so that another run can
end exactly those. What such a process starts by itself (a containerd shim lives on when containerd
dies) carries the cluster's directory in its environment; containers are found by their cgroups.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

MARK = "PODTRACE_E2E_CLUSTER"
_END_SECONDS = 120.0


@dataclass(frozen=True)
class Record:
    """A process, told apart from a later one of the same number by its start time."""

    name: str
    pid: int
    start: int

    @property
    def alive(self) -> bool:
        """Tell whether it still runs."""
        return start_time(self.pid) == self.start


class Processes:
    """The processes of the cluster in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file = directory / "processes.json"
        self._owner = directory / "owner.json"
        self._lock = threading.Lock()
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def records(self) -> dict[str, Record]:
        """Return what was started and not ended, alive or not."""
        try:
            state = json.loads(self._file.read_text())
        except FileNotFoundError:
            return {}
        if state["boot"] != _boot():
            return {}
        return {record["name"]: Record(**record) for record in state["processes"]}

    def own(self) -> None:
        """Note that the cluster is to end with this process."""
        pid = os.getpid()
        owner = {"boot": _boot(), "pid": pid, "start": start_time(pid)}
        self._owner.write_text(json.dumps(owner))

    @property
    def orphaned(self) -> bool:
        """Tell whether the cluster had an owner that has ended."""
        try:
            owner = json.loads(self._owner.read_text())
        except FileNotFoundError:
            return False
        return bool(owner["boot"] != _boot() or start_time(owner["pid"]) != owner["start"])

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        inside: Record | None = None,
        announce: str | None = None,
    ) -> Record:
        """Start a process in a session of its own, its output in a log.

        Args:
            name: for the log and for `end`
            command: what is executed
            inside: whose network, mounts and host name it gets
            announce: wait until a line of its output begins so
        """
        prefix: list[str | Path] = []
        if inside is not None:
            prefix = ["nsenter", f"--target={inside.pid}", "--net", "--mount", "--uts", "--"]
        log = self.log(name)
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as output:
            begin = output.tell()
            child = subprocess.Popen(
                [*prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=self.directory,
                env={
                    "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin",
                    "HOME": str(self.directory),
                    MARK: str(self.directory),
                },
            )
        record = Record(name, child.pid, start_time(child.pid) or 0)
        self._children[name] = child
        self._write(name, record)
        if announce is not None:
            self.wait(
                lambda: any(
                    line.startswith(announce) for line in log.read_text()[begin:].splitlines()
                ),
                f"{name} to be ready",
            )
        return record

    def log(self, name: str) -> Path:
        """Return where a process writes to."""
        return self.directory / "logs" / f"{name}.log"

    def running(self, name: str) -> bool:
        """Tell whether the process of that name runs."""
        child = self._children.get(name)
        if child is not None:
            child.poll()
        record = self.records.get(name)
        return record is not None and record.alive

    def wait(
        self,
        ready: Callable[[], bool],
        what: str,
        *,
        seconds: float = 300.0,
        needs: Sequence[str] = (),
    ) -> None:
        """Wait until `ready()`; fail when one of the processes in `needs` ends."""
        deadline = time.monotonic() + seconds
        while not ready():
            for name in needs:
                if not self.running(name):
                    raise RuntimeError(f"{name} ended:\n{self._last_lines(name)}")
            if time.monotonic() > deadline:
                tails = "\n".join(self._last_lines(name) for name in needs)
                raise RuntimeError(f"waited {seconds:.0f} s for {what}\n{tails}")
            time.sleep(0.1)

    def end(self, name: str, *, patience: float = 15.0) -> None:
        """End one process: ask, and kill it when it has not ended after so many seconds."""
        record = self.records.get(name)
        if record is None:
            return
        if patience:
            _signal([record], signal.SIGTERM)
            self._await_end([record], patience)
        _signal([record], signal.SIGKILL)
        self._await_end([record], _END_SECONDS)
        self._reap(name)
        self._write(name, None)

    def end_all(self, others: Callable[[], Iterable[int]]) -> None:
        """Kill whatever was started, what that started, and the processes in `others()`."""
        deadline = time.monotonic() + _END_SECONDS
        while True:
            records = [record for record in self.records.values() if record.alive]
            records += self._marked()
            for pid in others():
                start = start_time(pid)
                if start is not None:
                    records.append(Record("", pid, start))
            _signal(records, signal.SIGKILL)
            for name in list(self._children):
                self._reap(name)
            if not any(record.alive for record in records):
                break
            if time.monotonic() > deadline:
                raise RuntimeError(f"does not end: {[record.pid for record in records]}")
            time.sleep(0.05)
        self._file.unlink(missing_ok=True)

    def _marked(self) -> list[Record]:
        mark = f"{MARK}={self.directory}".encode()
        found = []
        for directory in Path("/proc").iterdir():
            if not directory.name.isdigit():
                continue
            try:
                marked = mark in (directory / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            start = start_time(int(directory.name)) if marked else None
            if start is not None:
                found.append(Record("", int(directory.name), start))
        return found

    def _await_end(self, records: Sequence[Record], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while any(record.alive for record in records) and time.monotonic() < deadline:
            for record in records:
                child = self._children.get(record.name)
                if child is not None:
                    child.poll()
            time.sleep(0.02)

    def _reap(self, name: str) -> None:
        child = self._children.get(name)
        if child is not None:
            # The last thread of a process ends a moment after the process is seen as ended.
            child.wait(_END_SECONDS)
            del self._children[name]

    def _last_lines(self, name: str) -> str:
        log = self.log(name)
        lines = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []
        return "\n".join([f"--- {log}", *lines])

    def _write(self, name: str, record: Record | None) -> None:
        with self._lock:
            records = self.records
            records.pop(name, None)
            if record is not None:
                records[name] = record
            self._replace(records)

    def _replace(self, records: dict[str, Record]) -> None:
        state = {"boot": _boot(), "processes": [asdict(record) for record in records.values()]}
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(state, indent=1))
        new.replace(self._file)


def start_time(pid: int) -> int | None:
    """Return when a process started, in the kernel's ticks, or None when it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _signal(records: Iterable[Record], number: signal.Signals) -> None:
    for record in records:
        if record.alive:
            try:
                os.kill(record.pid, number)
            except ProcessLookupError:
                continue


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
