"""The servers that workloads in pods talk to: DNS with a delay, TCP with a port that refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from e2e.kubectl import Kubectl, pod
from e2e.workloads import PodProgram, container
from kernel.servers import DNS_DELAY_SECONDS

POD = "servers"


@dataclass(frozen=True)
class Servers:
    """A pod with both of them."""

    address: str
    port: int
    refused_port: int

    @classmethod
    def start(cls, kubectl: Kubectl, image: str, node: str) -> Servers:
        """Start them on a node."""
        listening = ("--listen", "0.0.0.0", "--refuse", "0.0.0.0")
        dns = ("--address", "0.0.0.0", "--delay-ms", 1000 * DNS_DELAY_SECONDS)
        containers = [
            container("dns", image, "dns_server.py", *dns),
            container("tcp", image, "tcp_server.py", *listening),
        ]
        kubectl.apply(pod(POD, image, node=node, containers=containers))
        kubectl.wait_for_pods(POD)
        with PodProgram(kubectl, POD, "tcp") as tcp, PodProgram(kubectl, POD, "dns"):
            facts = tcp.facts
        address = kubectl.get("pod", POD)["status"]["podIP"]
        return cls(address, int(facts["port"]), int(facts["refused_port"]))

    def exact_arguments(self, file: str) -> list[Any]:
        """Return what exact.py needs to know of them."""
        return [
            *("--dns", self.address, "--tcp", self.address),
            *("--port", self.port, "--refused-port", self.refused_port),
            *("--file", file),
        ]
