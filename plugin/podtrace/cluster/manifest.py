"""The tracer pod and its Job as plain data.

The pod sees the node's processes (hostPID) and kernel types, and nothing of the cluster: no token,
no host network, no service links. A Job around it removes it when it ended, whoever is still there
to do so; the pod itself is what admission and --patch are about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from podtrace.cluster.settings import METRICS_PORT, LaunchSettings
from podtrace.cluster.tracer_arguments import tracer_arguments
from podtrace.errors import UsageError

if TYPE_CHECKING:
    from podtrace.cluster.target import TargetPod

CONTAINER = "tracer"
TTL_SECONDS = 10
"""A finished Job is removed after so long: time for a reader that was cut off to read the rest."""
GRACE_SECONDS = 30

NAME_LABEL = "app.kubernetes.io/name"
COMPONENT_LABEL = "app.kubernetes.io/component"
MANAGER_LABEL = "app.kubernetes.io/managed-by"
RUN_LABEL = "podtrace.io/run"
TRACER_LABEL = "podtrace.io/tracer"
OWN_LABELS = {
    NAME_LABEL: "podtrace",
    COMPONENT_LABEL: "tracer",
    MANAGER_LABEL: "kubectl-podtrace",
}
OWN_SELECTOR = ",".join(f"{key}={value}" for key, value in OWN_LABELS.items())
TARGETS_ANNOTATION = "podtrace.io/targets"
SCRAPE_ANNOTATIONS = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": str(METRICS_PORT),
    "prometheus.io/path": "/metrics",
}
"""What Prometheus' usual configurations for pods look for."""

BTF_PATH = "/sys/kernel/btf"
CAPABILITIES = ("BPF", "NET_ADMIN", "PERFMON", "SYS_PTRACE")
MEMLOCK_CAPABILITY = "SYS_RESOURCE"
"""Kernels before 5.11 count the tables against a limit of locked memory, which this lifts."""

_LONGEST_ANNOTATION = 4096


@dataclass(frozen=True)
class TracerPlan:
    """One tracer: what it traces on which node.

    Args:
        run: what all tracers of one run share in their names.
        number: from 1, within the run.
        node: the node of all its targets.
        targets: the pods that it traces.
    """

    run: str
    number: int
    node: str
    targets: tuple[TargetPod, ...]

    @property
    def name(self) -> str:
        """The name of the Job, or of the bare pod."""
        return f"podtrace-{self.run}-{self.number}"

    @property
    def selector(self) -> str:
        """The labels that only this tracer's objects have."""
        return f"{RUN_LABEL}={self.run},{TRACER_LABEL}={self.number}"


def plan_tracers(run: str, targets: Sequence[TargetPod]) -> list[TracerPlan]:
    """Return one plan for each node that has targets, in the order of the targets."""
    nodes: dict[str, list[TargetPod]] = {}
    for target in targets:
        nodes.setdefault(target.node, []).append(target)
    return [
        TracerPlan(run, number, node, tuple(pods))
        for number, (node, pods) in enumerate(nodes.items(), 1)
    ]


def tracer_pod(
    plan: TracerPlan, settings: LaunchSettings, *, bare: bool = True, memlock: bool = True
) -> dict[str, Any]:
    """Return the tracer pod, with the user's patch.

    Args:
        plan: what it traces and where.
        settings: what the user decided about it.
        bare: no Job is around it.
        memlock: the node's kernel may have a limit of locked memory that has to be lifted.

    Raises:
        UsageError: the patch does not fit, or takes away what the tracer needs.
    """
    labels = {**OWN_LABELS, RUN_LABEL: plan.run, TRACER_LABEL: str(plan.number)}
    metadata: dict[str, Any] = {
        "name": plan.name,
        "namespace": settings.namespace,
        "labels": labels,
        "annotations": {TARGETS_ANNOTATION: _targets_text(plan)},
    }
    if settings.profile == "capabilities":
        # Servers before 1.30 know the annotation only; where both stand they have to agree.
        key = f"container.apparmor.security.beta.kubernetes.io/{CONTAINER}"
        metadata["annotations"][key] = "unconfined"
    if settings.metrics_processes is not None:
        metadata["annotations"] |= SCRAPE_ANNOTATIONS
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": _pod_spec(plan, settings, bare, memlock),
    }
    return pod if settings.patch is None else _patched(pod, settings)


def tracer_job(
    plan: TracerPlan, settings: LaunchSettings, *, memlock: bool = True
) -> dict[str, Any]:
    """Return the Job around the tracer pod.

    Args:
        plan: what it traces and where.
        settings: what the user decided about it.
        memlock: as for `tracer_pod`.

    Raises:
        UsageError: as for `tracer_pod`.
    """
    pod = tracer_pod(plan, settings, bare=False, memlock=memlock)
    metadata = pod["metadata"]
    spec: dict[str, Any] = {
        "backoffLimit": 0,
        "completions": 1,
        "parallelism": 1,
        "activeDeadlineSeconds": settings.deadline_seconds,
        "template": {
            "metadata": {key: metadata[key] for key in ("labels", "annotations")},
            "spec": pod["spec"],
        },
    }
    if not settings.keep:
        spec["ttlSecondsAfterFinished"] = TTL_SECONDS
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _pod_spec(
    plan: TracerPlan, settings: LaunchSettings, bare: bool, memlock: bool
) -> dict[str, Any]:
    environment = [
        _field("PODTRACE_POD_NAME", "metadata.name"),
        _field("PODTRACE_POD_NAMESPACE", "metadata.namespace"),
        _field("PODTRACE_POD_UID", "metadata.uid"),
        _field("PODTRACE_NODE", "spec.nodeName"),
    ]
    # With --keep nobody marks the pod for deletion: the first SIGTERM then means what it says.
    if bare and not settings.keep:
        environment.append({"name": "PODTRACE_BARE", "value": "1"})
    container = {
        "name": CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "args": tracer_arguments(plan.targets, settings),
        "env": environment,
        "resources": {
            "requests": {"cpu": "10m", "memory": "64Mi"},
            "limits": {"memory": "256Mi"},
        },
        "securityContext": _security(settings, memlock),
        "volumeMounts": [
            {"name": "btf", "mountPath": BTF_PATH, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    if settings.metrics_processes is not None:
        container["ports"] = [{"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}]
    spec: dict[str, Any] = {
        "nodeName": plan.node,
        "hostPID": True,
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "activeDeadlineSeconds": settings.deadline_seconds,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
        "volumes": [
            # No type: a kernel without BTF then shows in the pod's status, not only in an event.
            {"name": "btf", "hostPath": {"path": BTF_PATH}},
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "32Mi"}},
        ],
    }
    if settings.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.pull_secrets]
    return spec


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _security(settings: LaunchSettings, memlock: bool) -> dict[str, Any]:
    if settings.profile == "privileged":
        return {"privileged": True, "readOnlyRootFilesystem": True, "runAsUser": 0}
    return {
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsUser": 0,
        "allowPrivilegeEscalation": False,
        "capabilities": {
            "drop": ["ALL"],
            "add": [*CAPABILITIES, *((MEMLOCK_CAPABILITY,) if memlock else ())],
        },
        "seccompProfile": {"type": "Unconfined"},
        "appArmorProfile": {"type": "Unconfined"},
        "seLinuxOptions": {"type": "spc_t"},
    }


def _targets_text(plan: TracerPlan) -> str:
    text = ",".join(f"{target.namespace}/{target.name}" for target in plan.targets)
    return text if len(text) <= _LONGEST_ANNOTATION else text[:_LONGEST_ANNOTATION] + "..."


def _patched(pod: dict[str, Any], settings: LaunchSettings) -> dict[str, Any]:
    assert settings.patch is not None
    patched = settings.patch.apply(pod)
    if patched.get("kind") != "Pod" or patched.get("apiVersion") != "v1":
        raise UsageError("--patch turns the tracer pod into another kind of object", _KEPT)
    metadata, spec = patched.get("metadata"), patched.get("spec")
    if not isinstance(metadata, dict) or not isinstance(spec, dict):
        raise UsageError("--patch takes metadata or spec away from the tracer pod", _KEPT)
    containers = spec.get("containers")
    names = [
        container.get("name") if isinstance(container, dict) else None
        for container in (containers if isinstance(containers, list) else ())
    ]
    if names.count(CONTAINER) != 1:
        raise UsageError(f"--patch takes the container {CONTAINER} from the tracer pod", _KEPT)
    if spec.get("restartPolicy") != "Never":
        raise UsageError("--patch lets the tracer pod start again", _KEPT)
    # What finds the pod again, to follow its log and to remove it, is not the user's to change.
    return {
        **patched,
        "metadata": {
            **metadata,
            "name": pod["metadata"]["name"],
            "namespace": settings.namespace,
            "labels": {**_texts(metadata, "labels"), **pod["metadata"]["labels"]},
            "annotations": _texts(metadata, "annotations"),
        },
    }


_KEPT = f"leave the kind, the container {CONTAINER} and restartPolicy Never as they are"


def _texts(metadata: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = metadata.get(key)
    if value is not None and not isinstance(value, dict):
        raise UsageError(f"--patch: metadata.{key} is no object", "write a mapping of texts")
    return value or {}
