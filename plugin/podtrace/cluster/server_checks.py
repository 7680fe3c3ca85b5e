"""Questions about the API server, the user and the namespaces, asked before a trace."""

from __future__ import annotations

import time
from http import HTTPStatus

from podtrace.checkup import FAILED, OK, SKIPPED, WARNING, Check, check_of
from podtrace.cluster.interface import ApiLike, Object
from podtrace.cluster.objects import mapping, text
from podtrace.cluster.paths import object_path
from podtrace.cluster.rights import WHO_AM_I
from podtrace.cluster.server_version import server_version
from podtrace.errors import ApiError, ClusterError

OLDEST_VERSION = (1, 25)
"""Pod Security admission is stable, and Jobs and their time to live are, from here on."""

_SLOW_SECONDS = 2.0
_MOST_GROUPS = 4
_ANONYMOUS = "system:anonymous"
_NOT_TOLD = (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN, HTTPStatus.METHOD_NOT_ALLOWED)


def check_server(api: ApiLike) -> Check:
    """Ask whether the API server answers, how fast, and of which version it is."""
    name = "API server"
    try:
        api.get("/version")  # the connection and the log-in are made here, and not measured
        began = time.monotonic()
        answer = api.get("/version")
    except ApiError as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return Check(name, OK, f"{api.server} answers; its version may not be asked for")
        return check_of(name, error)
    except ClusterError as error:
        return check_of(name, error)
    seconds = time.monotonic() - began
    version = str(answer.get("gitVersion") or "of an unknown version")
    found = f"{api.server} {version}, answers in {seconds * 1000:.0f} ms"
    known = server_version(answer)
    if known is not None and known < OLDEST_VERSION:
        wanted = ".".join(map(str, OLDEST_VERSION))
        return Check(
            name,
            WARNING,
            f"{found}: older than {wanted}",
            f"podtrace is made for Kubernetes {wanted} and newer; upgrade the cluster, or try",
        )
    if seconds > _SLOW_SECONDS:
        return Check(
            name,
            WARNING,
            f"{found}: that is slow",
            "a trace starts later and its live view lags; look at the network, VPN or proxy "
            "between here and the cluster",
        )
    return Check(name, OK, found)


def check_user(api: ApiLike) -> tuple[Check, str | None]:
    """Ask who the user is to the cluster (SelfSubjectReview, Kubernetes 1.28).

    Returns the name, too, where the cluster tells it.
    """
    name = "User"
    untold = Check(name, SKIPPED, "this cluster does not tell who you are to it"), None
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        info = mapping(api.post(WHO_AM_I, review), "status", "userInfo")
    except ApiError as error:
        return untold if error.status in _NOT_TOLD else (check_of(name, error), None)
    except ClusterError as error:
        return check_of(name, error), None
    user, listed = text(info, "username"), info.get("groups")
    groups = [str(group) for group in listed if group] if isinstance(listed, list) else []
    if not user:
        return untold
    if user == _ANONYMOUS:
        fix = "log in to the cluster, or name a user of the kubeconfig with --user or --context"
        return Check(name, WARNING, f"{user}: the cluster does not know you", fix), user
    shown = ", ".join(groups[:_MOST_GROUPS])
    more = f" and {len(groups) - _MOST_GROUPS} more" if len(groups) > _MOST_GROUPS else ""
    return Check(name, OK, f"{user}; groups {shown}{more}" if groups else user), user


def check_namespace(api: ApiLike, namespace: str) -> tuple[Check, Object | None]:
    """Ask whether a namespace exists; return it too, where the user may look at it."""
    name = f"Namespace {namespace}"
    try:
        found = api.get(object_path("namespaces", name=namespace))
    except ApiError as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return Check(name, SKIPPED, "you may not look at namespaces"), None
        if error.status == HTTPStatus.NOT_FOUND:
            fix = (
                "name another one with -n, or create it:\n"
                f"  kubectl create namespace {namespace}\nto see which there are:\n"
                "  kubectl get namespaces"
            )
            return Check(name, FAILED, "does not exist", fix), None
        return check_of(name, error), None
    except ClusterError as error:
        return check_of(name, error), None
    if text(mapping(found, "status"), "phase") == "Terminating":
        fix = "wait until it is gone, and create it again, or use another one"
        return Check(name, FAILED, "is being deleted: nothing can be created in it", fix), found
    return Check(name, OK, "exists"), found
