"""A whole cluster: up, down, and what a test does to it in between."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from e2e.machine import binaries, control_groups, images
from e2e.machine.cache import CACHE
from e2e.machine.certificates import Authority
from e2e.machine.control_plane import ControlPlane
from e2e.machine.namespaces import Namespaces
from e2e.machine.node import Node
from e2e.machine.plan import Plan, claim, existing
from e2e.machine.processes import Processes

_CONTAINER_LINKS = Path("/var/log/containers")


FAILURE_LOGS = CACHE.folder / "logs"
"""Where the logs of the last cluster are that did not start, or whose tests failed."""


class Cluster:
    """A cluster on this machine; every object of the same plan is the same cluster."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.processes = Processes(plan.directory)
        self.namespaces = Namespaces(plan, self.processes)
        self.control = ControlPlane(
            plan,
            self.processes,
            self.namespaces,
            Authority(plan.directory / "keys"),
        )
        self.nodes = [Node(node, self.control) for node in plan.nodes]

    @classmethod
    def up(cls, archives: Sequence[Path] = (), *, owned: bool = False) -> Cluster:
        """Start a new cluster with these images on each node, and wait until it is ready.

        Args:
            archives: of images
            owned: when this process has ended, the next `sweep` ends the cluster
        """
        pause = images.pause_archive()
        binaries.kubernetes()
        cluster = cls(claim())
        if owned:
            cluster.processes.own()
        try:
            cluster._start([pause, *archives])
        except BaseException:
            cluster.down(logs=FAILURE_LOGS)
            raise
        return cluster

    @property
    def kubectl(self) -> Path:
        """Return the real kubectl, of the cluster's version."""
        return binaries.kubernetes().with_name("kubectl")

    def _start(self, archives: Sequence[Path]) -> None:
        self.namespaces.create()
        self.control.prepare()
        for node in self.nodes:
            node.prepare()
        self.control.start_etcd()
        with ThreadPoolExecutor() as pool:
            loading = [pool.submit(self._load, node, archives) for node in self.nodes]
            self.control.start_api()
            self.control.start_controllers()
            for load in loading:
                load.result()
        for node in self.nodes:
            node.start_kubelet()
            node.start_proxy()
        # Without it pods are refused.
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self.processes.wait(
            lambda: self.control.has(account), account, needs=["kube-controller-manager"]
        )
        for node in self.nodes:
            self.processes.wait(
                node.ready, f"{node.name} to be ready", needs=[f"{node.name}-kubelet"]
            )

    @staticmethod
    def _load(node: Node, archives: Sequence[Path]) -> None:
        node.start_containerd()
        for archive in archives:
            node.import_image(archive)

    def import_image(self, archive: Path) -> None:
        """Load an archive's images on every node."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: node.import_image(archive), self.nodes))

    def down(self, *, logs: Path | None = None) -> None:
        """End every process of the cluster and remove what it left on the machine.

        Args:
            logs: where the logs of all processes are kept
        """
        group = self.plan.cgroup
        self.processes.end_all(lambda: control_groups.processes(group))
        control_groups.remove(group)
        # The link goes with its other end, when the kernel comes to it.
        subprocess.run(["ip", "link", "delete", self.plan.link], capture_output=True)
        _remove_container_links(self.plan)
        if logs is not None:
            shutil.rmtree(logs, ignore_errors=True)
            shutil.move(self.plan.directory / "logs", logs)
        shutil.rmtree(self.plan.directory)


def sweep() -> None:
    """End the clusters whose owner ended without doing so."""
    for plan in existing():
        cluster = Cluster(plan)
        if cluster.processes.orphaned:
            cluster.down()


def _remove_container_links(plan: Plan) -> None:
    if not _CONTAINER_LINKS.is_dir():
        return
    for link in _CONTAINER_LINKS.iterdir():
        if link.is_symlink() and link.readlink().is_relative_to(plan.directory):
            link.unlink(missing_ok=True)
    if not any(_CONTAINER_LINKS.iterdir()) and list(existing()) == [plan]:
        _CONTAINER_LINKS.rmdir()
