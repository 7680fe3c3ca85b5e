"""The network and mount namespaces of a cluster, each held by a process that only sleeps.

Three of them: `control`, with a bridge, and the two nodes, each with a cable to it. Links, routes
and mounts go when the last process in a namespace ends: there is nothing else to tidy.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from e2e.machine.plan import NodePlan, Plan
from e2e.machine.processes import Processes, Record

CONTROL = "control"
_READY = "ready"

# A kubelet sets these for the whole machine. It finds them as it wants them instead.
_KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


class Namespaces:
    """The namespaces of one cluster."""

    def __init__(self, plan: Plan, processes: Processes) -> None:
        self.plan = plan
        self.processes = processes

    def create(self) -> None:
        """Make all namespaces and connect them."""
        control = self._hold(CONTROL, [])
        nodes = [self._hold(node.name, _mounts(node)) for node in self.plan.nodes]
        plan = self.plan
        _run(
            control,
            "ip link set lo up",
            "ip link add br0 type bridge",
            f"ip address add {plan.control_address}/24 dev br0",
            "ip link set br0 up",
            # The machine's firewall has no say in what passes this bridge.
            "echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables || true",
            *(f"ip route add {node.pods} via {node.address}" for node in plan.nodes),
            f"ip route add {plan.services} via {plan.nodes[0].address}",
        )
        _cable(plan.link, None, CONTROL, control, f"{plan.machine_address}/24")
        for node, holder in zip(plan.nodes, nodes, strict=True):
            _run(holder, "ip link set lo up")
            _cable("eth0", holder, node.name, control, f"{node.address}/24")
            _run(
                holder,
                "echo 1 >/proc/sys/net/ipv4/ip_forward",
                "echo 0 >/proc/sys/net/ipv4/conf/all/send_redirects",
                "echo 0 >/proc/sys/net/ipv4/conf/eth0/send_redirects",
                *(
                    f"ip route add {other.pods} via {other.address}"
                    for other in plan.nodes
                    if other != node
                ),
            )
        # The machine reaches pods and Services too.
        _run(
            None,
            *(f"ip route add {node.pods} via {node.address}" for node in plan.nodes),
            f"ip route add {plan.services} via {plan.nodes[0].address}",
        )

    def of(self, name: str) -> Record:
        """Return the process whose namespaces are those of a node or of `control`."""
        return self.processes.records[f"{name}-namespace"]

    def _hold(self, name: str, commands: Iterable[str]) -> Record:
        script = [f"hostname {name}", *commands, f"echo {_READY}", "exec sleep infinity"]
        # Mounts that the machine gets later are seen; what is mounted here stays here.
        return self.processes.start(
            f"{name}-namespace",
            [
                "unshare",
                "--net",
                "--mount",
                "--uts",
                "--propagation=slave",
                "sh",
                "-euc",
                "\n".join(script),
            ],
            announce=_READY,
        )


def _mounts(node: NodePlan) -> Iterable[str]:
    """Give a node its own state: its programs have paths built in, such as /run/containerd."""
    for path in ("/run", "/var/lib"):
        own = node.directory / path.strip("/").replace("/", "-")
        yield f"mkdir -p {own}"
        yield f"mount --bind {own} {path}"
    settings = node.directory / "kernel-settings"
    yield f"mkdir -p {settings}"
    for path, value in _KERNEL_SETTINGS.items():
        own = settings / path.replace("/", "-")
        yield f"echo {value} >{own}"
        yield f"[ ! -e /proc/sys/{path} ] || mount --bind {own} /proc/sys/{path}"


def _cable(name: str, inside: Record | None, port: str, control: Record, address: str) -> None:
    """Lead a virtual link from a namespace to a port of the bridge in `control`."""
    place = "" if inside is None else f"netns {inside.pid}"
    _run(
        None,
        f"ip link add {name} {place} type veth peer name {port} netns {control.pid}",
    )
    _run(control, f"ip link set {port} master br0", f"ip link set {port} up")
    _run(inside, f"ip address add {address} dev {name}", f"ip link set {name} up")


def _run(inside: Record | None, *commands: str) -> None:
    prefix = []
    if inside is not None:
        # --mount is left out: /proc/sys/net is that of the network namespace anyway.
        prefix = ["nsenter", f"--target={inside.pid}", "--net", "--"]
    done = subprocess.run(
        [*prefix, "sh", "-euc", "\n".join(commands)], capture_output=True, text=True, cwd=Path("/")
    )
    if done.returncode:
        raise RuntimeError(f"{commands}: {done.stderr.strip()}")
