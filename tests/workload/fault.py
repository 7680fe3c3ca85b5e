"""A steady honest load with one named fault on top, or with none.

Every round does the same modest work: a look-up, a connect with an exchange, file reads and
writes, a little CPU, a sleep. The fault adds its own operations; the rest stays healthy.
Throttling, starvation and slow storage are done to the process from outside (quota, competitors,
a slow file system); here they only get something to act upon.
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import dns_message
import gate
from burn import burn

ROUND_SECONDS = 0.1


class Load:
    """The operations that faults are made of; counts each."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.counts: Counter[str] = Counter()
        self.data = os.open(options.file, os.O_RDWR | os.O_CREAT)
        os.pwrite(self.data, bytes(1 << 16), 0)
        self.kept: dict[str, socket.socket] = {}

    def look_up(self, *names: str) -> None:
        """Ask for every name at once and wait for all answers."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((self.options.dns, 53))
            for name in names:
                self.counts["queries"] += 1
                sock.send(dns_message.query(self.counts["queries"] & 0xFFFF, name))
            for _ in names:
                code = dns_message.rcode(sock.recv(512))
                self.counts[f"answers_{dns_message.RCODE_NAMES[code].lower()}"] += 1

    def connect(self, address: str, port: int, times: int = 1) -> None:
        """Begin connects at once, exchange a message on each that comes up, close."""
        waiting = []
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
                    sock.setblocking(True)
                    _exchange(sock)
                sock.close()

    def exchange(self, address: str, port: int, times: int = 1) -> None:
        """Exchange messages on one connection that stays open."""
        if address not in self.kept:
            self.kept[address] = socket.create_connection((address, port))
        for _ in range(times):
            _exchange(self.kept[address])
            self.counts["exchanges"] += 1

    def use_file(self, fsync: bool = False) -> None:
        """Read and write a few blocks, then perhaps fsync."""
        for block in range(4):
            os.pwrite(self.data, bytes(4096), block * 4096)
            os.pread(self.data, 4096, block * 4096)
        if fsync:
            os.fsync(self.data)
            self.counts["fsyncs"] += 1

    def healthy_round(self, number: int) -> None:
        """Do what every round does."""
        self.look_up(f"name{number % 3}.healthy.test")
        self.connect(self.options.tcp, self.options.port)
        self.use_file(fsync=number % 10 == 0)
        burn(0.005)


def _exchange(sock: socket.socket) -> None:
    sock.send(bytes(200))
    sock.recv(200, socket.MSG_WAITALL)


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
    gate.say("truth", rounds=number, **load.counts)


if __name__ == "__main__":
    main()
