"""From what a user names, TYPE/NAME, to the pods that belong to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from podtrace.cluster.interface import ApiLike, Object
from podtrace.cluster.objects import (
    Fields,
    controller_of,
    listed,
    mapping,
    name_of,
    text,
    uid_of,
)
from podtrace.cluster.paths import group_of, object_path
from podtrace.errors import ApiError, TargetError, UsageError

_TYPES = {
    "pods": ("pod", "po"),
    "deployments": ("deployment", "deploy"),
    "statefulsets": ("statefulset", "sts"),
    "daemonsets": ("daemonset", "ds"),
    "replicasets": ("replicaset", "rs"),
    "replicationcontrollers": ("replicationcontroller", "rc"),
    "jobs": ("job",),
    "cronjobs": ("cronjob", "cj"),
    "services": ("service", "svc"),
}
_RESOURCES = {word: resource for resource, words in _TYPES.items() for word in (resource, *words)}
TYPES = tuple(words[0] for words in _TYPES.values())
"""The types that can be named, as `TYPE/NAME`."""


@dataclass(frozen=True)
class Named:
    """A word of the command line: a resource such as `pods`, and a name."""

    resource: str
    name: str

    @property
    def kind(self) -> str:
        """The type in the singular."""
        return _TYPES[self.resource][0]


def parse_word(word: str) -> Named:
    """Return what `POD` or `TYPE/NAME` names; a type may carry its group, as in deployment.apps.

    Raises:
        UsageError: the word is neither, or the type has no pods.
    """
    kind, slash, name = word.rpartition("/")
    short, _, group = kind.lower().partition(".")
    resource = _RESOURCES.get(short) if slash else "pods"
    if not name or "/" in kind or (slash and not kind):
        raise UsageError(
            f"{word!r} is neither POD nor TYPE/NAME", "for example: web-0 or deployment/web"
        )
    if resource is None or (group and group.removeprefix("v1.") != group_of(resource)):
        raise UsageError(
            f"{word}: the pods of a {kind} are not known to podtrace",
            f"TYPE is one of {', '.join(TYPES)}; or choose pods by their labels with -l",
        )
    return Named(resource, name)


def pods_of(api: ApiLike, namespace: str, named: Named) -> list[Object]:
    """Return all pods of a workload or service, whatever their state.

    Raises:
        TargetError: it has none by its nature, such as a service without a selector.
        ApiError: it does not exist, or the user may not see it.
    """
    workload = api.get(object_path(named.resource, namespace=namespace, name=named.name))
    where = f"{named.kind} {namespace}/{named.name}"
    if named.resource == "services":
        labels = mapping(workload, "spec", "selector")
        if not labels:
            raise TargetError(
                f"{where} has no selector, and so no pods of its own",
                f"see where it leads: kubectl get endpoints -n {namespace} {named.name}",
            )
        return _listed(api, namespace, _equalities(labels))
    if named.resource == "replicationcontrollers":
        selector = _equalities(mapping(workload, "spec", "selector"))
        return [pod for pod in _listed(api, namespace, selector) if _is_owned(pod, workload)]
    if named.resource == "cronjobs":
        return _of_cron_job(api, namespace, workload)
    selector = selector_text(mapping(workload, "spec", "selector"))
    pods = _listed(api, namespace, selector)
    if named.resource == "deployments":
        belongs = _by_deployment(api, namespace, workload, selector)
        return [pod for pod in pods if belongs(pod)]
    return [pod for pod in pods if _is_owned(pod, workload)]


def selector_text(selector: Fields) -> str:
    """Return a LabelSelector in the form that a query wants.

    Raises:
        TargetError: it selects nothing.
    """
    terms = [_equalities(mapping(selector, "matchLabels"))]
    for expression in listed(selector, "matchExpressions"):
        key, operator = text(expression, "key"), text(expression, "operator")
        values = ",".join(str(value) for value in expression.get("values") or ())
        terms.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }.get(operator, "")
        )
    whole = ",".join(term for term in terms if term)
    if not whole:
        raise TargetError(
            "the selector of the workload selects nothing", "choose pods by their labels with -l"
        )
    return whole


def _equalities(labels: Mapping[str, object]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _listed(api: ApiLike, namespace: str, selector: str) -> list[Object]:
    return list(api.items(object_path("pods", namespace=namespace), labelSelector=selector))


def _is_owned(item: Fields, owner: Fields) -> bool:
    return text(controller_of(item), "uid") == uid_of(owner)


def _by_deployment(
    api: ApiLike, namespace: str, deployment: Fields, selector: str
) -> Callable[[Fields], bool]:
    """Return the test for pods of a deployment: labels alone take in those of its canary."""
    try:
        path = object_path("replicasets", namespace=namespace)
        sets = [
            uid_of(item)
            for item in api.items(path, labelSelector=selector)
            if _is_owned(item, deployment)
        ]
    except ApiError as error:
        if error.status != 403:
            raise
        return lambda pod: _is_of_generation(pod, name_of(deployment))
    return lambda pod: text(controller_of(pod), "uid") in sets


def _is_of_generation(pod: Fields, deployment: str) -> bool:
    """Tell whether a pod's replica set is named as the deployment would name it."""
    generation = text(mapping(pod, "metadata", "labels"), "pod-template-hash")
    return text(controller_of(pod), "name") == f"{deployment}-{generation}"


def _of_cron_job(api: ApiLike, namespace: str, cron_job: Fields) -> list[Object]:
    active: Iterable[Fields] = listed(mapping(cron_job, "status"), "active")
    jobs = {text(job, "name"): text(job, "uid") for job in active}
    if not jobs:
        return []
    pods = _listed(api, namespace, f"job-name in ({','.join(jobs)})")
    return [pod for pod in pods if text(controller_of(pod), "uid") in jobs.values()]
