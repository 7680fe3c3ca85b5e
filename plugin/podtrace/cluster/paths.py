"""Where the API server keeps each kind of object."""

from __future__ import annotations

from urllib.parse import quote

from podtrace.errors import UsageError

_GROUPS = {
    "daemonsets": "apps",
    "deployments": "apps",
    "replicasets": "apps",
    "statefulsets": "apps",
    "cronjobs": "batch",
    "jobs": "batch",
    "runtimeclasses": "node.k8s.io",
}
"""The API group of a resource that is not of the core group; each is used in version v1."""


def group_of(resource: str) -> str:
    """Return the API group of a resource; empty is the core group."""
    return _GROUPS.get(resource, "")


def object_path(
    resource: str, *, namespace: str | None = None, name: str = "", subresource: str = ""
) -> str:
    """Return the path of an object, of one of its subresources, or of a list.

    Args:
        resource: such as `pods`.
        namespace: None for what belongs to no namespace, or a list over all.
        name: empty for a list.
        subresource: such as `log`.

    Raises:
        UsageError: a name that cannot be one, and that would lead to another path.
    """
    group = group_of(resource)
    parts = ["apis", group, "v1"] if group else ["api", "v1"]
    if namespace is not None:
        parts += ["namespaces", _segment("namespace", namespace)]
    parts.append(resource)
    if name:
        parts.append(_segment(resource, name))
    if subresource:
        parts.append(subresource)
    return "/" + "/".join(parts)


def _segment(what: str, name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "%" in name:
        raise UsageError(
            f"{what} {name!r}: this is no name that an object can have",
            "names are lower case letters, digits, - and .",
        )
    return quote(name, safe="")
