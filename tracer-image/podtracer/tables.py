"""The tables that the probes keep beside the counters: processes, labels, files, DNS queries.

Each is read once a tick and tells what is new since the last time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from podtrace.wire.schema import OVERFLOW_LABEL
from podtracer import bpf
from podtracer.records import (
    DNS_VALUE,
    FILE_KEY,
    FILE_VALUE,
    OVERFLOW_HASH,
    PROCESS_VALUE,
    U32,
    U64,
    exit_code,
    label_text,
    path_text,
    process_name,
)

DNS_TIMEOUT_NS = 5_000_000_000
_TICKS_KEPT = 2
_NEVER_IN_TABLE = -1
_FIRST_PID = 1
_MOST_FIRST = 1000


def entries(table: bpf.Map, key_bytes: int, value_bytes: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield every entry of a hash."""
    for keys, values, count in table.batches():
        for index in range(count):
            yield (
                bytes(keys[index * key_bytes : (index + 1) * key_bytes]),
                bytes(values[index * value_bytes : (index + 1) * value_bytes]),
            )


class Process(NamedTuple):
    """One row of the process table; times are of the kernel's monotonic clock, 0: not known."""

    number: int
    start_ns: int
    exit_ns: int
    container_cgroup: int
    parent: int
    pid: int
    exit_status: int
    target: int
    entered: bool
    name: str

    @property
    def exit_code(self) -> int | None:
        """Exit code, minus the number of a signal that ended it, None while it runs."""
        return exit_code(self.exit_status) if self.exit_ns else None


class ProcessTable:
    """Member processes as the probes entered them."""

    def __init__(self, table: bpf.Map) -> None:
        self._table = table
        self._before: dict[int, bytes] = {}
        self._ended: dict[int, tuple[int, int]] = {}
        self._first_ended: dict[int, int] = {}
        self.running = 0

    def changes(self) -> list[Process]:
        """Return rows that are new, renamed or ended since the last call."""
        changed = []
        running = 0
        for key, value in entries(self._table, U32.size, PROCESS_VALUE.size):
            (number,) = U32.unpack(key)
            process = self._row(number, value)
            running += not process.exit_ns
            if self._before.get(number) != value:
                self._before[number] = value
                changed.append(process)
                if process.exit_ns:
                    self._ended[number] = (process.exit_ns, _TICKS_KEPT)
                    self._note_first(process)
                else:
                    self._ended.pop(number, None)
        self.running = running
        return changed

    @staticmethod
    def _row(number: int, value: bytes) -> Process:
        start, exit_ns, cgroup, parent, pid, status, target, entered, name = PROCESS_VALUE.unpack(
            value
        )
        return Process(
            number,
            start,
            exit_ns,
            cgroup,
            parent,
            pid,
            status,
            target,
            bool(entered),
            process_name(name),
        )

    def _note_first(self, process: Process) -> None:
        code = process.exit_code
        if process.pid == _FIRST_PID and code is not None:
            self._first_ended[process.container_cgroup] = code
            while len(self._first_ended) > _MOST_FIRST:
                del self._first_ended[next(iter(self._first_ended))]

    def exit_code_of(self, cgroup: int) -> int | None:
        """How the first process of a container ended, by the id of its cgroup; None: not known."""
        return self._first_ended.get(cgroup)

    def rows(self) -> Iterator[Process]:
        """Yield the processes of the last look, those that ended lately too."""
        for number, value in self._before.items():
            yield self._row(number, value)

    def name(self, number: int) -> str:
        """Name of a process that was seen, "" of any other."""
        value = self._before.get(number)
        return self._row(number, value).name if value else ""

    def expire_strangers(self, counted: Iterable[int]) -> None:
        """Let counters of processes that are not in the table expire too.

        A connection that outlives its process counts under it once more, after it was forgotten.
        """
        for number in counted:
            if number > 0 and number not in self._before:
                self._ended.setdefault(number, (_NEVER_IN_TABLE, _TICKS_KEPT))

    def expire(self, forget: Callable[[int], None]) -> None:
        """Count down the ended processes; forget those that nothing can be added to any more."""
        for number, (exit_ns, ticks) in list(self._ended.items()):
            if ticks:
                self._ended[number] = (exit_ns, ticks - 1)
                continue
            del self._ended[number]
            value = self._table.lookup(U32.pack(number))
            if value is not None and self._row(number, value).exit_ns != exit_ns:
                continue
            self._table.delete(U32.pack(number))
            self._before.pop(number, None)
            forget(number)


class LabelTable:
    """Peers and DNS names by their 64-bit hash."""

    def __init__(self, table: bpf.Map) -> None:
        self._table = table
        self._texts: dict[int, str] = {OVERFLOW_HASH: OVERFLOW_LABEL}

    def text(self, label: int) -> str:
        """Spell a label."""
        text = self._texts.get(label)
        if text is None:
            text = self._texts[label] = label_text(self._table.lookup(U64.pack(label)))
        return text


class FileGain(NamedTuple):
    """What happened to one file since the last look; `max_ns` is 0 where no longest call is new."""

    target: int
    path: str
    operations: int
    bytes: int
    max_ns: int


class FileTable:
    """Files by device and inode number, with the path they had when first seen."""

    def __init__(self, table: bpf.Map) -> None:
        self._table = table
        self._before: dict[bytes, tuple[int, int, int]] = {}
        self._paths: dict[bytes, str] = {}

    def gains(self) -> Iterator[FileGain]:
        """Yield the files that were used since the last call."""
        for key, value in entries(self._table, FILE_KEY.size, FILE_VALUE.size):
            operations, size, max_ns = FILE_VALUE.unpack(value)[:3]
            old = self._before.get(key, (0, 0, 0))
            if operations == old[0]:
                continue
            self._before[key] = (operations, size, max_ns)
            path = self._paths.get(key)
            if path is None:
                path = self._paths[key] = path_text(value)
            target = FILE_KEY.unpack(key)[3]
            # Only where it rose is it known to be of this tick.
            rose_ns = max_ns if max_ns > old[2] else 0
            yield FileGain(target, path, operations - old[0], size - old[1], rose_ns)

    def forget(self) -> None:
        """Begin anew: what follows has its own maxima."""
        for key, _ in list(entries(self._table, FILE_KEY.size, FILE_VALUE.size)):
            self._table.delete(key)
        self._before.clear()

    def path(self, key: bytes) -> str | None:
        """Path of a file by its struct file_key, None where it has none."""
        known = self._paths.get(key)
        if known is None and any(key):
            value = self._table.lookup(key)
            if value is not None:
                known = self._paths[key] = path_text(value)
        return known


class TimedOut(NamedTuple):
    """A DNS query that got no answer in time."""

    target: int
    process: int
    label: int
    start_ns: int


class DnsPending:
    """DNS queries that wait for their answers."""

    def __init__(self, table: bpf.Map, key_bytes: int) -> None:
        self._table = table
        self._key_bytes = key_bytes
        self.pending = 0

    def timeouts(self, now_ns: int) -> list[TimedOut]:
        """Take out and return what has waited too long; an answer that is faster wins."""
        waiting = list(entries(self._table, self._key_bytes, DNS_VALUE.size))
        gone = []
        for key, value in waiting:
            start_ns, label, _, process, target = DNS_VALUE.unpack(value)
            if now_ns - start_ns > DNS_TIMEOUT_NS and self._table.delete(key):
                gone.append(TimedOut(target, process, label, start_ns))
        self.pending = len(waiting) - len(gone)
        return gone
