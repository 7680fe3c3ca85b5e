"""Proxies that pass bytes on: by CONNECT, and SOCKS version 5."""

from __future__ import annotations

import select
import socket
import ssl

from scripted_server import Request, ScriptedServer


class Proxy(ScriptedServer):
    """Answers CONNECT by passing bytes on."""

    def __init__(self, refusal: bytes | None = None, context: ssl.SSLContext | None = None) -> None:
        self.refusal = refusal
        super().__init__(self._connect, context)

    def _connect(self, request: Request) -> None:
        if self.refusal is not None:
            request.socket.sendall(self.refusal)
            return
        host, _, port = request.target.rpartition(":")
        with socket.create_connection((host, int(port))) as far:
            request.socket.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            pass_on(request.socket, far)


def pass_on(near: socket.socket, far: socket.socket) -> None:
    ends = {near: far, far: near}
    while True:
        for each in select.select(list(ends), [], [], 5)[0]:
            data = each.recv(65536)
            if not data:
                return
            ends[each].sendall(data)


class SocksProxy(ScriptedServer):
    """Speaks SOCKS version 5 and leads every name to this machine."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        super().__init__(lambda _: None)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.recv(64)
            connection.sendall(b"\x05\x00")
            request = connection.recv(512)
            self.asked.append(request[5 : 5 + request[4]])
            port = int.from_bytes(request[-2:], "big")
            connection.sendall(b"\x05\x00\x00\x01" + bytes(6))
            with socket.create_connection(("127.0.0.1", port)) as far:
                pass_on(connection, far)
