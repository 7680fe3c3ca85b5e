"""What the parts of this package ask of the API server, apart from how it is reached.

`api.Api` reaches a real one. Everything else here takes an `ApiLike`, so that it says what it needs
and nothing of the transport shows through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

Query = str | int | bool | None
"""A value of the query string; None is left out."""

Object = dict[str, Any]
"""A Kubernetes object as its JSON says it."""


class ByteStream(Protocol):
    """The body of an answer while it comes.

    Iterating raises ClusterError when the connection breaks or is silent for too long, and just
    ends where the server ended the answer or `close` was called.
    """

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None:
        """End it, from any thread or signal handler; who waits for bytes is woken."""


class EventStream(Protocol):
    """The events of a watch: objects with `type` and `object`. Ends and fails like ByteStream."""

    def __iter__(self) -> Iterator[Object]: ...

    def close(self) -> None:
        """End it, from any thread or signal handler; who waits for an event is woken."""


class MessageChannel(Protocol):
    """A websocket, used by one thread. What it is about to say or hear fails with an OSError."""

    def fileno(self) -> int:
        """Return what to wait on; `is_pending` first."""

    def is_pending(self) -> bool:
        """Tell whether there is something to receive that `fileno` does not show."""

    def receive(self) -> bytes | None:
        """Return the next message, which may be empty; None at the end."""

    def send(self, message: bytes) -> None:
        """Send a message."""

    def close(self) -> None:
        """End it, from any thread; who waits for a message is woken."""


class ApiLike(Protocol):
    """Requests to one API server, in plain JSON; safe to use from several threads.

    Every method raises ApiError for an answer that is an error and ClusterError for none.
    """

    @property
    def namespace(self) -> str:
        """The namespace that the user asked for or works in."""

    @property
    def server(self) -> str:
        """The URL of the API server."""

    def get(self, path: str, **query: Query) -> Object:
        """Return the object at a path."""

    def post(self, path: str, body: Mapping[str, Any], **query: Query) -> Object:
        """Create an object and return it as the server made it."""

    def delete(self, path: str, body: Mapping[str, Any] | None = None, **query: Query) -> Object:
        """Delete an object; `body` are DeleteOptions."""

    def items(self, path: str, **query: Query) -> Iterator[Object]:
        """Yield the objects of a list, page by page."""

    def stream(
        self, path: str, *, read_timeout_seconds: float | None, **query: Query
    ) -> ByteStream:
        """Open an answer that comes bit by bit; returns when its first line is there."""

    def watch(
        self, path: str, *, read_timeout_seconds: float | None = None, **query: Query
    ) -> EventStream:
        """Open a watch of a list; `watch=true` is added."""

    def channel(self, path: str, protocol: str, **query: Query) -> MessageChannel:
        """Open a websocket; `protocol` says what its messages mean."""

    def allowed(
        self,
        verb: str,
        resource: str,
        *,
        group: str = "",
        subresource: str = "",
        namespace: str | None = None,
        name: str = "",
    ) -> bool:
        """Ask whether the user may do something; `namespace` None is the whole cluster."""
