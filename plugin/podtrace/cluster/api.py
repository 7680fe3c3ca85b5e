"""Requests to a real API server. The only module that imports the `kubernetes` package.

Its transport alone is used, with plain JSON: importing it takes 0.4 s and one typed model would add
a second. That is done when a cluster is wanted, while a credential plugin is at work. Whatever the
transport raises ends here as ClusterError or ApiError.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from podtrace.cluster.access import Access
from podtrace.cluster.credentials import Credential, Credentials
from podtrace.cluster.headers import query_string, request_headers, retry_after_seconds
from podtrace.cluster.interface import Object, Query
from podtrace.cluster.kubeconfig import configured
from podtrace.cluster.login import Destination, Impersonation, proxy_for
from podtrace.cluster.refusal import api_error
from podtrace.cluster.streams import CHUNK_BYTES, LogStream, WatchStream
from podtrace.cluster.tls import proxy_context, tls_context
from podtrace.cluster.trouble import no_answer, no_object, proxy_unusable, too_slow, was_cut
from podtrace.errors import ApiError, ClusterError

if TYPE_CHECKING:
    from kubernetes.client.rest import RESTClientObject
    from urllib3 import BaseHTTPResponse

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
PAGE_ITEMS = 500
_IDLE_SECONDS = 60.0
"""Connections that were idle for longer are not used again: a firewall may have forgotten them, or
this machine may have slept."""
_PATIENCE_SECONDS = 10.0
"""How long a server that says when to come back is obeyed before its answer becomes an error."""
_LONGEST_ANSWER_BYTES = 256 << 20
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Api:
    """An ApiLike for a real cluster. Use `Api.connect`; nothing is sent before the first request.

    Args:
        destination: the server.
        credentials: who the user is.
        impersonation: whom to act as.
        namespace: where the user works.
        timeout_seconds: of each answer; None for the default, 0 for none.
    """

    def __init__(
        self,
        destination: Destination,
        credentials: Credentials,
        impersonation: Impersonation,
        namespace: str,
        timeout_seconds: float | None,
    ) -> None:
        self.namespace = namespace
        self.server = destination.server
        self._destination = destination
        self._credentials = credentials
        self._impersonation = impersonation
        limit = ANSWER_SECONDS if timeout_seconds is None else timeout_seconds
        self._timeout_seconds = limit or None
        self._proxy = proxy_for(destination)
        self._lock = threading.Lock()
        self._client: RESTClientObject | None = None
        self._client_of: Credential | None = None
        self._used_seconds = 0.0
        self._failures = _failures()

    @classmethod
    def connect(cls, access: Access) -> Api:
        """Return an Api for what kubectl's options and the kubeconfig say.

        Raises:
            ClusterError: there is no kubeconfig, or it cannot be used.
        """
        config = configured(access)
        credentials = Credentials(config.login, config.destination)
        try:
            return cls(
                config.destination,
                credentials,
                config.login.impersonation,
                config.namespace,
                access.request_timeout_seconds,
            )
        except BaseException:
            credentials.close()
            raise

    def close(self) -> None:
        """Close idle connections and end what is still logging in."""
        self._credentials.close()
        with self._lock:
            if self._client is not None:
                self._client.close()

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
        response = self._answer("GET", path, query, None, read_timeout_seconds)
        return LogStream(response, lambda error: self._trouble(error, read_timeout_seconds))

    def watch(
        self, path: str, *, read_timeout_seconds: float | None = None, **query: Query
    ) -> WatchStream:
        """Open a watch of a list; `watch=true` is added."""
        query = {**query, "watch": True}
        stream = self.stream(path, read_timeout_seconds=read_timeout_seconds, **query)
        return WatchStream(stream, self.server, path)

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
        response = self._answer(method, path, query, body, self._timeout_seconds)
        content = self._content(response)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise no_object(self.server, path, content)
        return answer

    def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, Query],
        body: Mapping[str, Any] | None,
        read_seconds: float | None,
    ) -> BaseHTTPResponse:
        """Return an answer that is no error, unread."""
        give_up_seconds = time.monotonic() + _PATIENCE_SECONDS
        url = self.server + path + query_string(query)
        may_log_in = may_repeat = True
        while True:
            credential = self._credentials.current()
            try:
                response = self._send(credential, method, url, body, read_seconds)
            except self._failures as error:
                # A server may close an idle connection in the moment that it is used again.
                if may_repeat and method == "GET" and was_cut(error):
                    may_repeat = False
                    continue
                raise self._trouble(error, read_seconds) from error
            if response.status < HTTPStatus.MULTIPLE_CHOICES:
                return response
            content = self._content(response)
            if response.status == HTTPStatus.UNAUTHORIZED and may_log_in:
                may_log_in = False
                if self._credentials.replaced(credential):
                    continue
            pause = retry_after_seconds(response.headers)
            if pause is not None and time.monotonic() + pause < give_up_seconds:
                time.sleep(pause)
                continue
            raise api_error(response.status, content, method=method, path=path, server=self.server)

    def _send(
        self,
        credential: Credential,
        method: str,
        url: str,
        body: Mapping[str, Any] | None,
        read_seconds: float | None,
    ) -> BaseHTTPResponse:
        client = self._client_for(credential)
        connect_seconds = min(CONNECT_SECONDS, self._timeout_seconds or CONNECT_SECONDS)
        answer: BaseHTTPResponse = client.request(  # type: ignore[no-untyped-call]
            method,
            url,
            headers=request_headers(credential, self._impersonation),
            body=body,
            _request_timeout=(connect_seconds, read_seconds),
        ).response
        return answer

    def _client_for(self, credential: Credential) -> RESTClientObject:
        with self._lock:
            known, now = self._client_of, time.time()
            if (
                self._client is None
                or known is None
                or (known.certificate, known.key) != (credential.certificate, credential.key)
            ):
                self._client = _client(self._destination, self._proxy, credential)
                self._client_of = credential
            elif now - self._used_seconds > _IDLE_SECONDS:
                self._client.close()
            self._used_seconds = now
            return self._client

    def _content(self, response: BaseHTTPResponse) -> bytes:
        limit = self._timeout_seconds
        begin = time.monotonic()
        content = bytearray()
        try:
            for chunk in response.stream(CHUNK_BYTES):
                content += chunk
                if limit is not None and time.monotonic() - begin > limit:
                    raise too_slow(self.server, limit)
                if len(content) > _LONGEST_ANSWER_BYTES:
                    raise ClusterError(f"{self.server} gave an answer that does not end")
        except self._failures as error:
            response.close()
            raise self._trouble(error, limit) from error
        except ClusterError:
            response.close()
            raise
        return bytes(content)

    def _trouble(self, error: Exception, seconds: float | None) -> ClusterError:
        return no_answer(error, self.server, self._proxy, seconds)


def _client(destination: Destination, proxy: str, credential: Credential) -> RESTClientObject:
    """Return a transport.

    Raises:
        ClusterError: a certificate or proxy that cannot be used.
    """
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
            settings.proxy = proxy
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
    import urllib3
    from kubernetes.client.exceptions import OpenApiException

    return (
        urllib3.exceptions.HTTPError,
        OpenApiException,
        http.client.HTTPException,
        OSError,
        ValueError,
    )
