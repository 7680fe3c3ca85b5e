"""One client's connection to the metrics, passed on to the tracer's port through the API server.

What comes from one end is sent to the other before more is read: a slow client holds up its own
connection, and nothing piles up here. A client that sends no more still gets its answer. Where
there is no tracer to pass a request to, it is answered from here, with the reason.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

from podtrace.cluster.http_answers import AnswerMeter, refusal
from podtrace.errors import NotReadyError, PodtraceError

IDLE_SECONDS = 20.0
"""A client that asks for nothing for so long makes room for others."""
SPARED_SECONDS = 1.0
"""The same where others wait already."""
ANSWER_SECONDS = 30.0
HALF_CLOSED_SECONDS = 5.0
"""An answer of unknown length to a client that sends no more is over after so much silence."""
WRITE_SECONDS = 60.0
"""A client that takes no byte for so long is given up."""
_RETRY_SECONDS = 1
_CHUNK_BYTES = 65536
_FAREWELL_SECONDS = 1.0


class FarEnd(Protocol):
    """A connection to the tracer's port. Waits and fails as a socket does."""

    @property
    def reason(self) -> str:
        """Why it ended, as far as somebody said so."""

    def fileno(self) -> int:
        """Return what to wait on; `is_pending` first."""

    def is_pending(self) -> bool:
        """Tell whether there is something to receive that `fileno` does not show."""

    def receive(self) -> bytes | None:
        """Return what the port sent, which may be nothing yet; None at the end."""

    def send(self, data: bytes) -> None:
        """Send something to the port."""

    def close(self) -> None:
        """End it, from any thread."""


Dial = Callable[[], FarEnd]
"""Connects to the tracer's port; raises NotReadyError before there is one, else ClusterError."""


class RelayedConnection:
    """A client's connection until one of both ends has enough.

    Args:
        client: the connection, which is closed in the end.
        dial: connects to the tracer's port.
        explain: returns the error for a connection to it that ended, from what is known of it.
        is_crowded: tells whether other clients may have to wait until this one leaves.
    """

    def __init__(
        self,
        client: socket.socket,
        dial: Dial,
        explain: Callable[[str], PodtraceError],
        is_crowded: Callable[[], bool],
    ) -> None:
        self._client = client
        self._dial = dial
        self._explain = explain
        self._is_crowded = is_crowded
        self._far: FarEnd | None = None
        self._meter = AnswerMeter()
        self._is_half_closed = False

    def run(self) -> None:
        """Pass on what comes; neither raises nor leaves anything open."""
        try:
            self._client.settimeout(WRITE_SECONDS)
            # A browser connects before it wants anything: that is not worth a websocket.
            if self._asks() and (request := self._client.recv(_CHUNK_BYTES)):
                self._pass_on(request)
        except (OSError, ValueError):
            # The client has gone, or this end was closed by another thread: nobody has to know.
            pass
        finally:
            self.close()
            self._client.close()

    def close(self) -> None:
        """Cut the connection, from any thread."""
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)
        if self._far is not None:
            self._far.close()

    def _asks(self) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self._client, selectors.EVENT_READ)
            return bool(self._ready(selector))

    def _pass_on(self, request: bytes) -> None:
        self._meter.expect()
        try:
            far = self._far = self._dial()
        except PodtraceError as error:
            self._refuse(error)
            return
        try:
            far.send(request)
        except OSError:
            self._refuse(self._explain(far.reason))
            return
        with selectors.DefaultSelector() as selector:
            selector.register(self._client, selectors.EVENT_READ)
            selector.register(far, selectors.EVENT_READ)
            while self._turn(selector, far):
                pass

    def _turn(self, selector: selectors.BaseSelector, far: FarEnd) -> bool:
        """Pass on what is there to be passed on; return whether to go on."""
        meter = self._meter
        if self._is_half_closed and meter.is_complete:
            return False
        if far.is_pending():
            return self._from_far(far)
        ready = self._ready(selector)
        if not ready:
            if not meter.has_begun:
                self._refuse(self._explain(f"no answer came for {ANSWER_SECONDS:.0f} s"))
            return False
        if far in ready and not self._from_far(far):
            return False
        return self._client not in ready or self._from_client(selector, far)

    def _ready(self, selector: selectors.BaseSelector) -> list[object]:
        """Wait for something to do; return nothing where it is time to leave."""
        until = time.monotonic() + self._patience()
        while (left := until - time.monotonic()) > 0:
            if events := selector.select(min(left, SPARED_SECONDS)):
                return [key.fileobj for key, _ in events]
            if self._meter.is_complete and self._is_crowded():
                break
        return []

    def _patience(self) -> float:
        if not self._meter.has_begun:
            return ANSWER_SECONDS
        return HALF_CLOSED_SECONDS if self._is_half_closed else IDLE_SECONDS

    def _from_far(self, far: FarEnd) -> bool:
        try:
            data = far.receive()
        except OSError:
            data = None
        if data is None:
            if not self._meter.has_begun:
                self._refuse(self._explain(far.reason))
            return False
        if data:
            self._meter.take(data)
            self._client.sendall(data)
        return True

    def _from_client(self, selector: selectors.BaseSelector, far: FarEnd) -> bool:
        data = self._client.recv(_CHUNK_BYTES)
        if not data:
            self._is_half_closed = True
            selector.unregister(self._client)
            return True
        self._meter.expect()
        try:
            far.send(data)
        except OSError:
            return self._from_far(far)
        return True

    def _refuse(self, error: PodtraceError) -> None:
        """Answer with the reason why there is nothing to pass on."""
        if isinstance(error, NotReadyError):
            answer = refusal(HTTPStatus.SERVICE_UNAVAILABLE, error.message, _RETRY_SECONDS)
        else:
            answer = refusal(HTTPStatus.BAD_GATEWAY, error.message)
        client = self._client
        client.sendall(answer)
        # A connection that is closed with something unread in it takes the answer along.
        client.shutdown(socket.SHUT_WR)
        until = time.monotonic() + _FAREWELL_SECONDS
        client.settimeout(_FAREWELL_SECONDS)
        while time.monotonic() < until and client.recv(_CHUNK_BYTES):
            pass
