"""Where one test cluster lives: its directory, its addresses, its names.

Several clusters stand side by side on a machine. Each has a number, which is claimed by making the
directory of that number.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from pathlib import Path

PARENT = Path(os.environ.get("PODTRACE_E2E_DIRECTORY", "/var/tmp/podtrace-e2e"))
NODES = ("node-a", "node-b")
NUMBERS = range(50)


@dataclass(frozen=True)
class NodePlan:
    """One node's place: `number` counts from 1."""

    name: str
    number: int
    directory: Path
    address: str
    pods: str
    cgroup: str


@dataclass(frozen=True)
class Plan:
    """One cluster's place; everything follows from its number."""

    number: int

    @property
    def directory(self) -> Path:
        """Hold everything that the cluster writes."""
        return PARENT / str(self.number)

    @property
    def network(self) -> str:
        """Return all addresses of the cluster: nodes, pods, Services."""
        return f"{self._prefix}.0.0/16"

    @property
    def machine_address(self) -> str:
        """Return the machine's own end of the link into the cluster."""
        return f"{self._prefix}.0.1"

    @property
    def control_address(self) -> str:
        """Return where the API server listens."""
        return f"{self._prefix}.0.2"

    @property
    def pods(self) -> str:
        """Return the pods' addresses, of all nodes."""
        return f"{self._prefix}.64.0/18"

    @property
    def services(self) -> str:
        """Return the Services' addresses."""
        return f"{self._prefix}.128.0/18"

    @property
    def api_service(self) -> str:
        """Return the address of the Service default/kubernetes: the range's first."""
        return f"{self._prefix}.128.1"

    @property
    def server(self) -> str:
        """Return the API server's URL."""
        return f"https://{self.control_address}:6443"

    @property
    def link(self) -> str:
        """Return the name of the machine's virtual link into the cluster."""
        return f"podtrace-e2e{self.number}"

    @property
    def cgroup(self) -> str:
        """Return the directory of all the cluster's pods, in every hierarchy."""
        return f"/podtrace-e2e-{self.number}"

    @property
    def nodes(self) -> tuple[NodePlan, ...]:
        """Return the nodes' places."""
        return tuple(
            NodePlan(
                name,
                number,
                self.directory / name,
                f"{self._prefix}.0.{10 + number}",
                f"{self._prefix}.{64 + number}.0/24",
                f"{self.cgroup}/{name}",
            )
            for number, name in enumerate(NODES, start=1)
        )

    @property
    def kubeconfig(self) -> Path:
        """Return the administrator's kubeconfig."""
        return self.directory / "kubeconfig"

    def kubeconfig_of(self, user: str) -> Path:
        """Return the kubeconfig of a user who has a token."""
        return self.directory / f"kubeconfig-{user}"

    @property
    def _prefix(self) -> str:
        return f"10.{200 + self.number}"


def claim() -> Plan:
    """Make the directory of the first number that is free here."""
    taken = list(_routes())
    PARENT.mkdir(mode=0o755, parents=True, exist_ok=True)
    for number in NUMBERS:
        plan = Plan(number)
        network = ip_network(plan.network)
        if any(network.overlaps(route) for route in taken):
            continue
        try:
            plan.directory.mkdir(mode=0o755)
        except FileExistsError:
            continue
        return plan
    raise RuntimeError(f"no room for another cluster: see {PARENT}, and `down`")


def existing() -> Iterator[Plan]:
    """Return the clusters that have a directory, whether they run or not."""
    for number in NUMBERS:
        if Plan(number).directory.is_dir():
            yield Plan(number)


def _routes() -> Iterator[IPv4Network]:
    found = subprocess.run(
        ["ip", "-4", "-json", "route", "show", "table", "all"], check=True, capture_output=True
    )
    for route in json.loads(found.stdout):
        if route["dst"] != "default":
            yield IPv4Network(route["dst"], strict=False)
