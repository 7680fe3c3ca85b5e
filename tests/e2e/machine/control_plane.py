"""etcd, the API server, the controllers and the scheduler of a cluster."""

from __future__ import annotations

import functools
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from e2e.machine import binaries
from e2e.machine.certificates import Authority, Pair
from e2e.machine.namespaces import CONTROL, Namespaces
from e2e.machine.plan import Plan
from e2e.machine.processes import Processes

USERS = {"admin": "system:masters", "dev": "", "ops": "", "viewer": "", "robot": ""}
"""Who has a token, and the group that gives them rights: only the administrator has any."""

_ETCD = "http://127.0.0.1:2379"
_ANSWER_SECONDS = 60.0


class ControlPlane:
    """The control plane of one cluster, in the namespace `control`."""

    def __init__(
        self,
        plan: Plan,
        processes: Processes,
        namespaces: Namespaces,
        authority: Authority,
    ) -> None:
        self.plan = plan
        self.processes = processes
        self.namespaces = namespaces
        self.authority = authority
        self.directory = plan.directory / "control"
        self.admin = Pair(authority.directory / "admin.crt", authority.directory / "admin.key")

    @functools.cached_property
    def kubernetes(self) -> Path:
        """Return the program with all of Kubernetes: not wanted to end a cluster."""
        return binaries.kubernetes()

    def prepare(self) -> None:
        """Issue certificates and tokens; write the kubeconfigs."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        plan, authority = self.plan, self.authority
        authority.create()
        authority.issue("admin", "admin", "system:masters")
        authority.issue("api-to-kubelet", "api-server", "system:masters")
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
        authority.issue(
            "api-server",
            "api-server",
            addresses=[plan.control_address, plan.api_service, "127.0.0.1"],
            names=names,
        )
        authority.kubeconfig(plan.kubeconfig, plan.server, "admin", self.admin)
        lines = []
        for user, group in USERS.items():
            lines.append(f'{token_of(user)},{user},{user},"{group}"\n')
            authority.kubeconfig(plan.kubeconfig_of(user), plan.server, user, token_of(user))
        (self.directory / "tokens.csv").write_text("".join(lines))
        for part in ("kube-controller-manager", "kube-scheduler"):
            self.client(part, f"system:{part}")

    def client(self, name: str, user: str, group: str = "") -> Path:
        """Write the kubeconfig of a part of the cluster."""
        pair = self.authority.issue(name, user, group)
        path = self.authority.directory / f"{name}.kubeconfig"
        return self.authority.kubeconfig(path, self.plan.server, user, pair)

    def start_etcd(self) -> None:
        """Start the API server's store."""
        self._start(
            "etcd",
            "etcd",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={_ETCD}",
            f"--advertise-client-urls={_ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--snapshot-count=100000",
        )

    def start_api(self) -> None:
        """Start the API server and wait until it answers."""
        plan, keys = self.plan, self.authority.directory
        self._start(
            "kube-apiserver",
            self.kubernetes,
            "kube-apiserver",
            f"--etcd-servers={_ETCD}",
            f"--bind-address={plan.control_address}",
            f"--advertise-address={plan.control_address}",
            f"--service-cluster-ip-range={plan.services}",
            f"--tls-cert-file={keys / 'api-server.crt'}",
            f"--tls-private-key-file={keys / 'api-server.key'}",
            f"--client-ca-file={keys / 'ca.crt'}",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--kubelet-certificate-authority={keys / 'ca.crt'}",
            f"--kubelet-client-certificate={keys / 'api-to-kubelet.crt'}",
            f"--kubelet-client-key={keys / 'api-to-kubelet.key'}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-issuer={plan.server}",
            f"--service-account-key-file={self.authority.tokens_public_key}",
            f"--service-account-signing-key-file={self.authority.tokens_key}",
            f"--cert-dir={self.directory}",
            "--profiling=false",
        )
        self.processes.wait(self.answers, "the API server", needs=["etcd", "kube-apiserver"])

    def stop_api(self, *, patience: float = 5.0) -> None:
        """Stop the API server; its store goes on.

        Args:
            patience: how long it may take leave of its clients, in seconds; 0 is a crash
        """
        self.processes.end("kube-apiserver", patience=patience)

    def start_controllers(self) -> None:
        """Start the controllers and the scheduler."""
        keys = self.authority.directory
        self._start(
            "kube-controller-manager",
            self.kubernetes,
            "kube-controller-manager",
            f"--kubeconfig={keys / 'kube-controller-manager.kubeconfig'}",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self.authority.tokens_key}",
            f"--root-ca-file={keys / 'ca.crt'}",
            f"--cluster-signing-cert-file={keys / 'ca.crt'}",
            f"--cluster-signing-key-file={keys / 'ca.key'}",
            # A node that went away is noticed in half a minute.
            "--node-monitor-period=2s",
            "--node-monitor-grace-period=24s",
            "--bind-address=127.0.0.1",
            f"--cert-dir={self.directory}",
            "--profiling=false",
        )
        self._start(
            "kube-scheduler",
            self.kubernetes,
            "kube-scheduler",
            f"--kubeconfig={keys / 'kube-scheduler.kubeconfig'}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--cert-dir={self.directory}",
            "--profiling=false",
        )

    def restart_controllers(self) -> None:
        """Start the controllers and the scheduler anew, as they do that have lost their lease."""
        for name in ("kube-controller-manager", "kube-scheduler"):
            self.processes.end(name)
        self.start_controllers()

    def answers(self) -> bool:
        """Tell whether the API server is ready."""
        try:
            return bool(self.get("/readyz") == "ok")
        except (OSError, urllib.error.URLError):
            return False

    def has(self, path: str) -> bool:
        """Tell whether the object at a path exists."""
        try:
            self.get(path)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return False
        return True

    def get(self, path: str) -> Any:
        """Return what the API server says about a path, as the administrator."""
        trust = ssl.create_default_context(cafile=str(self.authority.pair.certificate))
        trust.load_cert_chain(self.admin.certificate, self.admin.key)
        handler = urllib.request.HTTPSHandler(context=trust)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), handler)
        with opener.open(self.plan.server + path, timeout=_ANSWER_SECONDS) as answer:
            text = answer.read().decode()
            is_json = "json" in answer.headers.get("Content-Type", "")
        return json.loads(text) if is_json else text

    def _start(self, name: str, *command: str | Path) -> None:
        self.processes.start(name, command, inside=self.namespaces.of(CONTROL))


def token_of(user: str) -> str:
    """Return the token that a user of the test cluster has."""
    return f"token-of-{user}"
