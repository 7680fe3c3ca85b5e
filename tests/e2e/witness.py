"""Sees the processes of a node as the node's kernel numbers them, and can end one.

It is a pod with the node's process ids on each node, so that it does so on any cluster.
"""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from e2e.kubectl import Kubectl, pod

_LIST = """
import json, pathlib, sys
found = {}
for entry in pathlib.Path("/proc").iterdir():
    if entry.name.isdigit():
        try:
            if sys.argv[1] in (entry / "cgroup").read_text():
                found[entry.name] = (entry / "comm").read_text().strip()
        except OSError:
            pass
print(json.dumps(found))
"""
_KILL = "import os, sys; os.kill(int(sys.argv[1]), int(sys.argv[2]))"
_WAIT = "import signal; signal.pause()"


@dataclass(frozen=True)
class Witness:
    """The pods, by node; `kubectl` is that of their namespace."""

    kubectl: Kubectl
    pods: Mapping[str, str]

    @classmethod
    def start(cls, kubectl: Kubectl, image: str, nodes: list[str]) -> Witness:
        """Start one on every node."""
        pods = {node: f"witness-{number}" for number, node in enumerate(nodes)}
        kubectl.apply(
            *(pod(name, image, ["-c", _WAIT], node=n, hostPID=True) for n, name in pods.items())
        )
        kubectl.wait_for_pods(*pods.values())
        return cls(kubectl, pods)

    def process_ids(self, kubectl: Kubectl, name: str, container: str = "main") -> dict[int, str]:
        """Return names of the processes of a pod's container, by the node's numbers."""
        found = kubectl.get("pod", name)
        for kind in ("initContainerStatuses", "containerStatuses"):
            for status in found["status"].get(kind, ()):
                if status["name"] == container:
                    identity = status["containerID"].rpartition("/")[2]
        listed = self._run(found["spec"]["nodeName"], _LIST, identity)
        return {int(number): name for number, name in json.loads(listed).items()}

    def process_id(self, kubectl: Kubectl, name: str, container: str = "main") -> int:
        """Return the only process of a container."""
        [number] = self.process_ids(kubectl, name, container)
        return number

    def kill(self, node: str, number: int, which: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a process of a node."""
        self._run(node, _KILL, str(number), str(int(which)))

    @contextlib.contextmanager
    def frozen(self, kubectl: Kubectl, name: str, container: str) -> Iterator[None]:
        """Let the only process of a container do nothing meanwhile."""
        node = kubectl.get("pod", name)["spec"]["nodeName"]
        number = self.process_id(kubectl, name, container)
        self.kill(node, number, signal.SIGSTOP)
        try:
            yield
        finally:
            self.kill(node, number, signal.SIGCONT)

    def _run(self, node: str, program: str, *arguments: str) -> str:
        command = ("--", "python3", "-c", program, *arguments)
        return self.kubectl.run("exec", self.pods[node], *command).stdout
