"""Steps on this host: files and what is no file, CPU time, waits of every kind."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable

import gate
from burn import burn
from network_steps import error_name

Seconds = dict[str, list[float]]
"""How long each call took, by its kind."""
Moment = tuple[int, float]
"""When something ended, in nanoseconds of the wall clock, and how long it was."""


class HostSteps:
    """One method per step; arguments and results are plain JSON."""

    def read_file(self, path: str, times: int, size: int = 512) -> Seconds:
        """Read a file from its beginning, again and again; return how long each read took."""
        data = os.open(os.fsencode(path), os.O_RDONLY)
        reads = [_timed(os.pread, data, size, 0) for _ in range(times)]
        os.close(data)
        return {"read": reads}

    def write_file(self, path: str, times: int, size: int = 512, fsync: bool = False) -> Seconds:
        """Create or open a file and write to it; return how long each call took."""
        data = os.open(os.fsencode(path), os.O_WRONLY | os.O_CREAT, 0o600)
        seconds: Seconds = {"write": [], "fsync": []}
        for _ in range(times):
            seconds["write"].append(_timed(os.write, data, bytes(size)))
            if fsync:
                seconds["fsync"].append(_timed(os.fsync, data))
        os.close(data)
        return seconds

    def write_until_told(self, paths: list[str], pause: float) -> dict[str, list[Moment]]:
        """Write to each file in turn and sleep, until a line comes; return when and how long."""
        files = [os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND) for path in paths]
        done: dict[str, list[Moment]] = {"writes": [], "sleeps": []}
        while not select.select([0], [], [], 0)[0]:
            for data in files:
                seconds = _timed(os.write, data, b"x")
                done["writes"].append((time.time_ns(), seconds))
            seconds = _timed(time.sleep, pause)
            done["sleeps"].append((time.time_ns(), seconds))
        gate.hold()
        for data in files:
            os.close(data)
        return done

    def open_each(self, paths: list[str], directory: bool = False) -> list[str]:
        """Open and close each path; return `ok` or the error."""
        results = []
        for path in paths:
            try:
                os.close(os.open(path, os.O_RDONLY | (os.O_DIRECTORY if directory else 0)))
                results.append("ok")
            except OSError as error:
                results.append(error_name(error))
        return results

    def use_others(self, times: int) -> None:
        """Read and write what is no regular file: pipe, socket pair, terminal, device."""
        pipe_out, pipe_in = os.pipe()
        left, right = socket.socketpair()
        main_side, terminal = pty.openpty()
        for _ in range(times):
            os.write(pipe_in, b"12345")
            os.read(pipe_out, 5)
            os.write(left.fileno(), b"123")
            os.read(right.fileno(), 3)
            os.write(terminal, b"1\n")
            os.read(main_side, 10)
        null = os.open("/dev/null", os.O_RDWR)
        for _ in range(times):
            os.write(null, b"1234567")
            os.read(null, 1)
        for descriptor in (pipe_out, pipe_in, main_side, terminal, null):
            os.close(descriptor)
        left.close()
        right.close()

    def fail_reads(self, path: str, times: int) -> None:
        """Read from a file that is open for writing only, and from no file at all."""
        data = os.open(os.fsencode(path), os.O_WRONLY)
        for _ in range(times):
            for descriptor in (data, 9999):
                with contextlib.suppress(OSError):
                    os.read(descriptor, 1)
        os.close(data)

    def burn(self, seconds: float, processes: int = 0) -> list[tuple[int, float]]:
        """Use the CPU here, or in so many children; return the children's PIDs and CPU time."""
        if not processes:
            burn(seconds)
        children = []
        for _ in range(processes):
            child = os.fork()
            if not child:
                burn(seconds)
                os._exit(3)
            children.append(child)
        used = []
        for child in children:
            usage = os.wait4(child, 0)[2]
            used.append((child, usage.ru_utime + usage.ru_stime))
        return used

    def execute(self, argv: list[str], times: int = 1) -> list[int]:
        """Run a program; return the exit codes."""
        return [subprocess.run(argv, stdin=subprocess.DEVNULL).returncode for _ in range(times)]

    def now(self) -> int:
        """Return the wall clock in nanoseconds."""
        return time.time_ns()

    def sleep(self, seconds: float) -> float:
        """Sleep; return how long it was."""
        return _timed(time.sleep, seconds)

    def nap(self, seconds: float, times: int) -> None:
        """Sleep again and again."""
        for _ in range(times):
            time.sleep(seconds)

    def poll(self, seconds: float) -> float:
        """Wait in poll for what does not come."""
        reading, writing = os.pipe()
        poll = select.poll()
        poll.register(reading, select.POLLIN)
        elapsed = _timed(poll.poll, int(seconds * 1000))
        os.close(reading)
        os.close(writing)
        return elapsed

    def wait_for_lock(self, seconds: float) -> float:
        """Wait for a lock that nobody gives away."""
        lock = threading.Lock()
        lock.acquire()
        return _timed(lambda: lock.acquire(timeout=seconds))

    def wait_for_network(self, seconds: float) -> float:
        """Wait in a receive call on a UDP socket."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("qq", 0, int(seconds * 1e6))
            )

            def receive() -> None:
                with contextlib.suppress(BlockingIOError):
                    sock.recv(1)

            return _timed(receive)


def _timed(action: Callable[..., object], *arguments: object) -> float:
    begun = time.monotonic()
    action(*arguments)
    return time.monotonic() - begun
