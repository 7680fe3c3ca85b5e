"""One node: containerd, kubelet and kube-proxy in the node's namespaces."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from e2e.machine import control_groups
from e2e.machine.control_plane import ControlPlane
from e2e.machine.images import PAUSE_IMAGE
from e2e.machine.plan import NodePlan

CNI_PLUGINS = Path("/usr/lib/cni")
_SANDBOXES = ("runsc", "kata")
"""Runtime handlers that are runc in truth: what asks for a sandbox runs, and says it is in one."""


class Node:
    """A node of a cluster."""

    def __init__(self, plan: NodePlan, control: ControlPlane) -> None:
        self.plan = plan
        self.control = control
        self.processes = control.processes
        self.name = plan.name

    @property
    def socket(self) -> Path:
        """Return containerd's socket, which is reached from the machine too."""
        return self.plan.directory / "containerd.sock"

    @property
    def static_pods(self) -> Path:
        """Return the directory whose manifests the kubelet runs by itself."""
        return self.plan.directory / "static-pods"

    def prepare(self) -> None:
        """Write the configuration of everything on the node."""
        self.static_pods.mkdir(parents=True, exist_ok=True)
        control_groups.create(self.plan.cgroup)
        (self.plan.directory / "containerd.toml").write_text(self._containerd())
        network = self.plan.directory / "network"
        network.mkdir(exist_ok=True)
        self._write("network/podtrace.conflist", self._network())
        self._write("kubelet.json", self._kubelet())
        self._write("kube-proxy.json", self._proxy())
        (self.plan.directory / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        self.control.client(self.name, f"system:node:{self.name}", "system:nodes")
        self.control.client("kube-proxy", "system:kube-proxy")
        self.control.authority.issue(
            f"{self.name}-server", self.name, addresses=[self.plan.address], names=[self.name]
        )

    def start_containerd(self) -> None:
        """Start containerd and wait until it answers."""
        name = self._start(
            "containerd", "containerd", "--config", self.plan.directory / "containerd.toml"
        )
        self.processes.wait(self._containerd_answers, name, needs=[name])

    def start_kubelet(self) -> None:
        """Start the kubelet."""
        self._start(
            "kubelet",
            self.control.kubernetes,
            "kubelet",
            f"--config={self.plan.directory / 'kubelet.json'}",
            f"--kubeconfig={self.control.authority.directory / f'{self.name}.kubeconfig'}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.plan.address}",
            f"--node-labels=topology.kubernetes.io/zone=zone-{self.plan.number}",
        )

    def stop_kubelet(self) -> None:
        """Stop the kubelet; its pods go on."""
        self.processes.end(f"{self.name}-kubelet")

    def start_proxy(self) -> None:
        """Start what leads the addresses of Services to pods."""
        self._start(
            "proxy",
            self.control.kubernetes,
            "kube-proxy",
            f"--config={self.plan.directory / 'kube-proxy.json'}",
        )

    def restart(self) -> None:
        """Start the kubelet and kube-proxy anew; pods go on."""
        for part in ("kubelet", "proxy"):
            self.processes.end(f"{self.name}-{part}")
        self.start_kubelet()
        self.start_proxy()

    def import_image(self, archive: Path) -> None:
        """Load the images of an OCI or docker archive."""
        self.ctr("images", "import", str(archive))

    def ctr(self, *arguments: str) -> str:
        """Ask containerd something, among the images and containers of Kubernetes."""
        done = subprocess.run(
            ["ctr", f"--address={self.socket}", "--namespace=k8s.io", *arguments],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"ctr {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def ready(self) -> bool:
        """Tell whether the API server holds the node for ready."""
        for node in self.control.get("/api/v1/nodes")["items"]:
            if node["metadata"]["name"] == self.name:
                conditions = node["status"].get("conditions", [])
                return any(
                    condition["type"] == "Ready" and condition["status"] == "True"
                    for condition in conditions
                )
        return False

    def _start(self, part: str, *command: str | Path) -> str:
        name = f"{self.name}-{part}"
        self.processes.start(name, command, inside=self.control.namespaces.of(self.name))
        return name

    def _containerd_answers(self) -> bool:
        try:
            self.ctr("version")
        except RuntimeError:
            return False
        return True

    def _write(self, name: str, content: dict[str, Any]) -> None:
        (self.plan.directory / name).write_text(json.dumps(content, indent=1))

    def _containerd(self) -> str:
        plugin = '[plugins."io.containerd.grpc.v1.cri"'
        runtimes = "".join(
            f'{plugin}.containerd.runtimes.{name}]\n  runtime_type = "io.containerd.runc.v2"\n'
            for name in ("runc", *_SANDBOXES)
        )
        return f"""\
version = 2
root = "{self.plan.directory / "containerd"}"
state = "/run/containerd/state"
[grpc]
  address = "{self.socket}"
{plugin}]
  sandbox_image = "{PAUSE_IMAGE}"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
{plugin}.cni]
  bin_dir = "{CNI_PLUGINS}"
  conf_dir = "{self.plan.directory / "network"}"
{runtimes}"""

    def _network(self) -> dict[str, Any]:
        addresses = {
            "type": "host-local",
            "dataDir": str(self.plan.directory / "addresses"),
            "ranges": [[{"subnet": self.plan.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        return {
            "cniVersion": "0.4.0",
            "name": "podtrace-e2e",
            "plugins": [{"type": "ptp", "ipam": addresses}],
        }

    def _kubelet(self) -> dict[str, Any]:
        keys = self.control.authority.directory
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.plan.address,
            "tlsCertFile": str(keys / f"{self.name}-server.crt"),
            "tlsPrivateKeyFile": str(keys / f"{self.name}-server.key"),
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.control.authority.pair.certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": self.plan.cgroup,
            "failCgroupV1": False,
            "failSwapOn": False,
            "localStorageCapacityIsolation": False,
            "enforceNodeAllocatable": [],
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,
            "nodeLeaseDurationSeconds": 20,
            "podLogsDir": str(self.plan.directory / "pods"),
            "staticPodPath": str(self.static_pods),
            "fileCheckFrequency": "2s",
            "resolvConf": str(self.plan.directory / "resolv.conf"),
            # A busy container's log is rotated as often here as in production.
            "containerLogMaxSize": "256Ki",
            "containerLogMaxFiles": 3,
            "containerLogMonitorInterval": "3s",
            "serializeImagePulls": False,
            "enableServer": True,
        }

    def _proxy(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "bindAddress": self.plan.address,
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "hostnameOverride": self.name,
            "clientConnection": {
                "kubeconfig": str(self.control.authority.directory / "kube-proxy.kubeconfig")
            },
            "mode": "nftables",
            "clusterCIDR": self.control.plan.pods,
            # Another network namespace than the first has no say in these.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        }
