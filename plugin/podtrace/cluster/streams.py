"""Answers that come bit by bit: logs and watches. Can be ended from another thread."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from podtrace.cluster.interface import Object
from podtrace.cluster.refusal import api_error
from podtrace.errors import ClusterError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

CHUNK_BYTES = 65536
LONGEST_EVENT_BYTES = 16 << 20


class LogStream:
    """The body of an answer while it comes.

    Args:
        response: the answer, of which nothing was read.
        explain: makes an error for the user of what the transport raises.
    """

    def __init__(
        self, response: BaseHTTPResponse, explain: Callable[[Exception], ClusterError]
    ) -> None:
        self._response = response
        self._explain = explain
        self._is_closed = False
        self._is_read = False
        # A descriptor of its own: shutting it down wakes a reader whatever lies above the socket,
        # and stays harmless when the connection has been closed meanwhile.
        self._handle = _duplicate(response)

    def __iter__(self) -> Iterator[bytes]:
        """Yield what comes; an answer is read once."""
        if self._is_closed:
            return
        self._is_read = True
        try:
            # Read as it comes: without chunks, `stream` would wait until its buffer is full.
            if self._response.chunked:
                yield from self._response.stream(CHUNK_BYTES, decode_content=False)
            else:
                while data := self._response.read1(CHUNK_BYTES, decode_content=False):
                    yield data
        except Exception as error:
            # Whatever a reader trips over when its socket is taken away is no trouble.
            if not self._is_closed:
                raise self._explain(error) from error
        finally:
            self._is_read = False
            self._release()

    def close(self) -> None:
        """End it; a reader in another thread, or interrupted by a signal, ends at once."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._handle is not None:
            with contextlib.suppress(OSError):
                self._handle.shutdown(socket.SHUT_RDWR)
        if not self._is_read:
            self._release()

    def _release(self) -> None:
        self._is_closed = True
        with contextlib.suppress(Exception):
            self._response.close()
        if self._handle is not None:
            self._handle.close()


class WatchStream:
    """The events of a watch.

    Args:
        stream: the body of the answer: a JSON object a line.
        server: the URL of the API server.
        path: what is watched.
    """

    def __init__(self, stream: LogStream, server: str, path: str) -> None:
        self._stream = stream
        self._server = server
        self._path = path

    def __iter__(self) -> Iterator[Object]:
        """Yield the events.

        Raises:
            ApiError: the server ended the watch with an error, such as a version that is too old.
        """
        pending = bytearray()
        for chunk in self._stream:
            pending += chunk
            if b"\n" not in chunk:
                if len(pending) > LONGEST_EVENT_BYTES:
                    self.close()
                    raise self._broken(bytes(pending[:100]))
                continue
            *lines, rest = bytes(pending).split(b"\n")
            pending = bytearray(rest)
            for line in lines:
                if line.strip():
                    yield self._event(line)

    def close(self) -> None:
        """End it; who waits for an event is woken."""
        self._stream.close()

    def _event(self, line: bytes) -> Object:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict) or not isinstance(event.get("object"), dict):
            self.close()
            raise self._broken(line)
        if event.get("type") == "ERROR":
            self.close()
            status = event["object"]
            code = status.get("code")
            raise api_error(
                code if isinstance(code, int) else 500,
                json.dumps(status).encode(),
                method="GET",
                path=self._path,
                server=self._server,
            )
        return event

    def _broken(self, line: bytes) -> ClusterError:
        return ClusterError(
            f"{self._server}{self._path}: the watch gave no event but {line[:100]!r}",
            "see whether a proxy stands between: kubectl config view --minify",
        )


def _duplicate(response: BaseHTTPResponse) -> socket.socket | None:
    try:
        return socket.fromfd(response.fileno(), socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, ValueError):
        return None  # an answer without a body has no socket any more
