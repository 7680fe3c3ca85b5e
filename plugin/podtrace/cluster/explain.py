"""Refusals of the cluster in words: what it said, what that means, and what to do.

The API server's own sentence always stands in the error: what is recognized here is only added.
Texts are those of Kubernetes 1.25 to 1.34; a text that is not recognized is shown as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from podtrace.cluster.settings import LaunchSettings
from podtrace.errors import ApiError, LaunchError

_RBAC = re.compile(r'cannot \S+ resource "')
_POD_SECURITY = re.compile(r'violates PodSecurity "([a-z]+)')
_QUOTA = re.compile(r"exceeded quota: (\S+), requested: (.*?), used: (.*?), limited: (.*)$")
_QUOTA_WANTS = re.compile(r"failed quota: ([^:\s]+): must specify (\S+)")
_LIMIT_RANGE = re.compile(
    r"(?:maximum|minimum) \S+ usage per (?:Container|Pod) is|max limit to request ratio per"
)
_WEBHOOK = re.compile(r'admission webhook "([^"]+)" denied the request')
_WEBHOOK_AWAY = re.compile(r'failed calling webhook "([^"]+)"')
_POLICY = re.compile(r"ValidatingAdmissionPolicy '([^']+)'")
_ENDING_NAMESPACE = "is being terminated"
_NO_ACCOUNT = re.compile(r'serviceaccount "([^"]+)" not found')


def is_missing_right(error: ApiError) -> bool:
    """Tell whether the user lacks a right, rather than that an object was refused."""
    return error.status == 403 and _RBAC.search(error.message) is not None


def is_early(error: ApiError) -> bool:
    """Tell whether the namespace is so new that its service account is not there yet."""
    return error.status == 403 and _NO_ACCOUNT.search(error.message) is not None


def is_end_of_namespace(error: ApiError) -> bool:
    """Tell whether the namespace is being deleted, or is gone."""
    gone = error.status == 404 and "namespaces" in error.message
    return gone or (error.status == 403 and _ENDING_NAMESPACE in error.message)


def is_definite(error: ApiError) -> bool:
    """Tell whether nothing was done, rather than that this is not known: gateways time out."""
    return 400 <= error.status < 500 and error.status not in (408, 409, 429)


def is_refusal(error: ApiError) -> bool:
    """Tell whether the object is what is wrong, rather than the user's login or the server.

    A webhook that cannot be asked is told as a failure of the server, and can be got round.
    """
    return error.status in (400, 403, 404, 409, 422) or any(
        pattern.search(error.message) for pattern in (_WEBHOOK, _WEBHOOK_AWAY, _POLICY)
    )


def is_unaskable(error: ApiError) -> bool:
    """Tell whether a webhook cannot be asked by a dry run; it may admit the object all the same."""
    return error.status == 400 and "does not support dry run" in error.message


def refusal(error: ApiError, settings: LaunchSettings) -> LaunchError:
    """Return why the tracer pod or its Job was refused.

    Args:
        error: what the API server said.
        settings: what the pod was made from.
    """
    return refusal_text(error.message, settings, error.status)


def refusal_text(text: str, settings: LaunchSettings, status: int = 403) -> LaunchError:
    """Return the error for a refusal that is known by its sentence: of an answer, or an event."""
    namespace = settings.namespace
    said = (f"the cluster said: {text}",)
    elsewhere = f"let the tracer run in another namespace: --tracer-namespace {OTHER}"
    if _POD_SECURITY.search(text):
        return _pod_security(text, settings)
    if match := _QUOTA.search(text):
        name, asked, used, limited = match.groups()
        return LaunchError(
            f"the quota {name} of namespace {namespace} leaves no room for the tracer pod: "
            f"it asks for {asked}; used is {used} of {limited}",
            f"{elsewhere}; or ask for less with --patch, or have the quota raised",
            said,
        )
    if match := _QUOTA_WANTS.search(text):
        name, missing = match.groups()
        return LaunchError(
            f"the quota {name} of namespace {namespace} wants the tracer pod to say its {missing}",
            f"{elsewhere}; or say it with --patch, for example: {_resource_patch(missing)}",
            said,
        )
    if _LIMIT_RANGE.search(text):
        bounds = re.sub(r"^.*? is forbidden: ", "", text).strip("[]")
        return LaunchError(
            f"a LimitRange of namespace {namespace} refuses the tracer pod: {bounds}",
            f"{elsewhere}; or change what the tracer asks for (request 10m CPU and 64Mi, limit "
            f"256Mi of memory) with --patch, for example: {_resource_patch('limits.cpu')}",
            said,
        )
    if match := _WEBHOOK.search(text) or _POLICY.search(text):
        kind = "policy" if "ValidatingAdmissionPolicy" in match.group() else "admission webhook"
        return LaunchError(
            f"the {kind} {match.group(1)} of the cluster refuses the tracer pod in namespace "
            f"{namespace}",
            f"change the pod with --patch, {elsewhere}, or ask for an exemption from whoever keeps "
            "this rule",
            said,
        )
    if match := _WEBHOOK_AWAY.search(text):
        return LaunchError(
            f"the cluster cannot ask its admission webhook {match.group(1)}, and so creates no "
            f"tracer pod in namespace {namespace}",
            f"repair the webhook, or {elsewhere}",
            said,
        )
    if match := _NO_ACCOUNT.search(text):
        return LaunchError(
            f"namespace {namespace} has no service account {match.group(1)}, which every pod needs",
            f"to look: kubectl get serviceaccounts -n {namespace}; or {elsewhere}",
            said,
        )
    if _ENDING_NAMESPACE in text:
        return LaunchError(
            f"namespace {namespace} is being deleted: no tracer pod can be created in it",
            elsewhere,
            said,
        )
    if status == 404 and "namespaces" in text:
        return LaunchError(
            f"there is no namespace {namespace} for the tracer pod",
            f"create it: kubectl create namespace {namespace}; or name another one with "
            "--tracer-namespace",
            said,
        )
    return LaunchError(
        f"the tracer pod was refused in namespace {namespace}: {text}",
        f"to see what is sent to the cluster: --dry-run=client -o yaml; or {elsewhere}",
    )


OTHER = "NAMESPACE"


def _pod_security(text: str, settings: LaunchSettings) -> LaunchError:
    level = _POD_SECURITY.findall(text)[0]
    _, _, rules = text.partition(": violates PodSecurity ")
    namespace = settings.namespace
    reduced = (
        ("the profile capabilities needs this too: it sees the node's processes",)
        if settings.profile == "capabilities"
        else ()
    )
    return LaunchError(
        f"namespace {namespace} enforces the Pod Security level {level}; the tracer pod needs "
        "privileged",
        f"let the tracer run in another namespace: --tracer-namespace {OTHER}",
        (
            *reduced,
            "to allow it in this namespace, with all that this allows to others:",
            f"  kubectl label --overwrite ns {namespace} "
            "pod-security.kubernetes.io/enforce=privileged",
            f"the cluster said: violates PodSecurity {rules or text}",
        ),
    )


def _resource_patch(missing: str) -> str:
    kind, _, resource = missing.split(",")[0].rpartition(".")
    kind = kind if kind in ("limits", "requests") else "requests"
    value = {"cpu": "500m", "memory": "256Mi"}.get(resource, "64Mi")
    return (
        '--patch \'[{"op": "add", "path": "/spec/containers/0/resources/'
        f'{kind}/{resource}", "value": "{value}"}}]\''
    )


def last_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the last lines of a tracer as details of an error."""
    return ("the tracer's last lines:", *(f"  {line}" for line in lines)) if lines else ()
