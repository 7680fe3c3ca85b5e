"""Ports of this machine on which something is offered, taken before anything else is done.

The default address stands for this machine alone, which programs know as `localhost`: that may
lead to ::1 as well as to 127.0.0.1, so both are listened on where the machine has both.
"""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack, closing, suppress

from podtrace.errors import MetricsError

BACKLOG = 1024
"""Who finds no room in here is reset by the kernel a minute later."""
IPV4_LOOPBACK, IPV6_LOOPBACK = "127.0.0.1", "::1"
LARGEST_PORT = 65_535
_FIRST_FREE_PORT = 1024
_ATTEMPTS = 20


class LocalPort:
    """One port, and the sockets that listen on it: two where it is that of `localhost`.

    Args:
        address: an IP address.
        port: 0 for any that is free.

    Raises:
        MetricsError: the port cannot be had.
    """

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.sockets = _listening(address, port)
        self.port: int = self.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Stop to listen."""
        for each in self.sockets:
            each.close()


def local_ports(address: str, port: int, count: int) -> list[LocalPort]:
    """Return so many ports, one after the other; with port 0 any that are free.

    Raises:
        MetricsError: one of them cannot be had; none is kept then.
    """
    if port and port + count - 1 > LARGEST_PORT:
        raise MetricsError(
            f"{count} nodes need {count} ports, and there are fewer from {port} on",
            "begin lower, for example with --metrics-port 3000",
        )
    with ExitStack() as stack:
        numbers = [port + index if port else 0 for index in range(count)]
        taken = [stack.enter_context(closing(LocalPort(address, number))) for number in numbers]
        stack.pop_all()
    return taken


def _listening(address: str, port: int) -> list[socket.socket]:
    first = _bound(address, port)
    if address != IPV4_LOOPBACK:
        return [first]
    for _ in range(_ATTEMPTS):
        try:
            return [first, _bound(IPV6_LOOPBACK, first.getsockname()[1])]
        except MetricsError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno != errno.EADDRINUSE:
                return [first]  # a machine without IPv6
            first.close()
            if port:
                # `localhost` would lead some programs to whoever listens there.
                raise
            first = _bound(address, 0)
    return [first]


def _bound(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _refusal(error, address, port) from error
    try:
        # Connections that were closed a moment ago are not in the way; a live listener is.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            with suppress(OSError):
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address != "::")
        listener.bind((address, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise _refusal(error, address, port) from error
    return listener


def _refusal(error: OSError, address: str, port: int) -> MetricsError:
    if error.errno == errno.EADDRINUSE:
        return MetricsError(
            f"port {port} of {address} is in use by another program",
            f"choose another for the metrics with --metrics-port {port + 1}, or 0 for any that "
            f"is free; to see who has it: ss -ltnp 'sport = :{port}'",
        )
    if error.errno in (errno.EACCES, errno.EPERM) and port < _FIRST_FREE_PORT:
        return MetricsError(
            f"you may not listen on port {port}: those below {_FIRST_FREE_PORT} take root",
            "choose another for the metrics, for example --metrics-port 3000",
        )
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return MetricsError(
            f"this machine has no address {address} to offer metrics at",
            "to see those it has: ip address; or leave --metrics-address out",
        )
    return MetricsError(
        f"port {port} of {address} cannot be used for the metrics: {error.strerror}",
        "choose another with --metrics-port",
    )
