"""All questions to a cluster that can be asked before a trace, in their order.

Each is asked whatever the answer to another was, except where there is nobody to ask: behind an API
server that does not answer, or about what another answer says is not there.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from podtrace.checkup import FAILED, OK, SKIPPED, Check
from podtrace.cluster import admission_checks, node_checks, pod_checks, room_checks
from podtrace.cluster.interface import ApiLike, Object
from podtrace.cluster.manifest import TracerPlan, plan_tracers, tracer_pod
from podtrace.cluster.rights_checks import check_rights
from podtrace.cluster.server_checks import check_namespace, check_server, check_user
from podtrace.cluster.settings import LaunchSettings
from podtrace.cluster.target import Selection, TargetPod
from podtrace.errors import PodtraceError

_NO_SERVER = "the API server does not answer"


@dataclass(frozen=True)
class Wish:
    """What a trace would be asked to do.

    Args:
        selection: the pods; its namespace is set.
        settings: how tracer pods would be made.
        image_trouble: why the image in the settings is none that was named, where that is so.
    """

    selection: Selection
    settings: LaunchSettings
    image_trouble: PodtraceError | None = None


@dataclass(frozen=True)
class Answers:
    """The checks in their order, and the pods that could be traced as far as those know."""

    checks: tuple[Check, ...]
    targets: tuple[TargetPod, ...] = ()

    @property
    def is_hopeless(self) -> bool:
        """Whether something failed, so that no tracer needs to be started to know."""
        return any(check.state == FAILED for check in self.checks)


def ask_cluster(api: ApiLike, wish: Wish) -> Answers:
    """Ask everything that can be asked without starting anything.

    Args:
        api: the cluster.
        wish: what a trace would be asked to do.
    """
    server = check_server(api)
    if server.state == FAILED:
        return Answers((server, *(Check(name, SKIPPED, _NO_SERVER) for name in _OTHERS)))
    user_check, user = check_user(api)
    checks = [server, user_check]
    settings, selection = wish.settings, wish.selection
    own = selection.namespace or api.namespace
    check, namespace = check_namespace(api, own)
    checks.append(check)
    if settings.namespace != own:
        check, namespace = check_namespace(api, settings.namespace)
        checks.append(check)
    checks += check_rights(api, selection, settings.namespace, user)
    targets: list[TargetPod] = []
    nodes: list[Object] = []
    if pod_checks.is_named(selection):
        found, targets = pod_checks.find_targets(api, selection)
        checks += found
        found, nodes = _check_nodes(api, targets)
        checks += found
    else:
        checks += node_checks.check_all_nodes(api)
    checks += _check_tracer_pod(api, wish, namespace, targets, nodes)
    return Answers(tuple(checks), tuple(targets))


def _check_nodes(api: ApiLike, targets: Sequence[TargetPod]) -> tuple[list[Check], list[Object]]:
    checks, nodes = [], []
    for name in dict.fromkeys(target.node for target in targets):
        node = node_checks.get_node(api, name)
        if isinstance(node, Check):
            checks.append(node)
        else:
            nodes.append(node)
            checks.append(node_checks.check_node_object(node))
    return checks, nodes


def _check_tracer_pod(
    api: ApiLike,
    wish: Wish,
    namespace: Object | None,
    targets: Sequence[TargetPod],
    nodes: Sequence[Object],
) -> list[Check]:
    settings = wish.settings
    plans = plan_tracers(secrets.token_hex(4), targets)
    # Admission does not look at the node; a tracer that traces nothing stands for all.
    plan = plans[0] if plans else TracerPlan(secrets.token_hex(4), 1, "podtrace-doctor", ())
    checks = [admission_checks.check_image(settings, wish.image_trouble, nodes)]
    admitted, pod = admission_checks.check_pod_admission(api, plan, settings)
    job = admission_checks.check_job_admission(api, plan, settings, admitted)
    checks += [admitted, job, admission_checks.check_pod_security(namespace, admitted)]
    pod = tracer_pod(plan, settings) if pod is None else pod
    tracers = max(len(plans), 1)
    checks.append(room_checks.check_quota(api, settings.namespace, pod, tracers, job.state == OK))
    checks.append(room_checks.check_limit_ranges(api, settings.namespace, pod))
    return checks


_OTHERS = (
    "User",
    "Namespace",
    "Rights",
    "Pods",
    "Nodes",
    admission_checks.IMAGE,
    admission_checks.POD,
    admission_checks.JOB,
    admission_checks.POD_SECURITY,
    room_checks.QUOTA,
    room_checks.LIMIT_RANGE,
)
