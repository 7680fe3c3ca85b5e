"""An API server and a kubelet as far as a port-forward by websocket needs them.

What goes wrong at the pod is said on the error channel, as the kubelet does.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import threading
from collections.abc import Callable

from scripted_server import Request

PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1
_BINARY, _CLOSE, _PING = 2, 8, 9
_CHUNK_BYTES = 32768

Serve = Callable[["WebSocketEnd"], None]


class WebSocketEnd:
    """The server's end of a websocket."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._lock = threading.Lock()

    def send(self, data: bytes, opcode: int = _BINARY) -> None:
        if len(data) < 126:
            length = bytes([len(data)])
        elif len(data) < 65536:
            length = b"\x7e" + len(data).to_bytes(2)
        else:
            length = b"\x7f" + len(data).to_bytes(8)
        with self._lock:
            self.socket.sendall(bytes([0x80 | opcode]) + length + data)

    def ping(self) -> None:
        self.send(b"there?", _PING)

    def receive(self) -> bytes | None:
        """Return the next binary message; None where the client has gone."""
        while True:
            try:
                first, length = self._exactly(2)
                assert length & 0x80, "a client masks what it sends"
                length &= 0x7F
                if length >= 126:
                    length = int.from_bytes(self._exactly(2 if length == 126 else 8))
                mask, data = self._exactly(4), self._exactly(length)
            except (OSError, EOFError):
                return None
            if first & 0x0F == _CLOSE:
                return None
            if first & 0x0F == _BINARY:
                repeated = (mask * (length // 4 + 1))[:length]
                return (int.from_bytes(data) ^ int.from_bytes(repeated)).to_bytes(length)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.send(b"\x03\xe8", _CLOSE)
            socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data


def upgrade(request: Request) -> WebSocketEnd:
    """Answer the handshake of a port-forward."""
    assert request.method == "GET"
    assert request.headers["Sec-WebSocket-Protocol"] == PROTOCOL
    assert request.headers["Accept"] == "*/*", "a kubelet answers anything else with 406"
    key = request.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accepted = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Accept: {accepted}", f"Sec-WebSocket-Protocol: {PROTOCOL}"]
    request.socket.sendall("\r\n".join([*lines, "", ""]).encode())
    return WebSocketEnd(request.socket)


def to_port(port: int) -> Serve:
    """Return what passes a port-forward on to a port of this machine, as a kubelet does."""

    def serve(end: WebSocketEnd) -> None:
        for kind in (_DATA, _ERROR):
            end.send(bytes([kind]) + (3000).to_bytes(2, "little"))
        try:
            far = socket.create_connection(("127.0.0.1", port))
        except OSError:
            end.send(bytes([_ERROR]) + b"failed to connect to localhost:3000: refused")
            end.close()
            return
        reader = threading.Thread(target=_pass_back, args=(far, end), daemon=True)
        reader.start()
        while (message := end.receive()) is not None:
            assert message[0] == _DATA
            far.sendall(message[1:])
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)
        reader.join(5)
        far.close()

    return serve


def _pass_back(far: socket.socket, end: WebSocketEnd) -> None:
    with contextlib.suppress(OSError):
        while data := far.recv(_CHUNK_BYTES):
            end.send(bytes([_DATA]) + data)
        end.close()


def forwarding(serve: Serve) -> Callable[[Request], None]:
    """Return the answer of a ScriptedServer whose port-forwards are served so."""

    def answer(request: Request) -> None:
        serve(upgrade(request))

    return answer
