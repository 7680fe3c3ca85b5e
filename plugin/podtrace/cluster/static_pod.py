"""Pods that a kubelet runs from files of its own; the API server has a mirror of them."""

from __future__ import annotations

import re

from podtrace.cluster.objects import Fields, listed, mapping, text

_HASH = "kubernetes.io/config.hash"
_MIRRORED = "kubernetes.io/config.mirror"
_UID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def static_uid(pod: Fields) -> str:
    """Return the id that the kubelet gave a static pod, an empty text where this is none.

    Anybody may write a hash on a pod of their own and so point at another one. A kubelet writes it
    twice and names its node as the owner.
    """
    metadata = mapping(pod, "metadata")
    annotations = mapping(metadata, "annotations")
    uid = text(annotations, _HASH)
    owners = {text(owner, "kind") for owner in listed(metadata, "ownerReferences")}
    is_static = uid == text(annotations, _MIRRORED) and owners <= {"Node"}
    return uid if is_static and _UID.fullmatch(uid) else ""
