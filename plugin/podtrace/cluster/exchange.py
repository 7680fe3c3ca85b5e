"""A request and its answer: logged in, repeated where that is right, its failures in words."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from podtrace.cluster.credentials import Credential, Credentials
from podtrace.cluster.headers import query_string, request_headers, retry_after_seconds
from podtrace.cluster.interface import Query
from podtrace.cluster.login import Impersonation
from podtrace.cluster.refusal import api_error
from podtrace.cluster.streams import CHUNK_BYTES
from podtrace.cluster.trouble import no_answer, too_slow, was_cut
from podtrace.errors import ClusterError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, HTTPHeaderDict

    from podtrace.cluster.channel import Channel

CONNECT_SECONDS = 10.0
_IDLE_SECONDS = 60.0
"""Connections that were idle for longer are not used again: a firewall may have forgotten them, or
this machine may have slept."""
_PATIENCE_SECONDS = 10.0
"""How long a server that says when to come back is obeyed before its answer becomes an error."""
_LONGEST_ANSWER_BYTES = 256 << 20


class Transport(Protocol):
    """Connections to one server with one client certificate."""

    def send(
        self,
        method: str,
        url: str,
        headers: HTTPHeaderDict,
        body: Mapping[str, Any] | None,
        timeouts: tuple[float, float | None],
    ) -> BaseHTTPResponse:
        """Send a request and return its answer, unread, whatever its status."""

    def dial(self, url: str, seconds: float) -> socket.socket:
        """Return a connection to the server of this URL that nothing else uses."""

    def close(self) -> None:
        """Close the connections that are not in use."""


class Exchange:
    """Sends requests and judges their answers; safe to use from several threads.

    Args:
        server: the URL of the server.
        proxy: on the way to it, empty for none.
        credentials: who the user is.
        impersonation: whom to act as.
        connect: makes a transport for a credential.
        failures: what a transport raises.
        timeout_seconds: of an answer; None for no limit.
    """

    def __init__(
        self,
        server: str,
        proxy: str,
        credentials: Credentials,
        impersonation: Impersonation,
        connect: Callable[[Credential], Transport],
        failures: tuple[type[Exception], ...],
        timeout_seconds: float | None,
    ) -> None:
        self.server = server
        self.timeout_seconds = timeout_seconds
        self._proxy = proxy
        self._credentials = credentials
        self._impersonation = impersonation
        self._connect = connect
        self._failures = failures
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        self._transport_of: Credential | None = None
        self._used_seconds = 0.0

    def close(self) -> None:
        """Close idle connections and end what is still logging in."""
        self._credentials.close()
        with self._lock:
            if self._transport is not None:
                self._transport.close()

    def answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, Query],
        body: Mapping[str, Any] | None,
        read_seconds: float | None,
    ) -> BaseHTTPResponse:
        """Return an answer that is no error, unread.

        Raises:
            ApiError: the answer is an error.
            ClusterError: there is none.
        """
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
                raise self.trouble(error, read_seconds) from error
            if response.status < HTTPStatus.MULTIPLE_CHOICES:
                return response
            content = self.content(response)
            if response.status == HTTPStatus.UNAUTHORIZED and may_log_in:
                may_log_in = False
                if self._credentials.replaced(credential):
                    continue
            pause = retry_after_seconds(response.headers)
            if pause is not None and time.monotonic() + pause < give_up_seconds:
                time.sleep(pause)
                continue
            raise api_error(response.status, content, method=method, path=path, server=self.server)

    def channel(self, path: str, query: Mapping[str, Query], protocol: str) -> Channel:
        """Open a websocket.

        Raises:
            ApiError: the answer is an error.
            ClusterError: there is none.
        """
        # Its library is not wanted for a run without one.
        from podtrace.cluster.channel import Channel, ChannelRefusedError

        url = self.server + path + query_string(query)
        seconds = min(CONNECT_SECONDS, self.timeout_seconds or CONNECT_SECONDS)
        may_log_in = True
        while True:
            credential = self._credentials.current()
            headers = request_headers(credential, self._impersonation)
            # A kubelet has nothing but the channel to give, and refuses whoever wants JSON.
            headers["Accept"] = "*/*"
            try:
                connection = self._transport_for(credential).dial(url, seconds)
                return Channel(connection, url, headers, protocol)
            except ChannelRefusedError as refusal:
                if refusal.status == HTTPStatus.UNAUTHORIZED and may_log_in:
                    may_log_in = False
                    if self._credentials.replaced(credential):
                        continue
                raise api_error(
                    refusal.status, refusal.content, method="GET", path=path, server=self.server
                ) from refusal
            except self._failures as error:
                raise self.trouble(error, seconds) from error

    def content(self, response: BaseHTTPResponse) -> bytes:
        """Read an answer.

        Raises:
            ClusterError: it broke off, or does not end.
        """
        limit = self.timeout_seconds
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
            raise self.trouble(error, limit) from error
        except ClusterError:
            response.close()
            raise
        return bytes(content)

    def trouble(self, error: Exception, seconds: float | None) -> ClusterError:
        """Return the error for something that the transport raised."""
        return no_answer(error, self.server, self._proxy, seconds)

    def _send(
        self,
        credential: Credential,
        method: str,
        url: str,
        body: Mapping[str, Any] | None,
        read_seconds: float | None,
    ) -> BaseHTTPResponse:
        headers = request_headers(credential, self._impersonation)
        connect_seconds = min(CONNECT_SECONDS, self.timeout_seconds or CONNECT_SECONDS)
        transport = self._transport_for(credential)
        return transport.send(method, url, headers, body, (connect_seconds, read_seconds))

    def _transport_for(self, credential: Credential) -> Transport:
        with self._lock:
            known, now = self._transport_of, time.time()
            if (
                self._transport is None
                or known is None
                or (known.certificate, known.key) != (credential.certificate, credential.key)
            ):
                self._transport = self._connect(credential)
                self._transport_of = credential
            elif now - self._used_seconds > _IDLE_SECONDS:
                self._transport.close()
            self._used_seconds = now
            return self._transport
