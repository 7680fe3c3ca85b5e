"""An HTTP server that answers byte by byte what a test wants, over TLS or not, and its PKI."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPMessage, parse_headers
from pathlib import Path
from typing import Any, BinaryIO


@dataclass
class Request:
    """A request as it came."""

    method: str
    target: str
    headers: HTTPMessage
    body: bytes
    socket: socket.socket = field(repr=False)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


Answer = Callable[[Request], bytes | None]
"""Gives the bytes to send; None: the connection is closed."""


class ScriptedServer:
    """Listens on this machine, in threads of its own.

    Args:
        answer: what to send for each request.
        context: for TLS; None for none.
        greet: what to send before anything was asked, after which the connection is closed.
    """

    def __init__(
        self, answer: Answer, context: ssl.SSLContext | None = None, greet: bytes | None = None
    ) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self._context = context
        self._greet = greet
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    def close(self) -> None:
        # Else accept() in the other thread would go on waiting.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._thread.join(5)

    def cut(self) -> None:
        """Close all connections."""
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._greet is not None:
                connection.sendall(self._greet)
                return
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            self._sockets.append(connection)
            with connection.makefile("rb") as reader:
                while (request := read_request(reader, connection)) is not None:
                    self.requests.append(request)
                    answer = self.answer(request)
                    if answer is None:
                        return
                    connection.sendall(answer)
        except OSError:
            pass
        finally:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            connection.close()


def read_request(reader: BinaryIO, connection: socket.socket) -> Request | None:
    first = reader.readline().decode().split()
    if len(first) != 3:
        return None
    headers = parse_headers(reader)
    body = reader.read(int(headers.get("Content-Length") or 0))
    return Request(first[0], first[1], headers, body, connection)


def http(status: int, body: bytes, **headers: str) -> bytes:
    """Return a whole answer; `_` in the name of a header is `-`."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunks(*parts: bytes, end: bool = True) -> bytes:
    """Return an answer in chunks; without `end` it is not over yet."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(chunk(part) for part in parts) + (b"0\r\n\r\n" if end else b"")


def chunk(part: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(part), part)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: Path
    key: Path

    def server_context(self, clients_of: Path | None = None) -> ssl.SSLContext:
        """Return what a server with this certificate uses; `clients_of`: ask for theirs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if clients_of is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients_of)
        return context


class Authority:
    """A certificate authority in a folder, made by openssl."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self.pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", self.pair.key, "-out", self.pair.certificate, "-days", "2"),
            *("-subj", f"/CN={name}"),
        )

    @property
    def certificate(self) -> Path:
        return self.pair.certificate

    def issue(
        self, name: str, *, names: str = "IP:127.0.0.1", days: int = 1, group: str = ""
    ) -> Pair:
        """Issue a certificate; `days` below 0: it has expired."""
        pair = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\n" if names else "\n")
        self._openssl(
            *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", pair.key, "-out", request),
            *("-subj", f"/O={group}/CN={name}" if group else f"/CN={name}"),
        )
        self._openssl(
            *("x509", "-req", "-in", request, "-CA", self.pair.certificate),
            *("-CAkey", self.pair.key, "-CAcreateserial", "-out", pair.certificate),
            *("-days", str(days), "-extfile", extensions),
        )
        return pair

    def _openssl(self, *words: Any) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """Give a port on which nobody listens, and nobody will."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]
