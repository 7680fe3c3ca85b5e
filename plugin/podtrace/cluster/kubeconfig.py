"""The kubeconfig: which server, with which credentials, in which namespace.

Read and merged here by kubectl's rules, because the `kubernetes` package has others: it lets the
last file choose the context, knows no --cluster and --user, hides what a credential plugin says,
and leaves client keys behind in /tmp.
https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podtrace.cluster.access import Access
from podtrace.cluster.login import (
    Destination,
    Login,
    cluster_destination,
    service_account,
    user_login,
)
from podtrace.errors import ClusterError

DEFAULT_FILE = "~/.kube/config"
_SECTIONS = {"clusters": "cluster", "contexts": "context", "users": "user"}
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class Entry:
    """A named cluster, user or context, and the folder that its relative paths start from."""

    name: str
    values: Mapping[str, Any]
    folder: Path


@dataclass(frozen=True)
class Kubeconfig:
    """One or more files, merged: the first to name something wins."""

    files: tuple[Path, ...]
    current_context: str
    entries: Mapping[str, Mapping[str, Entry]]


@dataclass(frozen=True)
class Configured:
    """All that is needed to talk to a cluster."""

    destination: Destination
    login: Login
    namespace: str


def configured(access: Access, environment: Mapping[str, str] = os.environ) -> Configured:
    """Return what kubectl would use, given its options and its environment.

    Raises:
        ClusterError: no kubeconfig, or one that cannot be read or does not name what is asked for.
    """
    config = read(files_of(access, environment))
    if not config.files and access.server is None:
        return _inside_a_pod(access, environment)
    context = _context(config, access)
    user_name = access.user or _text(context, "user")
    cluster_name = access.cluster or _text(context, "cluster")
    cluster = _named(config, "clusters", cluster_name, context)
    user = _named(config, "users", user_name, context)
    return Configured(
        cluster_destination(cluster.values, cluster.folder, access),
        user_login(user.values, user.folder, access),
        access.namespace or _text(context, "namespace") or "default",
    )


def files_of(access: Access, environment: Mapping[str, str]) -> list[Path]:
    """Return the kubeconfig files that there are, in the order of their weight.

    Raises:
        ClusterError: --kubeconfig names a file that is not there.
    """
    if access.kubeconfig:
        path = Path(access.kubeconfig).expanduser()
        if not path.exists():
            raise ClusterError(
                f"there is no kubeconfig {path}", "give the path of one with --kubeconfig"
            )
        return [path]
    listed = environment.get("KUBECONFIG") or DEFAULT_FILE
    paths = dict.fromkeys(Path(part).expanduser() for part in listed.split(os.pathsep) if part)
    return [path for path in paths if path.exists()]


def read(files: list[Path]) -> Kubeconfig:
    """Read files and merge them.

    Raises:
        ClusterError: a file cannot be read or is no kubeconfig.
    """
    current = ""
    entries: dict[str, dict[str, Entry]] = {section: {} for section in _SECTIONS}
    for path in files:
        content = _content(path)
        current = current or _string(content.get("current-context"))
        for section, key in _SECTIONS.items():
            for item in content.get(section) or []:
                if not isinstance(item, dict) or not isinstance(item.get(key) or {}, dict):
                    raise _malformed(path, f"{section} has to be a list of named entries")
                name = _string(item.get("name"))
                entry = Entry(name, item.get(key) or {}, path.absolute().parent)
                entries[section].setdefault(name, entry)
    return Kubeconfig(tuple(files), current, entries)


def _content(path: Path) -> dict[str, Any]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ClusterError(
            f"the kubeconfig {path} cannot be read: {reason}", f"see: ls -l {path}"
        ) from None
    try:
        content = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _malformed(path, " ".join(str(error).split())) from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(
        isinstance(content.get(section) or [], list) for section in _SECTIONS
    ):
        raise _malformed(path, "it has no lists of clusters, users and contexts")
    return content


def _malformed(path: Path, reason: str) -> ClusterError:
    return ClusterError(
        f"{path} is no kubeconfig: {reason}", f"see: kubectl config view --kubeconfig {path}"
    )


def _context(config: Kubeconfig, access: Access) -> Entry:
    name = access.context or config.current_context
    contexts = config.entries["contexts"]
    if name in contexts:
        return contexts[name]
    if not name and (access.server or access.cluster):
        return Entry("", {}, Path())
    known = f"the contexts are: {', '.join(sorted(contexts))}" if contexts else None
    if not name:
        raise ClusterError(
            f"{_listed(config)} has no current context",
            "choose one with --context NAME or: kubectl config use-context NAME",
            [known] if known else [],
        )
    raise ClusterError(
        f"{_listed(config)} has no context {name}",
        "choose another with --context NAME; to list them: kubectl config get-contexts",
        [known] if known else [],
    )


def _named(config: Kubeconfig, section: str, name: str, context: Entry) -> Entry:
    if not name:
        return Entry("", {}, Path())
    entry = config.entries[section].get(name)
    if entry is not None:
        return entry
    kind = _SECTIONS[section]
    whose = f", which the context {context.name} names" if name == _text(context, kind) else ""
    known = ", ".join(sorted(config.entries[section])) or "none"
    raise ClusterError(
        f"{_listed(config)} has no {kind} {name}{whose}",
        "see: kubectl config view",
        [f"the {section} are: {known}"],
    )


def _listed(config: Kubeconfig) -> str:
    names = ", ".join(str(path) for path in config.files)
    return f"the kubeconfig {names}" if names else "the kubeconfig"


def _inside_a_pod(access: Access, environment: Mapping[str, str]) -> Configured:
    host, port = (environment.get(f"KUBERNETES_SERVICE_{part}") for part in ("HOST", "PORT"))
    if not host or not port or not (_SERVICE_ACCOUNT / "token").exists():
        named = environment.get("KUBECONFIG")
        where = f"$KUBECONFIG ({named})" if named else DEFAULT_FILE
        raise ClusterError(
            f"there is no kubeconfig at {where}, and this is no pod with a service account",
            "give the path of one with --kubeconfig or in $KUBECONFIG",
        )
    if access.context or access.cluster or access.user:
        name = access.context or access.cluster or access.user
        raise ClusterError(f"there is no kubeconfig to look {name} up in", "use --kubeconfig FILE")
    destination, login = service_account(_SERVICE_ACCOUNT, host, port, access)
    namespace = access.namespace or environment.get("POD_NAMESPACE")
    if not namespace:
        try:
            namespace = (_SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
        except OSError:
            namespace = "default"
    return Configured(destination, login, namespace)


def _text(entry: Entry, key: str) -> str:
    return _string(entry.values.get(key))


def _string(value: Any) -> str:
    return "" if value is None else str(value)
