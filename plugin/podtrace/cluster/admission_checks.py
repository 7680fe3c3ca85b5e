"""Questions about the tracer pod, asked before a trace: its image, and whether it is admitted.

The server is asked by a dry run of the very objects that a trace would create, because nothing else
knows every rule that a cluster has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from podtrace.checkup import FAILED, OK, SKIPPED, WARNING, Check, check_of
from podtrace.cluster import explain
from podtrace.cluster.interface import ApiLike, Object
from podtrace.cluster.manifest import TracerPlan, tracer_job, tracer_pod
from podtrace.cluster.paths import object_path
from podtrace.cluster.settings import LaunchSettings
from podtrace.errors import ApiError, ClusterError, PodtraceError

IMAGE = "Tracer image"
POD = "Admission of the pod"
JOB = "Admission of the Job"
POD_SECURITY = "Pod Security"

_LABEL = "pod-security.kubernetes.io/"
_LEVELS = ("enforce", "warn", "audit")
_PRIVILEGED = "privileged"
_NODE_IMAGES = 50
"""A kubelet reports the largest images, at most so many unless it is told otherwise."""


def check_image(
    settings: LaunchSettings, trouble: PodtraceError | None, nodes: Iterable[Object]
) -> Check:
    """Tell which image is set, and which nodes say that they have it.

    Args:
        settings: the image, and when it is pulled.
        trouble: why there is none, where that is so.
        nodes: those that are to run it, as far as they are known.
    """
    if trouble is not None:
        return check_of(IMAGE, trouble)
    found = f"{settings.image}, pulled: {settings.pull_policy}"
    have, unknown = [], []
    for node in nodes:
        listed = _images(node)
        name = str(node["metadata"]["name"])
        if any(_same_image(settings.image, each) for each in listed):
            have.append(name)
        elif len(listed) < _NODE_IMAGES:
            unknown.append(name)
    if have:
        found += f"; on {', '.join(have)}"
    if settings.pull_policy == "Never" and unknown:
        return Check(
            IMAGE,
            WARNING,
            f"{found}; not reported by {', '.join(unknown)}",
            "a node reports new images within minutes; if it has none, load the image on it, or "
            "let it be pulled: --image-pull-policy IfNotPresent",
        )
    if unknown and not have:
        found += (
            "; not among the images that the nodes list, which they do every few minutes: a first "
            "trace may have to wait for the pull"
        )
    return Check(IMAGE, OK, found)


def check_pod_admission(
    api: ApiLike, plan: TracerPlan, settings: LaunchSettings
) -> tuple[Check, Object | None]:
    """Ask whether the tracer pod is admitted; return it as the server would make it, too."""
    return _admission(api, POD, "pods", lambda: tracer_pod(plan, settings), settings)


def check_job_admission(
    api: ApiLike, plan: TracerPlan, settings: LaunchSettings, pod: Check
) -> Check:
    """Ask whether the Job around the tracer pod is admitted; `pod` is the answer about that."""
    check, _ = _admission(api, JOB, "jobs", lambda: tracer_job(plan, settings), settings)
    if pod.state == FAILED and check.state == OK:
        return Check(JOB, OK, "the server would admit the Job, which then gets no pod")
    if (check.state, check.found) == (pod.state, pod.found) and check.fix is not None:
        return Check(JOB, check.state, check.found, f"see {POD}")
    return check


def check_pod_security(namespace: Object | None, admitted: Check) -> Check:
    """Tell the Pod Security labels of a namespace.

    Args:
        namespace: the tracer pod's, or None where it is not known.
        admitted: the answer about the pod, which knows exemptions and the cluster's default.
    """
    if namespace is None:
        return Check(POD_SECURITY, SKIPPED, "the labels of the namespace are not known")
    name = str(namespace["metadata"]["name"])
    labels: Mapping[str, Any] = namespace["metadata"].get("labels") or {}
    levels = {mode: str(labels[_LABEL + mode]) for mode in _LEVELS if labels.get(_LABEL + mode)}
    if not levels:
        return Check(POD_SECURITY, OK, f"namespace {name} has no labels: the cluster's default")
    found = f"namespace {name}: " + ", ".join(f"{mode}={level}" for mode, level in levels.items())
    enforced = levels.get("enforce", _PRIVILEGED)
    if enforced == _PRIVILEGED:
        return Check(POD_SECURITY, OK, found)
    if admitted.state == OK:
        return Check(POD_SECURITY, OK, f"{found}; you are exempt: the tracer pod is admitted")
    found = f"{found}; the tracer pod needs {_PRIVILEGED}"
    if admitted.state == FAILED:
        return Check(POD_SECURITY, FAILED, found, f"see {POD}")
    fix = (
        "let the tracer run in another namespace: --tracer-namespace NAMESPACE\n"
        "or allow it in this one, with all that this allows to others:\n"
        f"  kubectl label --overwrite ns {name} {_LABEL}enforce={_PRIVILEGED}"
    )
    return Check(POD_SECURITY, FAILED, found, fix)


def _admission(
    api: ApiLike,
    name: str,
    resource: str,
    make: Callable[[], Object],
    settings: LaunchSettings,
) -> tuple[Check, Object | None]:
    path = object_path(resource, namespace=settings.namespace)
    try:
        admitted = api.post(path, make(), dryRun="All")
    except ApiError as error:
        if explain.is_missing_right(error):
            return Check(name, SKIPPED, f"you may not create {resource} there"), None
        if explain.is_unaskable(error):
            fix = "nothing to do, unless the trace is refused later: then ask who keeps the webhook"
            return Check(name, WARNING, f"cannot be asked beforehand: {error.message}", fix), None
        refused = explain.is_refusal(error)
        return check_of(name, explain.refusal(error, settings) if refused else error), None
    except ClusterError as error:
        return check_of(name, error), None
    return Check(name, OK, f"namespace {settings.namespace}: the server would admit it"), admitted


def _images(node: Object) -> Sequence[str]:
    listed = (node.get("status") or {}).get("images") or ()
    return [str(name) for image in listed for name in (image.get("names") or ())]


def _same_image(wanted: str, listed: str) -> bool:
    return _whole_name(wanted) == _whole_name(listed)


def _whole_name(image: str) -> str:
    """Return a reference with the registry, path and tag that containerd adds to a short one."""
    first, slash, _ = image.partition("/")
    if not slash:
        image = f"docker.io/library/{image}"
    elif "." not in first and ":" not in first and first != "localhost":
        image = f"docker.io/{image}"
    if "@" not in image and ":" not in image.rpartition("/")[2]:
        image += ":latest"
    return image
