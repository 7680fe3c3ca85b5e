"""Trust in the server and the client's certificate, as Go has it and kubectl's users know it.

An `ssl.SSLContext` of our own rather than the package's options: client keys need not stay in a
file, and a certificate authority that kubectl accepts is accepted here too. OpenSSL wants a chain
up to a root, and Python 3.13 asks for extensions that older authorities lack; Go wants neither.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

from podtrace.cluster.login import Destination
from podtrace.errors import ClusterError

_HINT = "see: kubectl config view --minify"


def tls_context(
    destination: Destination, certificate: bytes | None, key: bytes | None
) -> ssl.SSLContext:
    """Return what a connection to the server has to fulfil.

    Args:
        destination: the server and its certificate authority.
        certificate: of the client, PEM, or None.
        key: of the certificate, PEM.

    Raises:
        ClusterError: a certificate or key that is none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if destination.is_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif destination.authority is None:
        context.load_default_certs()
    else:
        _trust(context, destination)
    if certificate is not None and key is not None:
        _present(context, certificate, key)
    return context


def proxy_context(destination: Destination) -> ssl.SSLContext:
    """Return what a connection to a proxy that speaks TLS itself has to fulfil."""
    context = ssl.create_default_context()
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if destination.authority is not None:
        _trust(context, destination)
    return context


def _trust(context: ssl.SSLContext, destination: Destination) -> None:
    try:
        context.load_verify_locations(cadata=(destination.authority or b"").decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise ClusterError(
            f"the certificate authority given for {destination.server} is no PEM certificate",
            _HINT,
        ) from None


def _present(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    with _readable(certificate.rstrip() + b"\n" + key) as path:
        try:
            context.load_cert_chain(path, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or str(error)
            raise ClusterError(
                f"the client certificate and its key cannot be used: {reason}", _HINT
            ) from None


@contextlib.contextmanager
def _readable(secret: bytes) -> Iterator[Path]:
    """Give a path to read a secret at: OpenSSL takes files only.

    Where the system can, it is memory that goes with this process, however that ends.
    """
    try:
        descriptor = os.memfd_create("podtrace")
    except (AttributeError, OSError):
        with tempfile.TemporaryDirectory(prefix="podtrace-") as folder:
            path = Path(folder, "client.pem")
            path.write_bytes(secret)
            yield path
        return
    with open(descriptor, "wb", buffering=0) as memory:
        memory.write(secret)
        yield Path(f"/proc/self/fd/{descriptor}")


def _no_password() -> str:
    # Else OpenSSL asks on the terminal.
    raise ValueError("the key is encrypted")
