"""Reads Kubernetes objects whose fields may be missing, null or of the wrong type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Fields = Mapping[str, Any]


def mapping(value: Fields, *keys: str) -> Fields:
    """Return the object at a path of keys, an empty one where there is none."""
    found: Any = value
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def listed(value: Fields, key: str) -> list[Fields]:
    """Return the objects of a list, an empty list where there is none."""
    found = value.get(key)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def text(value: Fields, key: str) -> str:
    """Return a text, an empty one where there is none."""
    found = value.get(key)
    return "" if found is None else str(found)


def name_of(item: Fields) -> str:
    """Return the name of an object."""
    return text(mapping(item, "metadata"), "name")


def namespace_of(item: Fields) -> str:
    """Return the namespace of an object."""
    return text(mapping(item, "metadata"), "namespace")


def uid_of(item: Fields) -> str:
    """Return the unique id of an object."""
    return text(mapping(item, "metadata"), "uid")


def controller_of(item: Fields) -> Fields:
    """Return the reference to what controls an object, an empty one where nothing does."""
    for reference in listed(mapping(item, "metadata"), "ownerReferences"):
        if reference.get("controller") is True:
            return reference
    return {}
