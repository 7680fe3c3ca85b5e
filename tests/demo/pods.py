"""The demo in a cluster: make the small shop's pods in namespace `shop`, or remove them.

usage: pods.py up IMAGE | down      IMAGE is that of tests/workload; kubectl says which cluster

`web-0` and `web-1` look names up and call the Services `postgres` and `cache`; behind the third
that they call, `legacy`, is a pod that does not listen.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

NAMESPACE = "shop"
SHOP = Path(__file__).with_name("shop.py")
BACKENDS = {"postgres": (5432, 10), "cache": (6379, 5), "legacy": (8080, 4)}
"""Port and weight of each Service that is called."""

Object = dict[str, Any]


def kubectl(*words: str, objects: list[Object] | None = None) -> str:
    """Run kubectl in the namespace and return what it prints."""
    text = (
        None
        if objects is None
        else json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    )
    line = ["kubectl", *words, f"--namespace={NAMESPACE}"]
    if objects is not None:
        line += ["--filename=-"]
    return subprocess.run(
        line, input=text, stdout=subprocess.PIPE, text=True, check=True, timeout=300
    ).stdout


def pod_spec(image: str, *arguments: str, shop: bool = False) -> Object:
    """Return a pod's specification with one container, that of the shop with its script."""
    container: Object = {
        "name": "main" if not shop else "web",
        "image": image,
        "args": list(arguments),
        "stdin": True,  # its end would end the program
        "resources": {"requests": {"cpu": "250m"}},
    }
    spec: Object = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    if shop:
        container["env"] = [{"name": "PYTHONPATH", "value": "/workload"}]
        container["volumeMounts"] = [{"name": "script", "mountPath": "/demo"}]
        spec["volumes"] = [{"name": "script", "configMap": {"name": "web"}}]
    return spec


def pod(name: str, image: str, *arguments: str) -> Object:
    """Return a server's pod."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": pod_spec(image, *arguments),
    }


def service(name: str, port: int, protocol: str = "TCP") -> Object:
    """Return a Service for the pod of that name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": port, "protocol": protocol}]},
    }


def servers(image: str) -> list[Object]:
    """Return what the shop calls."""
    found = [
        pod("dns", image, "dns_server.py", "--address=0.0.0.0", "--delay-ms=3"),
        service("dns", 53, "UDP"),
    ]
    for name, (port, _) in BACKENDS.items():
        found.append(service(name, port))
        if name == "legacy":
            words = ("--refuse=0.0.0.0", f"--refuse-port={port}")
        else:
            words = ("--listen=0.0.0.0", f"--port={port}")
        found.append(pod(name, image, "tcp_server.py", *words))
    return found


def addresses(services: list[Object]) -> dict[str, str]:
    """Return the addresses of Services by name."""
    return {item["metadata"]["name"]: item["spec"]["clusterIP"] for item in services}


def shop(image: str, addresses: dict[str, str]) -> list[Object]:
    """Return the shop, which knows the addresses of what it calls."""
    facts = {
        "dns": addresses["dns"],
        "backends": [
            {"address": addresses[name], "port": port, "weight": weight}
            for name, (port, weight) in BACKENDS.items()
        ],
        "index": "/tmp/catalog.idx",
        "log": "/tmp/access.log",
    }
    labels = {"app": "web"}
    spec = pod_spec(image, "/demo/shop.py", json.dumps(facts), shop=True)
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "web"},
            "data": {SHOP.name: SHOP.read_text()},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "web"},
            "spec": {
                "replicas": 2,
                "podManagementPolicy": "Parallel",
                "serviceName": "web",
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        },
    ]


def main(words: list[str]) -> int:
    """Make the pods and wait for them, or remove them."""
    if words == ["down"]:
        kubectl("delete", "namespace", NAMESPACE)
        return 0
    if len(words) != 2 or words[0] != "up":
        sys.stderr.write(__doc__ or "")
        return 2
    kubectl("create", "namespace", NAMESPACE)
    kubectl("apply", objects=servers(words[1]))
    services = json.loads(kubectl("get", "services", "--output=json"))["items"]
    kubectl("apply", objects=shop(words[1], addresses(services)))
    kubectl("rollout", "status", "statefulset/web", "--timeout=240s")
    kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=240s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
