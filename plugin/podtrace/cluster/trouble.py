"""What it means that a connection failed or an answer broke off, in words.

The exceptions of `urllib3`, `ssl` and the `kubernetes` package end here.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from podtrace.errors import ClusterError

_ADDRESS_HINT = "check the address (kubectl config view --minify), the VPN and the proxy"
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
_EXPIRED = (9, 10)
_OTHER_NAME = (62, 63, 64)
"""X509_V_ERR_... of OpenSSL."""


def no_answer(error: BaseException, server: str, proxy: str, seconds: float | None) -> ClusterError:
    """Return the error for a request that got no answer.

    Args:
        error: what the transport raised.
        server: the URL of the API server.
        proxy: the proxy on the way, empty for none; it may hold a password.
        seconds: how long an answer was waited for.
    """
    from urllib3 import exceptions

    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, ssl.SSLError):
            return _tls(cause, server)
    if proxy:
        place = f"the proxy {_without_password(proxy)}, which leads to {server},"
        tunnel = next((str(each) for each in chain if "Tunnel connection failed" in str(each)), "")
        if tunnel:
            answer = tunnel.partition("failed: ")[2]
            return ClusterError(f"{place} refused to connect: {answer}", _proxy_hint())
        # The second is of PySocks, which is imported only where it is needed.
        if any(
            isinstance(cause, exceptions.ProxyError)
            or type(cause).__name__ == "ProxyConnectionError"
            for cause in chain
        ):
            return ClusterError(f"{place} cannot be reached: {_reason(chain)}", _proxy_hint())
    if any(isinstance(cause, exceptions.NameResolutionError) for cause in chain):
        host = urlsplit(server).hostname
        return ClusterError(f"{server} cannot be reached: {host} has no address", _ADDRESS_HINT)
    if any(isinstance(cause, exceptions.NewConnectionError) for cause in chain):
        return ClusterError(f"{server} cannot be reached: {_reason(chain)}", _ADDRESS_HINT)
    if any(isinstance(cause, exceptions.ConnectTimeoutError) for cause in chain):
        return ClusterError(f"{server} cannot be reached: nothing answers there", _ADDRESS_HINT)
    if any(isinstance(cause, exceptions.ReadTimeoutError) for cause in chain):
        return too_slow(server, seconds)
    return ClusterError(
        f"the connection to {server} broke off: {_reason(chain)}",
        "try again; to see how the server is: kubectl get --raw /readyz?verbose",
    )


def too_slow(server: str, seconds: float | None) -> ClusterError:
    """Return the error for an answer that took too long."""
    limit = f" for {seconds:g} s" if seconds is not None else ""
    return ClusterError(
        f"{server} did not answer{limit}", "give it more time with --request-timeout"
    )


def no_object(server: str, path: str, content: bytes) -> ClusterError:
    """Return the error for an answer that is not what an API server says."""
    excerpt = " ".join(content[:400].decode("utf-8", "replace").split())[:100]
    return ClusterError(
        f"{server}{path} answered something that is no JSON object: {excerpt or 'nothing'}",
        "check that this is an API server: kubectl config view --minify",
    )


def proxy_unusable(proxy: str, error: Exception) -> ClusterError:
    """Return the error for a proxy of a kind that cannot be used here."""
    place = _without_password(proxy)
    if isinstance(error, ImportError):
        return ClusterError(
            f"the proxy {place} needs the Python package PySocks",
            "install it beside podtrace: pip install pysocks",
        )
    return ClusterError(f"the proxy {place} cannot be used: {_reason([error])}", _proxy_hint())


def was_cut(error: BaseException) -> bool:
    """Tell whether a connection was closed before any of the answer came."""
    return any(isinstance(cause, ConnectionError) for cause in _chain(error)) and not any(
        isinstance(cause, ConnectionRefusedError) for cause in _chain(error)
    )


def _tls(error: ssl.SSLError, server: str) -> ClusterError:
    if isinstance(error, ssl.SSLCertVerificationError):
        message = f"the certificate of {server} is not trusted: {error.verify_message}"
        if error.verify_code in _UNKNOWN_AUTHORITY:
            hint = "give its certificate authority with --certificate-authority FILE"
        elif error.verify_code in _OTHER_NAME:
            hint = "if the server is the right one, name it with --tls-server-name NAME"
        elif error.verify_code in _EXPIRED:
            hint = "check this machine's clock, or renew the server's certificate"
        else:
            hint = "see: kubectl config view --minify"
        return ClusterError(message, hint)
    reason = error.reason or " ".join(str(error).split())
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
        return ClusterError(f"{server} does not speak TLS", _ADDRESS_HINT)
    if "ALERT" in reason:
        return ClusterError(
            f"{server} does not accept the client's certificate: {reason}",
            "log in to the cluster again; see: kubectl config view --minify",
        )
    return ClusterError(f"no secure connection to {server} can be made: {reason}", _ADDRESS_HINT)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and whatever it was made of."""
    waiting, seen = [error], set()
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inner = [each.__cause__, each.__context__, *each.args]
        waiting += [cause for cause in inner if isinstance(cause, BaseException)]


def _reason(chain: list[BaseException]) -> str:
    for error in chain:
        if isinstance(error, OSError) and error.strerror:
            return error.strerror.lower() if error.errno in errno.errorcode else error.strerror
    for error in reversed(chain):
        text = " ".join(str(error).split())
        if text:
            return text
    return type(chain[0]).__name__


def _proxy_hint() -> str:
    return "check proxy-url in the kubeconfig, $HTTPS_PROXY and $NO_PROXY"


def _without_password(proxy: str) -> str:
    scheme, _, rest = proxy.rpartition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if scheme else rest.rpartition("@")[2]
