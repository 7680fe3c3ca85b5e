"""A local port behind which the metrics of one tracer are: each connection in a thread of its own.

So many at once and no more; others wait in the listening socket, which costs nothing here, until
one of them ends or wants nothing for a moment.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
from collections.abc import Callable, Sequence

from podtrace.cluster.relayed import Dial, RelayedConnection
from podtrace.errors import PodtraceError

MOST_CONNECTIONS = 32
_PAUSE_SECONDS = 0.2


class Relay:
    """Passes connections on until it is closed.

    Args:
        listeners: sockets that listen and do not block; the relay closes them.
        dial: connects to the tracer's port.
        explain: returns the error for a connection to it that ended.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        dial: Dial,
        explain: Callable[[str], PodtraceError],
    ) -> None:
        self._listeners = listeners
        self._dial = dial
        self._explain = explain
        self._slots = threading.Semaphore(MOST_CONNECTIONS)
        self._lock = threading.Lock()
        self._connections: set[RelayedConnection] = set()
        self._is_closed = threading.Event()
        self._woken, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._accept, name="metrics", daemon=True)

    def start(self) -> None:
        """Begin to take connections."""
        self._thread.start()

    def close(self) -> None:
        """Stop to listen, and cut what is connected."""
        if self._is_closed.is_set():
            return
        self._is_closed.set()
        os.close(self._waker)
        self._slots.release()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.close()
        if self._thread.is_alive():
            self._thread.join()
        for listener in self._listeners:
            listener.close()
        os.close(self._woken)

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            for listener in self._listeners:
                selector.register(listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                self._slots.acquire()
                ready = selector.select()
                if self._is_closed.is_set():
                    return
                # One for the slot; whoever else waits is there in the next round.
                if not self._take(ready[0][0].fileobj):
                    self._slots.release()

    def _take(self, listener: object) -> bool:
        assert isinstance(listener, socket.socket)
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            return False  # it went away again
        except OSError:
            self._is_closed.wait(_PAUSE_SECONDS)  # no descriptors are left, for now
            return False
        client.setblocking(True)
        with contextlib.suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = RelayedConnection(client, self._dial, self._explain, self._is_full)
        with self._lock:
            self._connections.add(connection)
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
        return True

    def _is_full(self) -> bool:
        with self._lock:
            return len(self._connections) >= MOST_CONNECTIONS

    def _serve(self, connection: RelayedConnection) -> None:
        try:
            if self._is_closed.is_set():
                connection.close()
            else:
                connection.run()
        finally:
            with self._lock:
                self._connections.discard(connection)
            self._slots.release()
