"""What a user has to be allowed for a run, and the smallest Role that allows it.

A bare pod needs the least. With a Job, whatever happens to this machine, the cluster itself removes
the tracer; that takes a few rights more. What else is asked for is for names and explanations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from podtrace.cluster.interface import ApiLike
from podtrace.cluster.objects import mapping, text
from podtrace.cluster.paths import group_of
from podtrace.errors import ApiError, ClusterError

ROLE_NAME = "podtrace"
WHO_AM_I = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_THREADS = 8
_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True)
class Right:
    """Something that a user may do, or not.

    Args:
        verb: such as `create`.
        resource: such as `pods`, or `pods/log`.
        namespace: None for the whole cluster.
    """

    verb: str
    resource: str
    namespace: str | None

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return group_of(self.resource.partition("/")[0])

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else " in the whole cluster"
        return f"{self.verb} {self.resource}{where}"


def run_rights(namespace: str, tracer_namespace: str | None = None) -> list[Right]:
    """Return what a run on one named pod cannot do without."""
    where = tracer_namespace or namespace
    return [
        Right("get", "pods", namespace),
        *([Right("get", "pods", where)] if where != namespace else []),
        Right("create", "pods", where),
        Right("delete", "pods", where),
        Right("get", "pods/log", where),
    ]


def job_rights(namespace: str, tracer_namespace: str | None = None) -> list[Right]:
    """Return what a run needs beyond that to put its tracer into a Job."""
    where = tracer_namespace or namespace
    jobs = [Right(verb, "jobs", where) for verb in ("create", "get", "delete")]
    return [*jobs, Right("list", "pods", where)]


def metrics_rights(namespace: str, tracer_namespace: str | None = None) -> list[Right]:
    """Return what it takes to forward the tracer's metrics to this machine."""
    where = tracer_namespace or namespace
    return [Right(verb, "pods/portforward", where) for verb in ("get", "create")]


def choice_rights(namespace: str) -> list[Right]:
    """Return what is needed to name no pod, a selector, or a TYPE/NAME."""
    workloads = ("deployments", "statefulsets", "daemonsets", "replicasets", "jobs", "services")
    return [
        Right("list", "pods", namespace),
        Right("list", "replicasets", namespace),
        *(Right("get", resource, namespace) for resource in workloads),
    ]


def convenience_rights(namespace: str) -> list[Right]:
    """Return what makes reports and explanations better, and may be missing."""
    return [
        Right("list", "events", namespace),
        Right("get", "nodes", None),
        Right("list", "services", None),
        Right("list", "pods", None),
    ]


def allowed_rights(api: ApiLike, rights: Iterable[Right]) -> dict[Right, bool]:
    """Ask for each right whether the user has it.

    Raises:
        ClusterError: the cluster does not answer.
    """
    asked = list(dict.fromkeys(rights))
    with ThreadPoolExecutor(_THREADS) as threads:
        answers = list(threads.map(lambda right: _is_allowed(api, right), asked))
    return dict(zip(asked, answers, strict=True))


def missing_rights_error(
    api: ApiLike,
    namespace: str,
    refusal: ApiError | None = None,
    *,
    tracer_namespace: str | None = None,
) -> ClusterError:
    """Return the error for a user who lacks a right: what is missing, and a Role that has it.

    Args:
        api: the cluster.
        namespace: of the pods to trace.
        refusal: what the cluster said, where it said something.
        tracer_namespace: of the tracer pod, where it is another.
    """
    needed = run_rights(namespace, tracer_namespace)
    try:
        allowed = allowed_rights(api, needed)
        missing = [right for right in needed if not allowed[right]]
    except ClusterError:
        missing = []
    # Whoever asked for more than pods by their names is to ask for rights once only.
    with_choice = refusal is not None and 'cannot get resource "pods"' not in refusal.message
    where = f"namespace {namespace}"
    if missing:
        message = f"you may not {', '.join(str(right) for right in missing)}"
    else:
        message = str(refusal) if refusal is not None else f"you lack a right in {where}"
    said = [f"the cluster said: {refusal.message}"] if refusal is not None and missing else []
    role = role_text(
        namespace, tracer_namespace=tracer_namespace, user=user_name(api), with_choice=with_choice
    )
    return ClusterError(
        message,
        "give this to whoever manages the cluster, for: kubectl apply -f FILE",
        [*said, *role.splitlines()],
    )


def role_text(
    namespace: str,
    *,
    tracer_namespace: str | None = None,
    user: str = "USER",
    with_jobs: bool = True,
    with_choice: bool = False,
    with_metrics: bool = False,
) -> str:
    """Return YAML that gives a user what a run needs, and no more.

    One document, because it is shown indented: a list's lines may all begin with spaces, the line
    that parts two documents may not.

    Args:
        namespace: of the pods to trace.
        tracer_namespace: of the tracer pod, where it is another: it gets a Role of its own.
        user: the name that the cluster knows the user by.
        with_jobs: allow the Job that removes the tracer pod whatever happens.
        with_choice: allow selectors, workloads and services instead of pods' names alone.
        with_metrics: allow to forward the tracer's metrics.
    """
    rights = run_rights(namespace, tracer_namespace)
    if with_jobs:
        rights += job_rights(namespace, tracer_namespace)
    if with_choice:
        rights += choice_rights(namespace)
    if with_metrics:
        rights += metrics_rights(namespace, tracer_namespace)
    spaces = list(dict.fromkeys(right.namespace for right in rights if right.namespace))
    items = []
    for space in spaces:
        items += [
            _role(space, [right for right in rights if right.namespace == space]),
            _binding(space, user),
        ]
    return "apiVersion: v1\nkind: List\nitems:\n" + "".join(map(_item, items))


def user_name(api: ApiLike) -> str:
    """Return the name that the cluster knows the user by, or a word that stands for it."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        status = mapping(api.post(WHO_AM_I, review), "status", "userInfo")
    except ClusterError:
        return "USER"
    return text(status, "username") or "USER"


def _item(text: str) -> str:
    first, *rest = text.splitlines()
    return "".join([f"- {first}\n", *(f"  {line}\n" for line in rest)])


def _is_allowed(api: ApiLike, right: Right) -> bool:
    resource, _, subresource = right.resource.partition("/")
    return api.allowed(
        right.verb,
        resource,
        group=right.group,
        subresource=subresource,
        namespace=right.namespace,
    )


def _role(namespace: str, rights: Sequence[Right]) -> str:
    verbs: dict[tuple[str, str], list[str]] = {}
    for right in rights:
        listed = verbs.setdefault((right.group, right.resource), [])
        if right.verb not in listed:
            listed.append(right.verb)
    # Resources of one group with the same verbs make one rule.
    rules: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (group, resource), listed in verbs.items():
        rules.setdefault((group, tuple(listed)), []).append(resource)
    lines = [
        "apiVersion: rbac.authorization.k8s.io/v1",
        "kind: Role",
        f"metadata: {{name: {ROLE_NAME}, namespace: {_quoted(namespace)}}}",
        "rules:",
    ]
    for (group, listed_verbs), resources in rules.items():
        if "create" in listed_verbs and resources == ["jobs"]:
            lines.append("# The Job that removes the tracer pod, whatever happens to podtrace:")
        lines += [
            f'- apiGroups: ["{group}"]',
            f"  resources: [{', '.join(resources)}]",
            f"  verbs: [{', '.join(listed_verbs)}]",
        ]
    return "\n".join(lines) + "\n"


def _binding(namespace: str, user: str) -> str:
    if user.startswith(_ACCOUNT) and user.count(":") == 3:
        _, _, space, name = user.split(":")
        subject = f"{{kind: ServiceAccount, name: {_quoted(name)}, namespace: {_quoted(space)}}}"
    else:
        subject = f"{{kind: User, name: {_quoted(user)}, apiGroup: rbac.authorization.k8s.io}}"
    # Another user's binding is not to be replaced by this one.
    name = re.sub(r"[^a-z0-9.]+", "-", f"{ROLE_NAME}-{user}".lower()).strip("-.")[:200]
    return "\n".join(
        [
            "apiVersion: rbac.authorization.k8s.io/v1",
            "kind: RoleBinding",
            f"metadata: {{name: {name}, namespace: {_quoted(namespace)}}}",
            f"roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {ROLE_NAME}}}",
            "subjects:",
            f"- {subject}\n",
        ]
    )


def _quoted(word: str) -> str:
    return json.dumps(word)
