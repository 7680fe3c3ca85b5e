"""Serves the page to everybody who can reach the port, however badly they behave.

One thread with a selector: it costs nothing while nobody asks, and clients in any number cost no
more threads. asyncio would do as well, but takes 7.5 MiB of memory. The tick waits for nothing in
here: it only puts another page in the place of the last one.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import threading
import time
from typing import Callable

from podtracer.metrics.connection import Answer, Connection
from podtracer.metrics.http_request import Request

MOST_CONNECTIONS = 64
SPARED_SECONDS = 1.0
"""How long a client may be idle before another one gets its place, when there is none left."""
SWITCH_SECONDS = 0.0001
"""How long a tick goes on after a client has something for us, while it holds the interpreter.

Every call of the kernel gives the interpreter away: at Python's 5 ms, a scrape that comes in the
middle of a tick would be over when the tick is.
"""
SEND_BUFFER_BYTES = 128 << 10
"""Of each connection: the kernel would give a slow client as much as the page is long."""


class Server:
    """Answers requests from its own thread, from `start` to `close`."""

    def __init__(self, listener: socket.socket, answer: Callable[[Request], Answer]) -> None:
        self._listener = listener
        self._answer = answer
        self._selector = selectors.DefaultSelector()
        self._connections: set[Connection] = set()
        self._accepting = False
        self._not_before = 0.0
        self._wake_read, self._wake_write = os.pipe()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def start(self) -> None:
        """Begin to answer."""
        sys.setswitchinterval(SWITCH_SECONDS)
        self._thread.start()

    def close(self) -> None:
        """Stop answering and give everything back."""
        self._closing = True
        os.write(self._wake_write, b"x")
        if self._thread.is_alive():
            self._thread.join()
        for connection in self._connections:
            connection.close()
        self._selector.close()
        self._listener.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _run(self) -> None:
        # Signals are for the thread that traces.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        while not self._closing:
            self._make_room(time.monotonic())
            for key, events in self._selector.select(self._timeout(time.monotonic())):
                now = time.monotonic()
                if isinstance(key.data, Connection):
                    key.data.handle(events, now)
                    self._watch(key.data)
                elif key.fileobj is self._listener:
                    self._accept(now)

    def _timeout(self, now: float) -> float | None:
        moments = [connection.deadline for connection in self._connections]
        if not self._accepting:
            spared = (c.idle_since for c in self._connections if c.idle_since is not None)
            moments += [since + SPARED_SECONDS for since in spared]
            moments += [self._not_before] if self._not_before > now else []
        return max(min(moments) - now, 0.0) if moments else None

    def _make_room(self, now: float) -> None:
        """Drop who has had their time, and listen if there is room for another one."""
        for connection in [c for c in self._connections if c.deadline <= now]:
            self._drop(connection)
        if len(self._connections) >= MOST_CONNECTIONS:
            idle = [c for c in self._connections if _idle_seconds(c, now) >= SPARED_SECONDS]
            if idle:
                self._drop(max(idle, key=lambda c: _idle_seconds(c, now)))
        accepting = len(self._connections) < MOST_CONNECTIONS and now >= self._not_before
        if accepting and not self._accepting:
            self._selector.register(self._listener, selectors.EVENT_READ)
        elif self._accepting and not accepting:
            self._selector.unregister(self._listener)
        self._accepting = accepting

    def _accept(self, now: float) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:
            # No descriptor is left, perhaps: to try again at once would only burn time.
            self._not_before = now + SPARED_SECONDS
            return
        sock.setblocking(False)
        connection = Connection(sock, self._answer, now)
        self._connections.add(connection)
        self._selector.register(sock, selectors.EVENT_READ, connection)
        connection.handle(selectors.EVENT_READ, now)
        self._watch(connection)

    def _watch(self, connection: Connection) -> None:
        if connection.closed:
            self._drop(connection)
            return
        if self._selector.get_key(connection.sock).events != connection.interest:
            self._selector.modify(connection.sock, connection.interest, connection)

    def _drop(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._selector.unregister(connection.sock)
        connection.close()


def _idle_seconds(connection: Connection, now: float) -> float:
    return now - connection.idle_since if connection.idle_since is not None else -1.0
