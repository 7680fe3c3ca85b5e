"""The credentials in use: issued, read again or renewed as time goes by.

A server without TLS gets none, as from kubectl: whoever listens on the way could use them.
"""

from __future__ import annotations

import base64
import threading
import time
from dataclasses import dataclass, field

from podtrace.cluster.credential_plugin import PluginRun, is_expired
from podtrace.cluster.login import Destination, Login
from podtrace.errors import ClusterError

_TOKEN_FILE_SECONDS = 60.0
"""A token file is read again after so long, as client-go does; the kubelet renews it."""


@dataclass(frozen=True)
class Credential:
    """What goes with a request. `authorization` is the header's value, empty for none."""

    authorization: str = field(repr=False)
    certificate: bytes | None
    key: bytes | None = field(repr=False)


class Credentials:
    """Gives the credential for each request; safe to use from several threads.

    Args:
        login: what the kubeconfig says.
        destination: the cluster, for plugins that want to know it.
        is_silent: a plugin may neither ask nor say anything.

    Raises:
        ClusterError: the credential plugin cannot be started.
    """

    def __init__(self, login: Login, destination: Destination, is_silent: bool = False) -> None:
        self._login = login if destination.is_tls else Login()
        self._destination = destination
        self._is_silent = is_silent
        self._lock = threading.Lock()
        self._current: Credential | None = None
        self._valid_until = 0.0
        # Logging in takes a plugin about as long as Python the import of a client.
        self._run = self._started(may_ask=True)

    def current(self) -> Credential:
        """Return the credential to use now.

        Raises:
            ClusterError: it cannot be had: the plugin fails, a file cannot be read.
        """
        with self._lock:
            if self._current is None or time.time() >= self._valid_until:
                self._current = self._renewed()
            return self._current

    def replaced(self, refused: Credential) -> bool:
        """Get new credentials in place of some that the server refused.

        Returns:
            Whether there are others now, so that another try makes sense.

        Raises:
            ClusterError: there should be and are not.
        """
        with self._lock:
            if self._current is refused and (self._login.plugin or self._login.token_file):
                self._current = self._renewed()
            return self._current != refused

    def close(self) -> None:
        """End a plugin that is still at work, whoever waits for it."""
        run = self._run
        if run is not None:
            run.stop()
            self._run = None

    def _renewed(self) -> Credential:
        login = self._login
        self._valid_until = float("inf")
        token, certificate, key = login.token, login.certificate, login.key
        if login.plugin is not None:
            self._run = self._run or self._started(may_ask=self._current is None)
            assert self._run is not None
            try:
                issued = self._run.result()
            finally:
                self._run = None
            if is_expired(issued):
                raise ClusterError(
                    f"the credential plugin {login.plugin.command} gave credentials that have "
                    "expired already",
                    "check this machine's clock, then log in again",
                )
            if issued.expires_seconds is not None:
                self._valid_until = issued.expires_seconds
            token = token or issued.token
            if issued.certificate is not None:
                certificate, key = issued.certificate, issued.key
        elif login.token_file is not None:
            self._valid_until = time.time() + _TOKEN_FILE_SECONDS
            token = self._from_file() or token
        return Credential(_authorization(login, token), certificate, key)

    def _started(self, may_ask: bool) -> PluginRun | None:
        plugin = self._login.plugin
        if plugin is None:
            return None
        return PluginRun(
            plugin, self._destination, may_ask and not self._is_silent, self._is_silent
        )

    def _from_file(self) -> str:
        assert self._login.token_file is not None
        try:
            return self._login.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            if self._login.token:
                return ""
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ClusterError(
                f"the token file {self._login.token_file} cannot be read: {reason}",
                "see: kubectl config view --minify",
            ) from None


def _authorization(login: Login, token: str) -> str:
    if token:
        return f"Bearer {token}"
    if login.username or login.password:
        pair = f"{login.username}:{login.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"
    return ""
