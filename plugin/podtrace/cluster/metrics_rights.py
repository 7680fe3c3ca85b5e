"""Whether the user may forward the tracer's metrics, asked before anything is created.

A websocket begins with a GET, so every server asks for the right to `get`. Since 1.35 servers ask
for `create`, too (AuthorizePodWebsocketUpgradeCreatePermission), as they always did of SPDY.
https://kubernetes.io/docs/reference/command-line-tools-reference/feature-gates/
"""

from __future__ import annotations

from podtrace.cluster.interface import ApiLike
from podtrace.cluster.rights import allowed_rights, metrics_rights, role_text, user_name
from podtrace.cluster.server_version import server_version
from podtrace.errors import ClusterError

CREATE_VERSION = (1, 35)


def check_metrics_rights(api: ApiLike, namespace: str, tracer_namespace: str) -> None:
    """Refuse to go on where the metrics could not be forwarded.

    Args:
        api: the cluster.
        namespace: of the pods to trace.
        tracer_namespace: of the tracer pod.

    Raises:
        ClusterError: what is missing, or the cluster does not answer.
    """
    needed = metrics_rights(namespace, tracer_namespace)
    allowed = allowed_rights(api, needed)
    missing = [right for right in needed if not allowed[right]]
    if all(right.verb == "create" for right in missing) and not _wants_create(api):
        return
    if not missing:
        return
    role = role_text(
        namespace, tracer_namespace=tracer_namespace, user=user_name(api), with_metrics=True
    )
    raise ClusterError(
        f"you may not {', '.join(str(right) for right in missing)}, which --metrics takes",
        "give this to whoever manages the cluster, for: kubectl apply -f FILE; or run without "
        "--metrics",
        role.splitlines(),
    )


def _wants_create(api: ApiLike) -> bool:
    try:
        version = server_version(api.get("/version"))
    except ClusterError:
        return False  # what it says when it is asked to connect decides
    return version is not None and version >= CREATE_VERSION
