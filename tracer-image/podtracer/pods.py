"""The pods that a tracer is asked for, as the plugin describes them on the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_PODS = 255
"""The probes keep a target's number in a byte."""


@dataclass(frozen=True)
class Pod:
    """One pod; `uid` is the one that its cgroup is named after.

    `containers` maps ids of containers that ran when the pod was looked up to their names. `only`
    names the containers to trace, () stands for all, those to come as well.
    """

    number: int
    namespace: str
    name: str
    uid: str
    containers: Mapping[str, str] = field(default_factory=dict)
    only: Sequence[str] = ()

    @property
    def described(self) -> str:
        """The pod as an error names it."""
        return f"pod {self.namespace}/{self.name}"

    def wants(self, container: str | None) -> bool:
        """Whether the container of this name is to be traced."""
        return not self.only or container in self.only


def parse(text: str) -> list[Pod]:
    """Read the value of --pods; raises ValueError that says what is wrong with it."""
    items = json.loads(text)
    if not isinstance(items, list) or not items:
        raise ValueError("not a list of pods")
    pods = [_pod(item) for item in items]
    if len({pod.number for pod in pods}) < len(pods):
        raise ValueError("two pods have the same id")
    return pods


def _pod(item: Any) -> Pod:
    try:
        pod = Pod(
            number=item["id"],
            namespace=str(item["namespace"]),
            name=str(item["pod"]),
            uid=str(item["uid"]),
            containers={str(key): str(name) for key, name in item.get("containers", {}).items()},
            only=tuple(map(str, item.get("only", ()))),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a pod: {item!r} ({error!r})") from error
    if type(pod.number) is not int or not 1 <= pod.number <= MOST_PODS:
        raise ValueError(f"a pod's id is a number from 1 to {MOST_PODS}, not {pod.number!r}")
    # It becomes part of a path.
    if not pod.uid or not pod.uid.replace("-", "").isalnum():
        raise ValueError(f"not a pod's uid: {pod.uid!r}")
    return pod
