"""Where a cluster is and who the user is there, as a kubeconfig and kubectl's options say it.

Plain data: nothing is asked of a server or a plugin here. Certificates and keys are read, so that a
missing file is named before anything else happens.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from podtrace.cluster.access import Access
from podtrace.errors import ClusterError


@dataclass(frozen=True)
class Destination:
    """A server and how to trust it. `authority` None: the system's certificate authorities.

    `proxy` empty: as the environment says. `plugin_settings`: what the cluster's entry has for a
    credential plugin.
    """

    server: str
    authority: bytes | None = None
    is_insecure: bool = False
    tls_server_name: str = ""
    proxy: str = ""
    plugin_settings: Any = None

    @property
    def is_tls(self) -> bool:
        """Whether nobody on the way can read what is sent there."""
        return urlsplit(self.server).scheme == "https"


@dataclass(frozen=True)
class Plugin:
    """A program that gives credentials (client.authentication.k8s.io)."""

    command: str
    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    api_version: str
    interactive_mode: str
    install_hint: str
    wants_cluster: bool


@dataclass(frozen=True)
class Impersonation:
    """Whom to act as; sent as headers with every request."""

    user: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class Login:
    """Every way to say who the user is. Secrets stay out of `repr`."""

    token: str = field(default="", repr=False)
    token_file: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)
    plugin: Plugin | None = None
    impersonation: Impersonation = Impersonation()


def cluster_destination(values: Mapping[str, Any], folder: Path, access: Access) -> Destination:
    """Return where a cluster is, with the options of the command line above the kubeconfig.

    Raises:
        ClusterError: no server, or a file that cannot be read.
    """
    authority = _content(values, "certificate-authority", folder)
    is_insecure = bool(values.get("insecure-skip-tls-verify"))
    server_name = _text(values, "tls-server-name")
    if access.certificate_authority:
        authority, is_insecure = _file(Path(access.certificate_authority)), False
    if access.insecure_skip_tls_verify:
        authority, is_insecure = None, True
    if access.server:
        # The name in the kubeconfig belongs to the server there.
        server_name = ""
    return Destination(
        server=_server(access.server or _text(values, "server"), bool(authority) or is_insecure),
        authority=authority,
        is_insecure=is_insecure,
        tls_server_name=access.tls_server_name or server_name,
        proxy=_text(values, "proxy-url"),
        plugin_settings=_plugin_settings(values),
    )


def user_login(values: Mapping[str, Any], folder: Path, access: Access) -> Login:
    """Return who the user is, with the options of the command line above the kubeconfig.

    Raises:
        ClusterError: a method that is not supported, or a file that cannot be read.
    """
    certificate = _content(values, "client-certificate", folder)
    key = _content(values, "client-key", folder)
    if access.client_certificate:
        certificate = _file(Path(access.client_certificate))
    if access.client_key:
        key = _file(Path(access.client_key))
    if (certificate is None) != (key is None):
        there, missing = ("key", "certificate") if key else ("certificate", "key")
        raise ClusterError(
            f"the user has a client {there} but no client {missing}",
            "see: kubectl config view --minify",
        )
    token_file = None if access.token else _text(values, "tokenFile")
    token = access.token or _text(values, "token")
    plugin = None
    if not access.token:
        plugin = _plugin(values.get("exec"), folder)
        token = token or _provided(values.get("auth-provider"))
    return Login(
        token=token.strip(),
        token_file=folder / token_file if token_file else None,
        username=_text(values, "username"),
        password=_text(values, "password"),
        certificate=certificate,
        key=key,
        plugin=plugin,
        impersonation=_impersonation(values, access),
    )


def service_account(
    folder: Path, host: str, port: str, access: Access
) -> tuple[Destination, Login]:
    """Return what the service account of a pod gives.

    Raises:
        ClusterError: its certificate cannot be read.
    """
    host = f"[{host}]" if ":" in host else host
    authority = str(folder / "ca.crt")
    cluster = {"server": f"https://{host}:{port}", "certificate-authority": authority}
    user = {"tokenFile": str(folder / "token")}
    return cluster_destination(cluster, folder, access), user_login(user, folder, access)


def proxy_for(destination: Destination, environment: Mapping[str, str] = os.environ) -> str:
    """Return the proxy to use; empty for none.

    As Go has it: $HTTPS_PROXY or $HTTP_PROXY by the scheme of the server, never for this machine.
    Exceptions in $NO_PROXY are not looked at here.
    """
    if destination.proxy:
        return destination.proxy
    parts = urlsplit(destination.server)
    host = parts.hostname or ""
    if host == "localhost" or _is_loopback(host):
        return ""
    name = f"{parts.scheme}_proxy"
    proxy = environment.get(name.upper()) or environment.get(name) or ""
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _server(server: str, is_tls: bool) -> str:
    if not server:
        raise ClusterError(
            "the kubeconfig names no server",
            "see: kubectl config view --minify, or give one with --server URL",
        )
    if "://" not in server:
        server = f"https://{server}" if is_tls else f"http://{server}"
    try:
        parts = urlsplit(server)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise ClusterError(
            f"the server {server} is no URL of an API server",
            "it looks like https://HOST:6443; see: kubectl config view --minify",
        )
    return server.rstrip("/")


def _plugin_settings(values: Mapping[str, Any]) -> Any:
    for item in values.get("extensions") or ():
        if isinstance(item, dict) and item.get("name") == "client.authentication.k8s.io/exec":
            return item.get("extension")
    return None


def _plugin(values: Any, folder: Path) -> Plugin | None:
    if not isinstance(values, dict):
        return None
    command = _text(values, "command")
    if not command:
        raise ClusterError(
            "the user's exec section in the kubeconfig has no command",
            "see: kubectl config view --minify",
        )
    if os.path.dirname(command):
        command = str(folder / command)
    return Plugin(
        command=command,
        arguments=tuple(str(argument) for argument in values.get("args") or ()),
        environment=tuple(
            (_text(item, "name"), _text(item, "value"))
            for item in values.get("env") or ()
            if isinstance(item, dict)
        ),
        api_version=_text(values, "apiVersion"),
        interactive_mode=_text(values, "interactiveMode") or "IfAvailable",
        install_hint=_text(values, "installHint").strip(),
        wants_cluster=bool(values.get("provideClusterInfo")),
    )


def _provided(values: Any) -> str:
    """Return the token of an OIDC provider; kubectl alone can renew it."""
    if not isinstance(values, dict):
        return ""
    name = _text(values, "name")
    token = _text(values.get("config") or {}, "id-token")
    if name == "oidc" and token:
        return token
    raise ClusterError(
        f"the user's auth-provider {name} in the kubeconfig is not supported",
        "log in with a credential plugin (exec), as kubectl 1.26 and newer want it",
    )


def _impersonation(values: Mapping[str, Any], access: Access) -> Impersonation:
    extra = values.get("as-user-extra")
    asked = Impersonation(
        user=access.as_user or _text(values, "as"),
        uid=access.as_uid or _text(values, "as-uid"),
        groups=access.as_groups or tuple(str(group) for group in values.get("as-groups") or ()),
        extra=tuple(
            (str(key), tuple(str(value) for value in listed or ()))
            for key, listed in (extra.items() if isinstance(extra, dict) else ())
        ),
    )
    if not asked.user and asked != Impersonation():
        raise ClusterError(
            "a group, uid or extra to act as was given without a user",
            "name one with --as USER",
        )
    return asked


def _content(values: Mapping[str, Any], key: str, folder: Path) -> bytes | None:
    """Return what KEY-data holds, or else the file that KEY names."""
    encoded = _text(values, f"{key}-data")
    if encoded:
        try:
            return base64.b64decode(encoded, validate=False)
        except (binascii.Error, ValueError):
            raise ClusterError(
                f"{key}-data in the kubeconfig is not base64", "see: kubectl config view --raw"
            ) from None
    path = _text(values, key)
    return _file(folder / path) if path else None


def _file(path: Path) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise ClusterError(
            f"{path}, which is needed to reach the cluster, cannot be read: {error.strerror}",
            "see: kubectl config view --minify",
        ) from None


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    return "" if value is None else str(value)
