"""A workload that knows exactly what it does: so many connects, queries, reads, seconds.

Everything is a raw system call: no resolver, no buffered file, no look-up by name. Whatever the
interpreter would load lazily is loaded before the gate opens, so between the gate's two reads the
process makes no file operation of its own. A neighbour runs the same program with `--times 10`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import struct
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import dns_message
import gate
from burn import burn

MESSAGE_BYTES = 100
RECORD_BYTES = 512
FILE_BYTES = 1 << 20


class Exact:
    """Does one part after the other and counts."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Prepare without touching anything that is counted."""
        self.options = options
        self.truth: Counter[str] = Counter(connects_ipv6=0, refused_ipv6=0)
        self.dns_seconds: list[float] = []
        self.kept: list[socket.socket] = []

    def run(self) -> dict[str, Any]:
        """Do everything once and return the truth."""
        cpu_before_ns = time.process_time_ns()
        begun_ns = time.monotonic_ns()
        self._query()
        self._connect()
        self._use_file()
        self._use_pipe()
        self._sleep()
        burn(self.options.cpu_seconds)
        stay_ns = time.monotonic_ns()
        if self.options.stay:
            time.sleep(self.options.stay)
        return {
            **self.truth,
            "dns_seconds": self.dns_seconds,
            "pid": os.getpid(),
            "stay_ns": time.monotonic_ns() - stay_ns,
            "cpu_ns": time.process_time_ns() - cpu_before_ns,
            "process_cpu_ns": time.process_time_ns(),
            "elapsed_ns": time.monotonic_ns() - begun_ns,
        }

    def _query(self) -> None:
        options = self.options
        answered = options.queries - options.nxdomain - options.unanswered
        names = [
            *(f"name{number % 4}.exact.test" for number in range(answered)),
            *(f"nx{number}.exact.test" for number in range(options.nxdomain)),
        ]
        shared = {address: _datagram(address) for address in options.dns}
        for number, name in enumerate(names):
            address = options.dns[number % len(options.dns)]
            own = number % 3 == 0
            sock = _datagram(address) if own else shared[address]
            message = dns_message.query(number, name)
            if own:
                sock.connect((address, 53))
            begun = time.monotonic()
            if own:
                sock.send(message)
            else:
                sock.sendto(message, (address, 53))
            answer = sock.recv(512)
            self.dns_seconds.append(time.monotonic() - begun)
            code = dns_message.rcode(answer)
            self.truth["dns_queries"] += 1
            self.truth[f"dns_{dns_message.RCODE_NAMES[code].lower()}"] += 1
            if own:
                sock.close()
        for number in range(options.unanswered):
            sock = _datagram(options.dns[0], timeout_seconds=0.05)
            sock.sendto(dns_message.query(number, f"silent{number}.exact.test"), _at(options))
            with contextlib.suppress(BlockingIOError):
                sock.recv(512)
            self.truth["dns_queries"] += 1
            self.truth["dns_unanswered"] += 1
            if number % 2:
                self.kept.append(sock)
            else:
                sock.close()
        for sock in shared.values():
            sock.close()

    def _connect(self) -> None:
        options = self.options
        for number in range(options.connects):
            address = options.tcp[number % len(options.tcp)]
            family = _family(address)
            version = "ipv6" if family == socket.AF_INET6 else "ipv4"
            refused = number < options.refused
            sock = socket.socket(family, socket.SOCK_STREAM)
            self.truth["connects"] += 1
            self.truth[f"connects_{version}"] += 1
            try:
                sock.connect((address, options.refused_port if refused else options.port))
            except ConnectionRefusedError:
                self.truth["connects_refused"] += 1
                self.truth[f"refused_{version}"] += 1
            else:
                self.truth["connects_established"] += 1
                self._exchange(sock)
            sock.close()

    def _exchange(self, sock: socket.socket) -> None:
        message = bytes(MESSAGE_BYTES)
        with contextlib.suppress(BlockingIOError):
            sock.recv(1, socket.MSG_DONTWAIT)
        self.truth["receives_again"] += 1
        for number in range(self.options.messages):
            if number % 2:
                os.write(sock.fileno(), message)
            else:
                sock.send(message)
            sock.recv(MESSAGE_BYTES, socket.MSG_WAITALL)
            self.truth["sends"] += 1
            self.truth["receives"] += 1
            self.truth["tcp_bytes_each_way"] += MESSAGE_BYTES

    def _use_file(self) -> None:
        options = self.options
        for _ in range(options.opens - 1):
            os.close(os.open(options.file, os.O_RDONLY))
        data = os.open(options.file, os.O_RDWR)
        self.truth["opens"] += options.opens
        for number in range(options.missing):
            with contextlib.suppress(FileNotFoundError):
                os.open(f"{options.file}.missing{number}", os.O_RDONLY)
            self.truth["opens_failed"] += 1
        record = bytes(RECORD_BYTES)
        for number in range(options.writes):
            offset = number * RECORD_BYTES % FILE_BYTES
            if number % 3 == 0:
                os.pwrite(data, record, offset)
            elif number % 3 == 1:
                os.lseek(data, offset, os.SEEK_SET)
                os.write(data, record)
            else:
                os.pwritev(data, [record[:100], record[100:]], offset)
            self.truth["writes"] += 1
            self.truth["write_bytes"] += RECORD_BYTES
        for number in range(options.reads):
            offset = number * RECORD_BYTES % (FILE_BYTES // 2)
            if number % 3 == 0:
                got = len(os.pread(data, RECORD_BYTES, offset))
            elif number % 3 == 1:
                os.lseek(data, offset, os.SEEK_SET)
                got = len(os.read(data, RECORD_BYTES))
            else:
                got = os.preadv(data, [bytearray(RECORD_BYTES)], offset)
            self.truth["reads"] += 1
            self.truth["read_bytes"] += got
        for number in range(options.fsyncs):
            (os.fdatasync if number % 4 == 3 else os.fsync)(data)
            self.truth["fsyncs"] += 1
        os.close(data)

    def _use_pipe(self) -> None:
        reading, writing = os.pipe()
        left = self.options.pipe_reads
        while left:
            amount = min(left, 4096)
            os.write(writing, bytes(amount))
            self.truth["pipe_writes"] += 1
            self.truth["pipe_write_bytes"] += amount
            for _ in range(amount):
                os.read(reading, 1)
            self.truth["pipe_reads"] += amount
            left -= amount
        os.close(reading)
        os.close(writing)

    def _sleep(self) -> None:
        before_ns = time.monotonic_ns()
        for _ in range(2):
            time.sleep(self.options.sleep_seconds / 2)
        self.truth["sleep_ns"] = time.monotonic_ns() - before_ns


def _at(options: argparse.Namespace) -> tuple[str, int]:
    return (options.dns[0], 53)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _datagram(address: str, timeout_seconds: float = 30.0) -> socket.socket:
    """Open a UDP socket whose blocking receive gives up, without a poll call."""
    sock = socket.socket(_family(address), socket.SOCK_DGRAM)
    whole = int(timeout_seconds)
    timeout = struct.pack("qq", whole, int((timeout_seconds - whole) * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
    return sock


def _warm_up(options: argparse.Namespace) -> None:
    for address in (*options.dns, *options.tcp):
        with _datagram(address) as sock:
            sock.connect((address, 9))
    path = Path(options.file)
    if not path.exists():
        path.write_bytes(bytes(FILE_BYTES))
    time.process_time_ns()
    time.thread_time_ns()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dns", action="append", default=[], metavar="ADDRESS")
    parser.add_argument("--tcp", action="append", default=[], metavar="ADDRESS")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--refused-port", type=int, default=0)
    parser.add_argument("--file", required=True)
    counts = {
        "connects": 23, "refused": 7, "messages": 3,
        "queries": 41, "nxdomain": 5, "unanswered": 3,
        "opens": 29, "missing": 4, "reads": 5000, "writes": 701, "fsyncs": 17,
        "pipe-reads": 3000,
    }  # fmt: skip
    for name, default in counts.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--cpu-seconds", type=float, default=1.5)
    parser.add_argument("--sleep-seconds", type=float, default=0.7)
    parser.add_argument("--times", type=int, default=1, help="do every count so many times")
    parser.add_argument("--fork", action="store_true", help="work in a child made after the gate")
    parser.add_argument("--no-gate", action="store_true", help="start at once, leave when done")
    parser.add_argument("--stay", type=float, default=0.0, help="sleep at the end, in seconds")
    options = parser.parse_args()
    for name in counts:
        attribute = name.replace("-", "_")
        if name != "messages":
            setattr(options, attribute, getattr(options, attribute) * options.times)
    if not options.dns:
        options.queries = options.nxdomain = options.unanswered = 0
    if not options.tcp:
        options.connects = options.refused = 0
    return options


def main() -> None:
    """Wait for the gate, work, say so, and give the truth when asked."""
    options = _options()
    _warm_up(options)
    exact = Exact(options)
    if not options.no_gate:
        gate.say("ready", pid=os.getpid(), gated=True)
        gate.hold()
    if options.fork and (child := os.fork()):
        status = os.waitpid(child, 0)[1]
        sys.exit(os.waitstatus_to_exitcode(status))
    truth = exact.run()
    if not options.no_gate:
        gate.say("done")
        gate.hold()
    gate.say("truth", **truth)


if __name__ == "__main__":
    main()
