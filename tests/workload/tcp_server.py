"""A TCP server that echoes or swallows, counts what it gets, and reserves ports that refuse.

It stands outside the traced target, so that its counters are an independent truth about the
connects and bytes of the workload. A refused port is bound but does not listen. An answer carries
the acknowledgement of its question, so it must not wait for a CPU: that would be round-trip time.
"""

from __future__ import annotations

import argparse
import selectors
import socket
from collections import Counter
from typing import Any

import gate
import urgency


def _socket(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind((address, port))
    return sock


class Server:
    """Every connection of every listener in one loop."""

    def __init__(self, echo: bool) -> None:
        """Start with no listener; `echo` sends back what comes in."""
        self.echo = echo
        self.selector = selectors.DefaultSelector()
        self.selector.register(0, selectors.EVENT_READ)
        self.counts: Counter[str] = Counter()

    def listen(self, address: str, port: int) -> int:
        """Add a listener and return its port."""
        sock = _socket(address, port)
        sock.listen(4096)
        self.selector.register(sock, selectors.EVENT_READ, "listener")
        return int(sock.getsockname()[1])

    def serve(self) -> None:
        """Serve until standard input has a line or ends."""
        while True:
            for key, _ in self.selector.select():
                if key.fd == 0:
                    return
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if key.data == "listener":
                    connection = sock.accept()[0]
                    version = "ipv6" if sock.family == socket.AF_INET6 else "ipv4"
                    self.counts[f"accepted_{version}"] += 1
                    self.selector.register(connection, selectors.EVENT_READ)
                else:
                    self._transfer(sock)

    def _transfer(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(1 << 16)
            if data and self.echo:
                connection.sendall(data)
            elif data:
                # No answer will carry the acknowledgement: it need not wait for one.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except ConnectionError:
            data = b""
            self.counts["reset"] += 1
        self.counts["bytes"] += len(data)
        if not data:
            self.selector.unregister(connection)
            connection.close()


def main() -> None:
    """Serve until told to stop, then print the truth."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", action="append", default=[], metavar="ADDRESS")
    parser.add_argument("--refuse", action="append", default=[], metavar="ADDRESS")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--refuse-port", type=int, default=0)
    parser.add_argument("--sink", action="store_true", help="send nothing back")
    options = parser.parse_args()
    server = Server(echo=not options.sink)
    facts: dict[str, Any] = {"port": options.port, "refused_port": options.refuse_port}
    for address in options.listen:
        facts["port"] = server.listen(address, facts["port"])
    reserved = []
    for address in options.refuse:
        reserved.append(_socket(address, facts["refused_port"]))
        facts["refused_port"] = reserved[-1].getsockname()[1]
    urgency.claim()
    gate.say("ready", **facts)
    server.serve()
    gate.say("truth", **server.counts)


if __name__ == "__main__":
    main()
