"""A connection to a port of a pod through the API server, as kubectl port-forward makes them.

One websocket carries one connection, in the protocol `v4.channel.k8s.io`: the first byte of a
message says whether it is data or an error, and the first message of each kind is the port alone.
There is no way to pass a half-close on.
https://github.com/kubernetes/kubernetes/blob/v1.34.0/pkg/kubelet/cri/streaming/portforward/websocket.go
"""

from __future__ import annotations

from podtrace.cluster.interface import ApiLike, MessageChannel
from podtrace.cluster.paths import object_path

PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1
_LONGEST_REASON_BYTES = 1000


class PortForward:
    """One connection to a port of a pod; used by one thread, `close` may come from any.

    Args:
        channel: the websocket, of which nothing was read.
    """

    def __init__(self, channel: MessageChannel) -> None:
        self._channel = channel
        self._begun: set[int] = set()
        self._reason = b""

    @property
    def reason(self) -> str:
        """What the node said about the end; empty where it said nothing."""
        return " ".join(self._reason.decode("utf-8", "replace").split())

    def fileno(self) -> int:
        """Return what to wait on; `is_pending` first."""
        return self._channel.fileno()

    def is_pending(self) -> bool:
        """Tell whether there is something to receive that `fileno` does not show."""
        return self._channel.is_pending()

    def receive(self) -> bytes | None:
        """Return what the port sent, which may be nothing yet; None at the end.

        Raises:
            OSError: the connection broke.
        """
        message = self._channel.receive()
        if message is None:
            return None
        kind = message[0] if message else None
        if kind is None:
            return b""
        if kind not in self._begun:
            self._begun.add(kind)
            return b""
        if kind == _ERROR:
            self._reason = (self._reason + message[1:])[:_LONGEST_REASON_BYTES]
            return None
        return message[1:] if kind == _DATA else b""

    def send(self, data: bytes) -> None:
        """Send something to the port.

        Raises:
            OSError: the connection broke.
        """
        self._channel.send(bytes([_DATA]) + data)

    def close(self) -> None:
        """End the connection; who waits for data is woken."""
        self._channel.close()


def forward_port(api: ApiLike, namespace: str, pod: str, port: int) -> PortForward:
    """Connect to a port of a pod.

    That the port is closed shows only when something is received.

    Raises:
        ClusterError: the API server does not answer, or refuses.
    """
    path = object_path("pods", namespace=namespace, name=pod, subresource="portforward")
    return PortForward(api.channel(path, PROTOCOL, ports=port))
