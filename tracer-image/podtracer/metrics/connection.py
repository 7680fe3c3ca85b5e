"""One client of the page: bytes in up to a limit, answers out one after the other.

While an answer is on its way nothing more is read, so that a client that sends without reading
fills its own buffers and not ours. After a refusal what it still sends is read and thrown away for
a moment: to close at once would reset the connection, and the answer with it.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Sequence
from http import HTTPStatus
from typing import Callable, NamedTuple

from podtracer.metrics.http_request import (
    END_OF_HEAD,
    MOST_HEAD_BYTES,
    Refused,
    Request,
    parse,
)

REQUEST_SECONDS = 10.0
"""From a request's first byte, or the connection, to the last byte of the answer."""
IDLE_SECONDS = 130.0
"""Between two requests: longer than Prometheus's longest usual interval of two minutes."""
DISCARD_SECONDS = 2.0
_CHUNK = 8192


class Answer(NamedTuple):
    """What to say to a request; `done` is called when its last byte has been handed over."""

    status: int
    content_type: str
    body: Sequence[bytes]
    fields: Sequence[tuple[str, str]] = ()
    done: Callable[[], None] = lambda: None


def _plain(status: int) -> Answer:
    text = f"{HTTPStatus(status).phrase}\n".encode()
    return Answer(status, "text/plain; charset=utf-8", [text])


class Connection:
    """One connection, from its accept to `closed`; `deadline` is in seconds of the clock given."""

    def __init__(
        self, sock: socket.socket, answer: Callable[[Request], Answer], now: float
    ) -> None:
        self.sock = sock
        self.deadline = now + REQUEST_SECONDS
        self.closed = False
        self.idle_since: float | None = now
        self._answer = answer
        self._inbox = bytearray()
        self._outbox: list[memoryview] = []
        self._done: Callable[[], None] = lambda: None
        self._last = False
        self._discarding = False
        self._ended = False

    @property
    def interest(self) -> int:
        """What to wait for."""
        return selectors.EVENT_WRITE if self._outbox else selectors.EVENT_READ

    def handle(self, events: int, now: float) -> None:
        """Go on after the socket has become ready."""
        try:
            if events & selectors.EVENT_READ and not self._outbox:
                self._receive(now)
            if events & selectors.EVENT_WRITE:
                self._send(now)
            self._advance(now)
        except OSError:
            self.close()

    def close(self) -> None:
        """End the connection."""
        self.closed = True
        self._outbox.clear()
        self.sock.close()

    def _receive(self, now: float) -> None:
        try:
            data = self.sock.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        if not data:
            self._ended = True
            if self._discarding:
                self.close()
        elif not self._discarding:
            if self.idle_since is not None:
                self.idle_since = None
                self.deadline = now + REQUEST_SECONDS
            self._inbox += data

    def _advance(self, now: float) -> None:
        """Answer what has come as a whole, while answers pass at once."""
        while not self.closed and not self._outbox and not self._discarding:
            while self._inbox.startswith(b"\r\n"):
                del self._inbox[:2]
            end = self._inbox.find(END_OF_HEAD)
            if end > MOST_HEAD_BYTES or (end < 0 and len(self._inbox) > MOST_HEAD_BYTES):
                self._refuse(431, now)
            elif end >= 0:
                head = bytes(self._inbox[:end])
                del self._inbox[: end + len(END_OF_HEAD)]
                self._reply(head, now)
            else:
                if self._ended:
                    self.close()
                return

    def _reply(self, head: bytes, now: float) -> None:
        try:
            request = parse(head)
        except Refused as refused:
            self._refuse(refused.status, now)
            return
        answer = self._answer(request)
        keep = request.keep_alive and not self._ended
        self._start(answer, keep, now, bodyless=request.method == "HEAD")

    def _refuse(self, status: int, now: float) -> None:
        self._inbox.clear()
        self._start(_plain(status), False, now)

    def _start(self, answer: Answer, keep: bool, now: float, bodyless: bool = False) -> None:
        length = sum(map(len, answer.body))
        fields = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(length)),
            ("Connection", "keep-alive" if keep else "close"),
            *answer.fields,
        ]
        head = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
        body = () if bodyless else answer.body
        self._outbox = [memoryview(part) for part in (head.encode("ascii"), *body) if part]
        self._done = answer.done
        self._last = not keep
        self._send(now)

    def _send(self, now: float) -> None:
        try:
            sent = self.sock.sendmsg(self._outbox)
        except (BlockingIOError, InterruptedError):
            return
        while self._outbox and sent >= len(self._outbox[0]):
            sent -= len(self._outbox.pop(0))
        if self._outbox:
            self._outbox[0] = self._outbox[0][sent:]
            return
        self._done()
        if self._last:
            self.sock.shutdown(socket.SHUT_WR)
            self._discarding = True
            self.deadline = now + DISCARD_SECONDS
            if self._ended:
                self.close()
        elif self._inbox:
            self.deadline = now + REQUEST_SECONDS
        else:
            self.idle_since = now
            self.deadline = now + IDLE_SECONDS
