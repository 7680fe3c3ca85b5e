"""One tracer's objects in the cluster: how they are created, found, looked at and removed.

A Job is what removes the pod when nobody is left to do so; where the user may not create Jobs, or
not list the pods that a Job makes, the pod stands alone. A bare pod is marked for deletion as soon
as the tracer listens to signals: the tracer takes the first one for that mark and goes on, and the
kubelet removes the pod whenever the tracer ends, whoever has died meanwhile.

Deletion always grants a grace period. Grace 0 would remove the object and leave a privileged
process behind on the node.
"""

from __future__ import annotations

import time
from functools import cached_property
from typing import Any, NoReturn

from podtrace.cluster import explain
from podtrace.cluster.interface import ApiLike, Object
from podtrace.cluster.manifest import GRACE_SECONDS, TracerPlan, tracer_job, tracer_pod
from podtrace.cluster.paths import object_path
from podtrace.cluster.pod_status import Ending
from podtrace.cluster.rights import missing_rights_error
from podtrace.cluster.settings import LaunchSettings
from podtrace.cluster.tracer_node import has_memory_limit, node_trouble
from podtrace.errors import ApiError, ClusterError, PodtraceError, TargetError

BARE_GRACE_SECONDS = 2
"""A bare pod's tracer takes its first SIGTERM for the mark: what follows ends its process."""
MARK_SLACK_SECONDS = 60
_ACCOUNT_SECONDS = 5.0
_RETRY_SECONDS = 0.2


class TracerPod:
    """The Job or bare pod of one tracer.

    Args:
        api: the cluster.
        plan: what is traced where.
        settings: how the pod is made.
    """

    def __init__(self, api: ApiLike, plan: TracerPlan, settings: LaunchSettings) -> None:
        self.plan = plan
        self.settings = settings
        self.has_job = False
        self.pod_name: str | None = None
        self._api = api
        self._attempted: list[str] = []
        self.is_marked = False
        self._mark_seconds = settings.limit_seconds + MARK_SLACK_SECONDS

    @property
    def where(self) -> str:
        """`NAMESPACE/NAME` of the pod, or of its Job before there is one."""
        return f"{self.settings.namespace}/{self.pod_name or self.plan.name}"

    @property
    def is_created(self) -> bool:
        """Something may have been created."""
        return bool(self._attempted)

    @property
    def kind_and_name(self) -> str:
        """What to give to kubectl to look at it or to remove it."""
        return f"{'job' if self.has_job or self._attempted == ['jobs'] else 'pod'}/{self.plan.name}"

    def job(self) -> dict[str, Any]:
        """Return the Job as it would be created."""
        return tracer_job(self.plan, self.settings, memlock=self._memlock)

    def _bare_pod(self) -> dict[str, Any]:
        return tracer_pod(self.plan, self.settings, memlock=self._memlock)

    @cached_property
    def _memlock(self) -> bool:
        """Whether the node's kernel may count the tracer's tables as locked memory."""
        return self.settings.profile == "capabilities" and has_memory_limit(
            self._api, self.plan.node
        )

    def create(self) -> None:
        """Create the Job, or the pod where that is all the user may create.

        Raises:
            PodtraceError: the pod was refused, and why.
        """
        # A Job hides what becomes of its pod's admission: the pod itself is asked about first.
        refusal = self._ask_admission()
        if self._may_list() and self._post_job():
            return
        if refusal is not None:
            raise self._missing_rights(refusal)
        self._post("pods", self._bare_pod())
        self.pod_name = self.plan.name

    def rehearse(self) -> Object:
        """Return what the API server would make of it, without creating anything.

        Raises:
            PodtraceError: it would be refused, and why.
        """
        refusal = self._ask_admission()
        if self._may_list():
            try:
                return self._api.post(self._path("jobs"), self.job(), dryRun="All")
            except ApiError as error:
                if not explain.is_missing_right(error):
                    self._refuse(error)
        if refusal is not None:
            raise self._missing_rights(refusal)
        pod = self._bare_pod()
        return self._api.post(self._path("pods"), pod, dryRun="All")

    def find(self) -> Object | None:
        """Return the pod as it is now, or None where there is none (yet, or any more).

        Raises:
            ClusterError: the cluster did not answer.
        """
        namespace = self.settings.namespace
        if self.pod_name is None:
            for pod in self._api.items(
                object_path("pods", namespace=namespace), labelSelector=self.plan.selector
            ):
                self.pod_name = pod["metadata"]["name"]
                return pod
            return None
        try:
            return self._api.get(object_path("pods", namespace=namespace, name=self.pod_name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def mark(self) -> None:
        """Let a bare pod be removed whenever its tracer ends; its tracer must be listening.

        Raises:
            ClusterError: the cluster did not answer, or refused.
        """
        if self.has_job or self.is_marked or self.settings.keep:
            return
        self._delete("pods", self._mark_seconds)
        self.is_marked = True

    def is_doomed(self) -> bool:
        """Tell whether somebody else removes a marked pod, as far as that can be known.

        A kubelet that waits for the tracer to end hears neither of a shorter wait nor of the end of
        the namespace: only the tracer itself can end then, and does when nobody reads its log.

        Raises:
            ClusterError: the cluster did not answer.
        """
        if not self.is_marked:
            return False
        pod = self.find()
        if pod is None:
            return True
        seconds = pod["metadata"].get("deletionGracePeriodSeconds")
        if isinstance(seconds, int) and seconds < self._mark_seconds:
            return True
        try:
            self._api.post(self._path("pods"), self._bare_pod(), dryRun="All")
        except ApiError as error:
            return explain.is_end_of_namespace(error)
        return False

    def remove(self) -> None:
        """Remove what was created, if anything was, with the grace that lets a tracer end.

        A marked pod needs nothing: it goes when its tracer ends, and nothing else makes it go.

        Raises:
            ClusterError: the cluster did not answer, or refused.
        """
        for resource in list(self._attempted):
            if self.is_marked and resource == "pods":
                continue
            grace = GRACE_SECONDS if resource == "jobs" else BARE_GRACE_SECONDS
            self._delete(resource, grace)

    def check_log_right(self, error: ClusterError) -> None:
        """Raise where an error of reading the log is that the user may not.

        Raises:
            ClusterError: what is missing.
        """
        if isinstance(error, ApiError) and explain.is_missing_right(error):
            raise self._missing_rights(error) from error

    def events(self, kind: str, name: str) -> list[Object]:
        """Return the events about an object; none where the user may not list them."""
        fields = f"involvedObject.kind={kind},involvedObject.name={name}"
        path = object_path("events", namespace=self.settings.namespace)
        try:
            return list(self._api.items(path, fieldSelector=fields))
        except ClusterError:
            return []

    def job_failure(self) -> Ending | None:
        """Return why the Job ended its pod, or None where it did not, or nobody can tell."""
        if not self.has_job:
            return None
        try:
            job = self._api.get(self._path("jobs", self.plan.name))
        except ClusterError:
            return None
        for condition in job.get("status", {}).get("conditions") or ():
            if condition.get("type") == "Failed" and condition.get("reason") == "DeadlineExceeded":
                return Ending(condition["reason"], str(condition.get("message") or ""), None)
        return None

    def node_trouble(self) -> TargetError | None:
        """Return what is wrong with the node, or None where nothing is, or nobody can tell."""
        return node_trouble(self._api, self.plan.node)

    def _ask_admission(self) -> ApiError | None:
        """Ask whether the pod would be admitted; return why the user may create no pod at all."""
        pod = self._bare_pod()
        until = time.monotonic() + _ACCOUNT_SECONDS
        while True:
            try:
                self._api.post(self._path("pods"), pod, dryRun="All")
                return None
            except ApiError as error:
                if explain.is_missing_right(error):
                    return error
                if explain.is_unaskable(error):
                    return None
                if not explain.is_early(error) or time.monotonic() > until:
                    self._refuse(error)
            time.sleep(_RETRY_SECONDS)

    def _may_list(self) -> bool:
        try:
            for _ in self._api.items(self._path("pods"), labelSelector=self.plan.selector):
                pass
        except ApiError as error:
            if error.status == 403:
                return False
            raise
        return True

    def _post_job(self) -> bool:
        try:
            self._post("jobs", self.job())
        except ApiError as error:
            if explain.is_missing_right(error):
                return False
            raise
        self.has_job = True
        return True

    def _post(self, resource: str, body: dict[str, Any]) -> None:
        # Noted before it is asked for: an answer that is lost may have done its work.
        self._attempted.append(resource)
        try:
            self._api.post(self._path(resource), body)
        except ApiError as error:
            if error.status == 409 and error.reason == "AlreadyExists":
                return  # The name is random: it was this very request, which was sent again.
            if explain.is_definite(error):
                self._attempted.remove(resource)
            if not explain.is_missing_right(error):
                self._refuse(error)
            if resource == "jobs":
                raise
            raise self._missing_rights(error) from error

    def _refuse(self, error: ApiError) -> NoReturn:
        if explain.is_refusal(error):
            raise explain.refusal(error, self.settings) from error
        raise error

    def _missing_rights(self, refusal: ApiError) -> PodtraceError:
        return missing_rights_error(
            self._api,
            self.plan.targets[0].namespace,
            refusal,
            tracer_namespace=self.settings.namespace,
        )

    def _delete(self, resource: str, grace_seconds: int) -> None:
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": grace_seconds,
            "propagationPolicy": "Background",
        }
        try:
            self._api.delete(self._path(resource, self.plan.name), options)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    def _path(self, resource: str, name: str = "") -> str:
        return object_path(resource, namespace=self.settings.namespace, name=name)
