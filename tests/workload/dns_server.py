"""A DNS server whose delay, errors and silence are known.

The first label of a name decides the answer: `nx...` NXDOMAIN, `fail...` SERVFAIL, `refused...`
REFUSED, `silent...` none, `retry...` none to the first query and an answer to the next one; any
other name has an address. A second label `dNNN` replaces the delay by NNN milliseconds.

An answer never leaves before its delay is over. The truth counts queries and answers.
"""

from __future__ import annotations

import argparse
import heapq
import re
import select
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import dns_message
import gate
import urgency

_PREFIXES = {
    "nx": dns_message.NXDOMAIN,
    "fail": dns_message.SERVFAIL,
    "refused": dns_message.REFUSED,
}


@dataclass(order=True)
class Pending:
    """One answer that waits for its moment."""

    due_ns: int
    rcode: int = field(compare=False)
    request: bytes = field(compare=False)
    sock: socket.socket = field(compare=False)
    peer: Any = field(compare=False)


class Server:
    """Listens, holds answers back and keeps the books."""

    def __init__(self, addresses: list[str], port: int, delay_ns: int) -> None:
        """Listen on every address, UDP and TCP."""
        self.delay_ns = delay_ns
        self.datagram: dict[int, socket.socket] = {}
        self.listeners: dict[int, socket.socket] = {}
        self.streams: dict[int, tuple[socket.socket, bytes]] = {}
        self.pending: list[Pending] = []
        self.counts: Counter[str] = Counter()
        self.rcodes: Counter[str] = Counter()
        self.retried: set[str] = set()
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            udp = socket.socket(family, socket.SOCK_DGRAM)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            udp.bind((address, port))
            self.datagram[udp.fileno()] = udp
            tcp = socket.socket(family, socket.SOCK_STREAM)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind((address, port))
            tcp.listen(64)
            self.listeners[tcp.fileno()] = tcp

    def serve(self) -> None:
        """Answer until standard input has a line or ends."""
        while True:
            timeout = None
            if self.pending:
                wait_ns = self.pending[0].due_ns - time.monotonic_ns() - urgency.SPIN_NS
                timeout = max(wait_ns, 0) / 1e9
            files = [0, *self.datagram, *self.listeners, *self.streams]
            for number in select.select(files, [], [], timeout)[0]:
                if number == 0:
                    return
                if number in self.datagram:
                    self._receive_datagram(self.datagram[number])
                elif number in self.listeners:
                    stream = self.listeners[number].accept()[0]
                    self.streams[stream.fileno()] = (stream, b"")
                    self.counts["tcp_connections"] += 1
                else:
                    self._receive_stream(number)
            while self.pending and self.pending[0].due_ns - time.monotonic_ns() <= urgency.SPIN_NS:
                self._answer(heapq.heappop(self.pending))

    def truth(self) -> dict[str, Any]:
        """Return counts, and answers by code."""
        return {**self.counts, "rcodes": self.rcodes}

    def _receive_datagram(self, udp: socket.socket) -> None:
        request, peer = udp.recvfrom(512)
        self.counts["udp_queries"] += 1
        self._hold(request, udp, peer)

    def _receive_stream(self, number: int) -> None:
        stream, rest = self.streams[number]
        try:
            data = stream.recv(4096)
        except ConnectionError:
            data = b""
        if not data:
            del self.streams[number]
            stream.close()
            return
        rest += data
        while len(rest) >= 2 and len(rest) >= 2 + int.from_bytes(rest[:2], "big"):
            size = int.from_bytes(rest[:2], "big")
            request, rest = rest[2 : 2 + size], rest[2 + size :]
            self.counts["tcp_queries"] += 1
            self._hold(request, stream, None)
        self.streams[number] = (stream, rest)

    def _hold(self, request: bytes, sock: socket.socket, peer: Any) -> None:
        arrived_ns = time.monotonic_ns()
        try:
            name = dns_message.question(request)[1].lower()
        except (struct.error, IndexError):
            self.counts["junk"] += 1
            return
        delay_ns = self.delay_ns
        if match := re.search(r"\.d(\d+)\.", name):
            delay_ns = int(match[1]) * 1_000_000
        rcode = dns_message.NOERROR
        for prefix, code in _PREFIXES.items():
            if name.startswith(prefix):
                rcode = code
        if name.startswith("silent"):
            self.counts["silenced"] += 1
            return
        if name.startswith("retry") and name not in self.retried:
            self.retried.add(name)
            self.counts["silenced"] += 1
            return
        item = Pending(arrived_ns + delay_ns, rcode, request, sock, peer)
        heapq.heappush(self.pending, item)

    def _answer(self, item: Pending) -> None:
        message = dns_message.answer(item.request, item.rcode)
        urgency.spin_until(item.due_ns)
        if item.peer is None:
            item.sock.sendall(len(message).to_bytes(2, "big") + message)
        else:
            item.sock.sendto(message, item.peer)
        self.rcodes[dns_message.RCODE_NAMES[item.rcode]] += 1


def main() -> None:
    """Serve until told to stop, then print the truth."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", action="append", required=True)
    parser.add_argument("--port", type=int, default=53)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    options = parser.parse_args()
    urgency.claim()
    server = Server(options.address, options.port, int(options.delay_ms * 1e6))
    gate.say("ready", port=options.port)
    server.serve()
    gate.say("truth", **server.truth())


if __name__ == "__main__":
    main()
