"""Where the page is served: from ADDRESS:PORT to a socket that listens, or the reason why not."""

from __future__ import annotations

import errno
import socket
from typing import NamedTuple

from podtracer.errors import TracerError

_LARGEST_PORT = 65535
_BACKLOG = 1024
_ANY_V6, _ANY_V4 = "::", "0.0.0.0"


class Address(NamedTuple):
    """A host, by name or number, and a port; 0 is any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read "127.0.0.1:3000" or "[::]:3000"; raises ValueError that says what is wrong."""
        host, colon, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        host = host[1:-1] if bracketed else host
        if not colon or not host or (":" in host) != bracketed:
            raise ValueError(f"not ADDRESS:PORT: {text!r}")
        if not (port.isascii() and port.isdigit()) or int(port) > _LARGEST_PORT:
            raise ValueError(f"not a port from 0 to {_LARGEST_PORT}: {port!r}")
        return cls(host, int(port))


def bind(address: Address) -> socket.socket:
    """Return a socket that listens there; raises TracerError.

    The address of every IPv6 interface stands for those of IPv4 too, and for these alone where the
    machine has no IPv6.
    """
    try:
        return _bind(address)
    except OSError as error:
        if address.host == _ANY_V6 and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            return bind(Address(_ANY_V4, address.port))
        raise _refusal(address, error) from error


def _bind(address: Address) -> socket.socket:
    flags = socket.AI_PASSIVE
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=flags)
    family, _, _, _, place = found[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address.host != _ANY_V6)
        sock.bind(place)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def bound(sock: socket.socket) -> Address:
    """Return where a socket listens."""
    host, port = sock.getsockname()[:2]
    return Address(str(host), int(port))


def _refusal(address: Address, error: OSError) -> TracerError:
    message = f"the metrics cannot be served at {address}: {error.strerror}"
    if error.errno == errno.EADDRINUSE:
        hint = (
            "Another program listens there: choose another port with --metrics-port, or see who it"
            f" is: ss -ltnp 'sport = :{address.port}'"
        )
    elif error.errno in (errno.EACCES, errno.EPERM):
        hint = "A port below 1024 takes a right: choose a higher one with --metrics-port."
    else:
        hint = "Give an address of this machine with --metrics-address."
    return TracerError("metrics_port", message, hint)
