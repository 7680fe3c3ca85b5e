"""The paths of docs/report.schema.json: `dns.latency`, `dns.targets[].name`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).parents[2] / "docs/report.schema.json"

Node = dict[str, Any]


def paths() -> set[str]:
    """Return the path of every property, and `path[]` of every list."""
    document = json.loads(SCHEMA.read_text())

    def resolved(node: Node) -> Iterator[Node]:
        if "$ref" in node:
            yield from resolved(document["$defs"][node["$ref"].rpartition("/")[2]])
            return
        choices = [*node.get("anyOf", ()), *node.get("oneOf", ())]
        if not choices:
            yield node
        for choice in choices:
            yield from resolved(choice)

    def below(node: Node, path: str) -> Iterator[str]:
        for each in resolved(node):
            for key, value in each.get("properties", {}).items():
                inner = f"{path}.{key}" if path else key
                yield inner
                yield from below(value, inner)
            if isinstance(each.get("items"), dict):
                yield f"{path}[]"
                yield from below(each["items"], f"{path}[]")

    return set(below(document, ""))
