"""Runs a credential plugin: a program that prints a token or a client certificate.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins

What it says on stderr goes to the user as it comes, because that is where it asks for a password or
shows the address to log in at.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from podtrace.cluster.login import Destination, Plugin
from podtrace.errors import ClusterError

_API = "client.authentication.k8s.io"
_VERSIONS = (f"{_API}/v1", f"{_API}/v1beta1")


@dataclass(frozen=True)
class Issued:
    """What a plugin gave; `expires_seconds` in wall-clock time, None for never."""

    token: str = field(repr=False)
    certificate: bytes | None
    key: bytes | None = field(repr=False)
    expires_seconds: float | None


class PluginRun:
    """A plugin at work; starting it and waiting for it are apart, so that other work fits between.

    Args:
        plugin: what to run.
        destination: the cluster, for plugins that want to know it.
        may_ask: whether it may ask the user, where a terminal is there.
        is_silent: keep what it says on stderr from the user.

    Raises:
        ClusterError: it cannot be started.
    """

    def __init__(
        self, plugin: Plugin, destination: Destination, may_ask: bool, is_silent: bool = False
    ) -> None:
        self._plugin = plugin
        self._is_awaited = False
        if plugin.api_version not in _VERSIONS:
            raise ClusterError(
                f"the credential plugin {plugin.command} is configured for "
                f"{plugin.api_version or 'no version'}, which is not supported",
                f"set its apiVersion in the kubeconfig to {' or '.join(_VERSIONS)}",
            )
        is_interactive = may_ask and plugin.interactive_mode != "Never" and _has_terminal()
        if plugin.interactive_mode == "Always" and not is_interactive:
            raise ClusterError(
                f"the credential plugin {plugin.command} has to ask, and there is no terminal",
                "run it from a terminal, or log in beforehand: kubectl auth whoami",
            )
        environment = os.environ | dict(plugin.environment)
        environment["KUBERNETES_EXEC_INFO"] = _request(plugin, destination, is_interactive)
        try:
            self._process = subprocess.Popen(
                [plugin.command, *plugin.arguments],
                stdin=None if is_interactive else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if is_silent else None,
                env=environment,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ClusterError(
                f"the credential plugin {plugin.command} cannot be started: {reason}",
                plugin.install_hint or "see the exec section of: kubectl config view --minify",
            ) from None

    def result(self) -> Issued:
        """Wait for the plugin to end and return what it gave.

        Raises:
            ClusterError: it failed, or printed no credentials.
        """
        self._is_awaited = True
        output, _ = self._process.communicate()
        if self._process.returncode != 0:
            raise ClusterError(
                f"the credential plugin {self._plugin.command} failed with exit code "
                f"{self._process.returncode}",
                f"run it by hand: {' '.join((self._plugin.command, *self._plugin.arguments))}",
            )
        try:
            return _issued(json.loads(output), self._plugin.api_version)
        except (ValueError, TypeError, RecursionError) as error:
            raise ClusterError(
                f"the credential plugin {self._plugin.command} printed no credentials: {error}",
                f"run it by hand: {' '.join((self._plugin.command, *self._plugin.arguments))}",
            ) from None

    def stop(self) -> None:
        """End the plugin, whose answer is no longer wanted."""
        self._process.kill()
        if not self._is_awaited:
            self._process.communicate()


def is_expired(issued: Issued) -> bool:
    """Tell whether credentials are of no use any more."""
    return issued.expires_seconds is not None and time.time() >= issued.expires_seconds


def _has_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _request(plugin: Plugin, destination: Destination, is_interactive: bool) -> str:
    import base64

    spec: dict[str, Any] = {"interactive": is_interactive}
    if plugin.wants_cluster:
        cluster: dict[str, Any] = {"server": destination.server}
        if destination.tls_server_name:
            cluster["tls-server-name"] = destination.tls_server_name
        if destination.is_insecure:
            cluster["insecure-skip-tls-verify"] = True
        if destination.authority:
            encoded = base64.b64encode(destination.authority).decode()
            cluster["certificate-authority-data"] = encoded
        if destination.proxy:
            cluster["proxy-url"] = destination.proxy
        if destination.plugin_settings is not None:
            cluster["config"] = destination.plugin_settings
        spec["cluster"] = cluster
    return json.dumps({"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec})


def _issued(answer: Any, api_version: str) -> Issued:
    if not isinstance(answer, dict) or answer.get("kind") != "ExecCredential":
        raise ValueError("it is no ExecCredential")
    if answer.get("apiVersion") != api_version:
        raise ValueError(f"its apiVersion is {answer.get('apiVersion')}, not {api_version}")
    status = answer.get("status")
    if not isinstance(status, dict):
        raise ValueError("it has no status")
    certificate, key = (_pem(status, f"client{part}Data") for part in ("Certificate", "Key"))
    token = str(status.get("token") or "")
    if (certificate is None) != (key is None):
        raise ValueError("it has a client certificate without its key, or the other way round")
    if not token and certificate is None:
        raise ValueError("it has neither a token nor a client certificate")
    expiry = status.get("expirationTimestamp")
    return Issued(
        token=token.strip(),
        certificate=certificate,
        key=key,
        expires_seconds=datetime.fromisoformat(expiry).timestamp() if expiry else None,
    )


def _pem(status: Mapping[str, Any], key: str) -> bytes | None:
    text = status.get(key)
    return str(text).encode() if text else None
