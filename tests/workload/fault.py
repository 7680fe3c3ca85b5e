"""A steady honest load with one named fault on top, or with none.

Every round does the same modest work: a look-up, a connect with an exchange, file reads and
writes, a little CPU, a sleep. The fault adds its own operations; the rest stays healthy.
Throttling, starvation and slow storage are done to the process from outside (quota, competitors,
a slow file system); here they only get something to act upon.

The truth holds how long each operation took, segments sent again and the wait for a CPU: what a
report may say of a machine that others keep busy.
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns_message
import gate
from burn import burn

ROUND_SECONDS = 0.1
_TCP_INFO_BYTES = 104
_RETRANSMITS_OFFSET = 100


class Load:
    """The operations that faults are made of; counts each."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.counts: Counter[str] = Counter()
        self.seconds: dict[str, list[float]] = {
            kind: [] for kind in ("dns", "connect", "round_trip", "file", "fsync")
        }
        self.data = os.open(options.file, os.O_RDWR | os.O_CREAT)
        os.pwrite(self.data, bytes(1 << 16), 0)
        self.kept: dict[str, socket.socket] = {}
        self.cpu_before_ns = _cpu_and_wait_ns()

    def truth(self) -> dict[str, Any]:
        """Return what was done and what was met."""
        for sock in self.kept.values():
            self._count_retransmits(sock)
        now, before = _cpu_and_wait_ns(), self.cpu_before_ns
        return {
            **self.counts,
            "seconds": self.seconds,
            "cpu_ns": now[0] - before[0],
            "cpu_wait_ns": now[1] - before[1],
        }

    def look_up(self, *names: str) -> None:
        """Ask for every name at once and wait for all answers."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((self.options.dns, 53))
            begun = time.monotonic()
            for name in names:
                self.counts["queries"] += 1
                sock.send(dns_message.query(self.counts["queries"] & 0xFFFF, name))
            for _ in names:
                code = dns_message.rcode(sock.recv(512))
                self._note("dns", begun)
                self.counts[f"answers_{dns_message.RCODE_NAMES[code].lower()}"] += 1

    def connect(self, address: str, port: int, times: int = 1) -> None:
        """Begin connects at once, exchange a message on each that comes up, close."""
        waiting = []
        begun = time.monotonic()
        for _ in range(times):
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            sock.setblocking(False)
            self.counts["connects"] += 1
            sock.connect_ex((address, port))
            waiting.append(sock)
        while waiting:
            for sock in select.select([], waiting, [])[1]:
                waiting.remove(sock)
                if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    self.counts["connects_failed"] += 1
                else:
                    self._note("connect", begun)
                    self._note("round_trip", begun)
                    sock.setblocking(True)
                    self._exchange(sock)
                    self._count_retransmits(sock)
                sock.close()

    def exchange(self, address: str, port: int, times: int = 1) -> None:
        """Exchange messages on one connection that stays open."""
        if address not in self.kept:
            self.kept[address] = socket.create_connection((address, port))
        for _ in range(times):
            self._exchange(self.kept[address])
            self.counts["exchanges"] += 1

    def use_file(self, fsync: bool = False) -> None:
        """Read and write a few blocks, then perhaps fsync."""
        for block in range(4):
            begun = time.monotonic()
            os.pwrite(self.data, bytes(4096), block * 4096)
            self._note("file", begun)
            begun = time.monotonic()
            os.pread(self.data, 4096, block * 4096)
            self._note("file", begun)
        if fsync:
            begun = time.monotonic()
            os.fsync(self.data)
            self._note("fsync", begun)
            self.counts["fsyncs"] += 1

    def healthy_round(self, number: int) -> None:
        """Do what every round does."""
        self.look_up(f"name{number % 3}.healthy.test")
        self.connect(self.options.tcp, self.options.port)
        self.use_file(fsync=number % 10 == 0)
        burn(0.005)

    def _exchange(self, sock: socket.socket) -> None:
        begun = time.monotonic()
        sock.send(bytes(200))
        sock.recv(200, socket.MSG_WAITALL)
        self._note("round_trip", begun)

    def _note(self, kind: str, begun: float) -> None:
        self.seconds[kind].append(time.monotonic() - begun)

    def _count_retransmits(self, sock: socket.socket) -> None:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        self.counts["retransmits"] += struct.unpack_from("I", info, _RETRANSMITS_OFFSET)[0]


def _cpu_and_wait_ns() -> tuple[int, int]:
    """Return the kernel's account of this thread: time on a CPU, and time ready to run."""
    cpu, wait, _ = Path("/proc/thread-self/schedstat").read_text().split()
    return int(cpu), int(wait)


def _dns_errors(load: Load, number: int) -> None:
    load.look_up(f"nx{number}.fault.test", f"fail{number}.fault.test")


def _dns_slow(load: Load, number: int) -> None:
    load.look_up(*(f"slow{part}.d700.fault.test" for part in range(6)))


def _connects_failing(load: Load, number: int) -> None:
    load.connect(load.options.tcp, load.options.refused_port, times=2)


def _connects_slow(load: Load, number: int) -> None:
    load.connect(load.options.far, load.options.port, times=6)


def _link(load: Load, number: int) -> None:
    load.exchange(load.options.far, load.options.port, times=4)


def _slow_fsync(load: Load, number: int) -> None:
    load.use_file(fsync=True)


def _cpu_bound(load: Load, number: int) -> None:
    del load, number
    burn(0.06)


def _nothing(load: Load, number: int) -> None:
    del load, number


FAULTS: dict[str, Callable[[Load, int], None]] = {
    "dns_errors": _dns_errors,
    "dns_slow": _dns_slow,
    "connects_failing": _connects_failing,
    "connects_slow": _connects_slow,
    "rtt_spikes": _link,
    "retransmits": _link,
    "slow_fsync": _slow_fsync,
    "cpu_throttled": _cpu_bound,
    "cpu_starved": _cpu_bound,
    "healthy": _nothing,
}


def main() -> None:
    """Wait for the gate, run the rounds, say so, and give the truth when asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("fault", choices=FAULTS)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--dns", required=True)
    parser.add_argument("--tcp", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--refused-port", type=int, default=0)
    parser.add_argument("--far", help="address at the other end of a link")
    parser.add_argument("--file", type=Path, required=True)
    options = parser.parse_args()
    load = Load(options)
    gate.say("ready", pid=os.getpid(), gated=True)
    gate.hold()
    end = time.monotonic() + options.seconds
    number = 0
    while time.monotonic() < end:
        begun = time.monotonic()
        load.healthy_round(number)
        FAULTS[options.fault](load, number)
        time.sleep(max(ROUND_SECONDS - (time.monotonic() - begun), 0.01))
        number += 1
    gate.say("done")
    gate.hold()
    gate.say("truth", rounds=number, **load.truth())


if __name__ == "__main__":
    main()
