"""Requests to a real API server. The only module that imports the `kubernetes` package.

Its transport alone is used, with plain JSON: importing that takes 0.2 s of CPU, the whole package
0.45 s, and one typed model would add a second. It is done when a cluster is wanted, while a
credential plugin is at work. Whatever the transport raises ends here as ClusterError or ApiError.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from podtrace.cluster.access import Access
from podtrace.cluster.credentials import Credential, Credentials
from podtrace.cluster.exchange import Exchange
from podtrace.cluster.interface import Object, Query
from podtrace.cluster.kubeconfig import configured
from podtrace.cluster.login import Destination, proxy_for
from podtrace.cluster.streams import LogStream, WatchStream
from podtrace.cluster.tls import proxy_context, tls_context
from podtrace.cluster.trouble import no_object, proxy_unusable
from podtrace.errors import ApiError, ClusterError

if TYPE_CHECKING:
    from kubernetes.client.rest import RESTClientObject
    from urllib3 import BaseHTTPResponse, HTTPHeaderDict

    from podtrace.cluster.channel import Channel

ANSWER_SECONDS = 30.0
PAGE_ITEMS = 500
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Api:
    """An ApiLike for a real cluster. Use `Api.connect`; nothing is sent before the first request.

    Args:
        exchange: with the server.
        namespace: where the user works.
    """

    def __init__(self, exchange: Exchange, namespace: str) -> None:
        self._exchange = exchange
        self.namespace = namespace
        self.server = exchange.server

    @classmethod
    def connect(cls, access: Access, is_silent: bool = False) -> Api:
        """Return an Api for what kubectl's options and the kubeconfig say.

        Args:
            access: kubectl's options.
            is_silent: a credential plugin may neither ask nor say anything.

        Raises:
            ClusterError: there is no kubeconfig, or it cannot be used.
        """
        config = configured(access)
        destination = config.destination
        proxy = proxy_for(destination)
        credentials = Credentials(config.login, destination, is_silent)
        limit = access.request_timeout_seconds
        try:
            exchange = Exchange(
                destination.server,
                proxy,
                credentials,
                config.login.impersonation,
                lambda credential: _Connections(destination, proxy, credential),
                _failures(),
                ANSWER_SECONDS if limit is None else limit or None,
            )
        except BaseException:
            credentials.close()
            raise
        return cls(exchange, config.namespace)

    def close(self) -> None:
        """Close idle connections and end what is still logging in."""
        self._exchange.close()

    def get(self, path: str, **query: Query) -> Object:
        """Return the object at a path."""
        return self._object("GET", path, query, None)

    def post(self, path: str, body: Mapping[str, Any], **query: Query) -> Object:
        """Create an object and return it as the server made it."""
        return self._object("POST", path, query, body)

    def delete(self, path: str, body: Mapping[str, Any] | None = None, **query: Query) -> Object:
        """Delete an object; `body` are DeleteOptions."""
        return self._object("DELETE", path, query, body)

    def items(self, path: str, **query: Query) -> Iterator[Object]:
        """Yield the objects of a list, page by page."""
        follow: str | None = None
        while True:
            try:
                page = self.get(path, **{"limit": PAGE_ITEMS, **query, "continue": follow})
            except ApiError as error:
                # The list is too old to go on with; the server gives a token for the rest as it is.
                fresh = (error.body.get("metadata") or {}).get("continue")
                if error.status != HTTPStatus.GONE or not follow or not fresh:
                    raise
                follow = str(fresh)
                continue
            yield from page.get("items") or ()
            follow = (page.get("metadata") or {}).get("continue")
            if not follow:
                return

    def stream(self, path: str, *, read_timeout_seconds: float | None, **query: Query) -> LogStream:
        """Open an answer that comes bit by bit; returns when its first line is there."""
        exchange = self._exchange
        response = exchange.answer("GET", path, query, None, read_timeout_seconds)
        return LogStream(response, lambda error: exchange.trouble(error, read_timeout_seconds))

    def watch(
        self, path: str, *, read_timeout_seconds: float | None = None, **query: Query
    ) -> WatchStream:
        """Open a watch of a list; `watch=true` is added."""
        query = {**query, "watch": True}
        stream = self.stream(path, read_timeout_seconds=read_timeout_seconds, **query)
        return WatchStream(stream, self.server, path)

    def channel(self, path: str, protocol: str, **query: Query) -> Channel:
        """Open a websocket; `protocol` says what its messages mean."""
        return self._exchange.channel(path, query, protocol)

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
        attributes = {"verb": verb, "resource": resource, "group": group}
        attributes |= {"subresource": subresource, "namespace": namespace or "", "name": name}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        status = self.post(_REVIEWS, review).get("status")
        return isinstance(status, dict) and status.get("allowed") is True

    def _object(
        self, method: str, path: str, query: Mapping[str, Query], body: Mapping[str, Any] | None
    ) -> Object:
        exchange = self._exchange
        response = exchange.answer(method, path, query, body, exchange.timeout_seconds)
        content = exchange.content(response)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise no_object(self.server, path, content)
        return answer


class _Connections:
    """The package's transport as an `exchange.Transport`.

    Raises:
        ClusterError: a certificate or proxy that cannot be used.
    """

    def __init__(self, destination: Destination, proxy: str, credential: Credential) -> None:
        self._client = _client(destination, proxy, credential)

    def send(
        self,
        method: str,
        url: str,
        headers: HTTPHeaderDict,
        body: Mapping[str, Any] | None,
        timeouts: tuple[float, float | None],
    ) -> BaseHTTPResponse:
        """Send a request and return its answer, unread, whatever its status."""
        answer: BaseHTTPResponse = self._client.request(  # type: ignore[no-untyped-call]
            method, url, headers=headers, body=body, _request_timeout=timeouts
        ).response
        return answer

    def dial(self, url: str, seconds: float) -> socket.socket:
        """Return a connection to the server that is not one of those that are used again."""
        pool = self._client.pool_manager.connection_from_url(url)
        # What the package calls private is the one place where proxies, names and certificates
        # come together.
        connection: Any = pool._new_conn()
        connection.timeout = seconds
        if pool.proxy is not None:
            parts = urlsplit(url)
            connection.set_tunnel(
                parts.hostname,
                parts.port or (443 if parts.scheme == "https" else 80),
                headers=pool.proxy_headers,
                scheme=pool.proxy.scheme,
            )
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        made: socket.socket = connection.sock
        made.settimeout(seconds)
        return made

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._client.close()


def _client(destination: Destination, proxy: str, credential: Credential) -> RESTClientObject:
    import urllib3
    from kubernetes.client.configuration import Configuration
    from kubernetes.client.rest import RESTClientObject

    no_proxy = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    settings = Configuration(
        host=destination.server,
        retries=False,
        verify_ssl=not destination.is_insecure,
        tls_server_name=destination.tls_server_name or None,
        connection_pool_maxsize=16,
        # As in kubectl, $NO_PROXY is not for a proxy that the kubeconfig names.
        no_proxy="" if destination.proxy else no_proxy,
        proxy="",
    )
    settings.keep_alive = True
    if proxy:
        parts = urlsplit(proxy)
        place = parts.netloc.rpartition("@")[2]
        settings.proxy = f"{parts.scheme}://{place}"
        if parts.scheme.startswith("socks"):
            # As in Go, the proxy looks up the name of the server.
            settings.proxy = proxy.replace("socks5://", "socks5h://", 1)
        elif parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            settings.proxy_headers = urllib3.make_headers(proxy_basic_auth=pair)
        if parts.scheme == "https":
            settings.proxy_ssl_context = proxy_context(destination)
    if destination.is_insecure:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    try:
        client = RESTClientObject(settings)
    except (ImportError, ValueError, AssertionError) as error:
        raise proxy_unusable(proxy, error) from None
    if destination.server.startswith("https:"):
        context = tls_context(destination, credential.certificate, credential.key)
        client.pool_manager.connection_pool_kw["ssl_context"] = context
    return client


def _failures() -> tuple[type[Exception], ...]:
    """Return what the transport raises; ValueError is a header that cannot be sent."""
    _prepare_import()
    try:
        import urllib3
        from kubernetes.client.exceptions import OpenApiException
    except ImportError as error:
        raise ClusterError(
            f"the Python package {error.name} is needed to talk to a cluster, and is not there",
            "install podtrace with all that it needs: pip install podtrace, or make deps",
        ) from error
    return (
        urllib3.exceptions.HTTPError,
        OpenApiException,
        http.client.HTTPException,
        OSError,
        ValueError,
    )


def _prepare_import() -> None:
    """Let submodules of the package be imported without the package itself.

    Its `__init__` imports all that it has: OAuth, models, informers. That is 300 modules and more
    than half of the time.
    """
    if "kubernetes" in sys.modules:
        return
    spec = importlib.util.find_spec("kubernetes")
    if spec is not None:
        sys.modules["kubernetes"] = importlib.util.module_from_spec(spec)
