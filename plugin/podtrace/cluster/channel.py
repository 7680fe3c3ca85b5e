"""One websocket to the API server: binary messages both ways. The only importer of `websocket`.

The socket is made elsewhere, by the transport of all requests, so that proxies and certificates are
the same. What the library raises leaves here as an OSError, or as `ChannelRefusedError`.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import websocket
from websocket import ABNF

if TYPE_CHECKING:
    from urllib3 import HTTPHeaderDict

SILENCE_SECONDS = 30.0
"""A message that has begun, or that is sent, does not stop for longer."""


class ChannelRefusedError(Exception):
    """The server answered the handshake with something else than a websocket."""

    def __init__(self, status: int, content: bytes) -> None:
        super().__init__(f"the handshake was answered with {status}")
        self.status = status
        self.content = content


class Channel:
    """A websocket, used by one thread; `close` may come from any.

    Args:
        connection: to the server; it is closed with the channel.
        url: what is asked for, http or https.
        headers: of the request.
        protocol: what the messages mean.

    Raises:
        ChannelRefusedError: the server wants no websocket.
        OSError: it said nothing sensible.
        ValueError: a header that cannot be sent.
    """

    def __init__(
        self, connection: socket.socket, url: str, headers: HTTPHeaderDict, protocol: str
    ) -> None:
        self._connection = connection
        self._socket: Any = websocket.WebSocket()
        with _os_errors():
            try:
                lines = [_line(name, value) for name, value in headers.iteritems()]
                self._socket.connect(  # type: ignore[no-untyped-call]
                    url.replace("http", "ws", 1),
                    header=lines,
                    subprotocols=[protocol],
                    socket=connection,
                    suppress_origin=True,
                    redirect_limit=0,
                )
            except BaseException:
                connection.close()
                raise
        connection.settimeout(SILENCE_SECONDS)

    def fileno(self) -> int:
        """Return what to wait on; `is_pending` first."""
        return self._connection.fileno()

    def is_pending(self) -> bool:
        """Tell whether there is something to receive that has left the socket already."""
        inner: Any = self._connection
        if hasattr(inner, "sslobj"):  # TLS through a proxy that speaks TLS itself
            return bool(inner.incoming.pending or inner.sslobj.pending())
        return bool(getattr(inner, "pending", int)())

    def receive(self) -> bytes | None:
        """Return the next message; None when the server ended the channel.

        Raises:
            OSError: the connection broke.
        """
        with _os_errors():
            opcode, data = self._socket.recv_data(control_frame=True)
        if opcode == ABNF.OPCODE_CLOSE:
            return None
        return bytes(data) if opcode == ABNF.OPCODE_BINARY else b""

    def send(self, message: bytes) -> None:
        """Send a message.

        Raises:
            OSError: the connection broke.
        """
        with _os_errors():
            self._socket.send_binary(message)

    def close(self) -> None:
        """End it; who waits for a message is woken."""
        with contextlib.suppress(OSError, AttributeError):
            self._connection.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._connection.close()


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """Turn what the library raises into what sockets raise."""
    try:
        yield
    except websocket.WebSocketBadStatusException as error:
        raise ChannelRefusedError(error.status_code, error.resp_body or b"") from error
    except websocket.WebSocketTimeoutException as error:
        raise TimeoutError("nothing came in time") from error
    except websocket.WebSocketException as error:
        raise ConnectionResetError(" ".join(str(error).split())) from error


def _line(name: str, value: str) -> str:
    """Return a header. The transport of other requests wants Latin-1, this one sends UTF-8."""
    if any(character in value for character in "\r\n\0"):
        raise ValueError(f"the header {name} cannot be sent")
    return f"{name}: {value.encode('latin-1').decode()}"
