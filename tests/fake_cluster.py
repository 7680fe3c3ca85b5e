r"""A cluster in memory that answers what podtrace.cluster.interface.ApiLike asks.

    api = FakeApi()
    api.add(pod("web-0", namespace="shop"))
    api.get("/api/v1/namespaces/shop/pods/web-0")
    api.fail("POST", "/api/v1/namespaces/shop/pods", 403, "exceeded quota: ...", reason="Forbidden")
    api.logs["shop", "podtrace-abc-1"] = [b'{"kind":...}\n', 0.2, ClusterError("cut")]
    api.deny("create", "jobs")

Objects are kept by path; `answers` are what stands at other paths, such as /version. Errors are
those of the real Api, word for word. What was asked stands in `calls`. `on_create` is called with
each object that was created and may change the cluster.
"""

from __future__ import annotations

import copy
import json
import queue
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from podtrace.cluster.interface import Object, Query
from podtrace.cluster.paths import group_of, object_path
from podtrace.cluster.refusal import api_error
from podtrace.errors import ApiError

SERVER = "https://cluster.test:6443"

ANSWERS: dict[str, Object] = {
    "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.4"},
    "/apis/authentication.k8s.io/v1/selfsubjectreviews": {
        "status": {"userInfo": {"username": "jane", "groups": ["dev", "system:authenticated"]}}
    },
}
"""What is asked for at paths where no objects are kept."""

_KINDS = {
    "CronJob": "cronjobs",
    "DaemonSet": "daemonsets",
    "Deployment": "deployments",
    "Event": "events",
    "Job": "jobs",
    "LimitRange": "limitranges",
    "Namespace": "namespaces",
    "Node": "nodes",
    "Pod": "pods",
    "ReplicaSet": "replicasets",
    "ReplicationController": "replicationcontrollers",
    "ResourceQuota": "resourcequotas",
    "RuntimeClass": "runtimeclasses",
    "Service": "services",
    "StatefulSet": "statefulsets",
}
_OF_NO_NAMESPACE = ("Namespace", "Node", "RuntimeClass")
_PATH = re.compile(
    r"^/(?:api|apis/(?P<group>[^/]+))/v1"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<resource>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<subresource>.+))?)?$"
)


@dataclass(frozen=True)
class Call:
    """One request."""

    method: str
    path: str
    query: dict[str, Query]
    body: Any = None


class FakeStream:
    """Gives what it was scripted: bytes as they are, numbers as pauses, errors by raising them.

    Ends behind the last item; with `...` as the last item it stays open until it is closed.
    """

    def __init__(self, script: Iterable[Any]) -> None:
        self._script = iter(script)
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        for item in self._script:
            if self._closed.is_set():
                return
            if item is ...:
                self._closed.wait()
            elif isinstance(item, (int, float)):
                self._closed.wait(item)
            elif isinstance(item, Exception):
                raise item
            else:
                yield item() if callable(item) else item

    def close(self) -> None:
        self._closed.set()

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()


class _FakeWatch:
    def __init__(self, owner: FakeApi, path: str, query: Mapping[str, Query]) -> None:
        self.path = path
        self.query = dict(query)
        self.events: queue.SimpleQueue[Object | Exception | None] = queue.SimpleQueue()
        self._owner = owner

    def __iter__(self) -> Iterator[Object]:
        while (event := self.events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event

    def close(self) -> None:
        self._owner.watches = [watch for watch in self._owner.watches if watch is not self]
        self.events.put(None)


@dataclass
class _Failure:
    method: str
    path: re.Pattern[str]
    error: Exception
    times: int | None


@dataclass
class FakeApi:
    """A cluster in memory."""

    namespace: str = "default"
    server: str = SERVER
    objects: dict[str, Object] = field(default_factory=dict)
    logs: dict[tuple[str, str], Iterable[Any] | Callable[[dict[str, Query]], Iterable[Any]]] = (
        field(default_factory=dict)
    )
    answers: dict[str, Object] = field(default_factory=lambda: copy.deepcopy(ANSWERS))
    calls: list[Call] = field(default_factory=list)
    on_create: Callable[[Object], None] | None = None
    watches: list[_FakeWatch] = field(default_factory=list)
    _failures: list[_Failure] = field(default_factory=list)
    _denied: set[tuple[str, str, str | None]] = field(default_factory=set)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _version: int = 100

    # What a test arranges

    def add(self, *added: Object) -> None:
        """Put objects into the cluster, or change them; watches see it."""
        for item in added:
            with self._lock:
                path = path_of(item)
                kind = "MODIFIED" if path in self.objects else "ADDED"
                stored = copy.deepcopy(item)
                self._version += 1
                metadata = stored.setdefault("metadata", {})
                metadata["resourceVersion"] = str(self._version)
                metadata.setdefault("uid", f"uid-{self._version}")
                self.objects[path] = stored
                self._notify(kind, path, stored)

    def remove(self, path: str) -> None:
        """Take an object out of the cluster; watches see it."""
        with self._lock:
            gone = self.objects.pop(path)
            self._notify("DELETED", path, gone)

    def fail(
        self,
        method: str,
        path: str,
        error: Exception | int,
        message: str = "",
        *,
        reason: str = "",
        times: int | None = None,
    ) -> None:
        """Let requests fail.

        Args:
            method: the HTTP method; `WATCH` and `STREAM` for those.
            path: a regular expression that the whole path has to match.
            error: what to raise, or the status of an answer.
            message: the sentence of the Status object.
            reason: the reason of the Status object.
            times: how often; None is always.
        """
        if isinstance(error, int):
            error = refusal(error, reason, message, method, path)
        self._failures.append(_Failure(method, re.compile(path), error, times))

    def deny(self, verb: str, resource: str, namespace: str | None = None) -> None:
        """Take a right away; `resource` may be `pods/log`, `*` is all; namespace None: all."""
        self._denied.add((verb, resource, namespace))

    def asked(self, method: str, path: str = ".*") -> list[Call]:
        """Return the requests made so far with this method and a path like this."""
        pattern = re.compile(path)
        return [
            call for call in self.calls if call.method == method and pattern.fullmatch(call.path)
        ]

    # What podtrace asks

    def get(self, path: str, **query: Query) -> Object:
        if path in self.answers:
            return self._answer("GET", path, query)
        parts = self._enter("GET", path, query, "get" if _parts(path)["name"] else "list")
        with self._lock:
            if not parts["name"]:
                return {"items": list(self._select(path, query)), "metadata": {}}
            return copy.deepcopy(self._stored(path, parts))

    def post(self, path: str, body: Mapping[str, Any], **query: Query) -> Object:
        if path in self.answers:
            return self._answer("POST", path, query, body)
        self._enter("POST", path, query, "create", body)
        created = copy.deepcopy(dict(body))
        namespace = _parts(path)["namespace"]
        if namespace is not None:
            created.setdefault("metadata", {}).setdefault("namespace", namespace)
        if query.get("dryRun"):
            return created
        target = path_of(created)
        with self._lock:
            if target in self.objects:
                name = created["metadata"]["name"]
                raise refusal(
                    409, "AlreadyExists", f'{_parts(path)["resource"]} "{name}" already exists'
                )
            self.add(created)
            created = copy.deepcopy(self.objects[target])
        if self.on_create is not None:
            self.on_create(created)
        return created

    def delete(self, path: str, body: Mapping[str, Any] | None = None, **query: Query) -> Object:
        parts = self._enter("DELETE", path, query, "delete", body)
        with self._lock:
            stored = copy.deepcopy(self._stored(path, parts))
            if not query.get("dryRun"):
                self.remove(path)
        return stored

    def items(self, path: str, **query: Query) -> Iterator[Object]:
        self._enter("GET", path, query, "list")
        with self._lock:
            selected = list(self._select(path, query))
        yield from selected

    def stream(
        self, path: str, *, read_timeout_seconds: float | None, **query: Query
    ) -> FakeStream:
        parts = self._enter("STREAM", path, query, "get")
        namespace, name = parts["namespace"] or "", parts["name"] or ""
        with self._lock:
            self._stored(path.rpartition("/")[0], parts)
            script = self.logs.get((namespace, name))
        if script is None:
            waiting = f'container "tracer" in pod "{name}" is waiting to start: ContainerCreating'
            raise refusal(400, "BadRequest", waiting)
        return FakeStream(script(dict(query)) if callable(script) else script)

    def watch(
        self, path: str, *, read_timeout_seconds: float | None = None, **query: Query
    ) -> _FakeWatch:
        self._enter("WATCH", path, query, "watch")
        watch = _FakeWatch(self, path, query)
        with self._lock:
            self.watches.append(watch)
            if not query.get("resourceVersion"):
                for item in self._select(path, query):
                    watch.events.put({"type": "ADDED", "object": item})
        return watch

    def allowed(
        self,
        verb: str,
        resource: str,
        *,
        group: str = "",
        subresource: str = "",
        namespace: str | None = None,
        name: str = "",
    ) -> bool:
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        self._raise_if_failing("POST", path)
        assert group == group_of(resource), f"{resource} is not of the group {group!r}"
        whole = f"{resource}/{subresource}" if subresource else resource
        return not self._is_denied(verb, whole, namespace)

    # How it answers

    def _answer(
        self, method: str, path: str, query: Mapping[str, Query], body: Any = None
    ) -> Object:
        with self._lock:
            self.calls.append(Call(method, path, dict(query), copy.deepcopy(body)))
        self._raise_if_failing(method, path)
        return copy.deepcopy(self.answers[path])

    def _enter(
        self, method: str, path: str, query: Mapping[str, Query], verb: str, body: Any = None
    ) -> dict[str, str | None]:
        with self._lock:
            self.calls.append(Call(method, path, dict(query), copy.deepcopy(body)))
        self._raise_if_failing(method, path)
        parts = _parts(path)
        resource, namespace = parts["resource"] or "", parts["namespace"]
        if parts["subresource"]:
            resource += f"/{parts['subresource']}"
        if self._is_denied(verb, resource, namespace):
            where = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
            name = f' "{parts["name"]}"' if parts["name"] else ""
            raise refusal(
                403,
                "Forbidden",
                f'{resource}{name} is forbidden: User "jane" cannot {verb} resource '
                f'"{resource}" in API group "{parts["group"] or ""}"{where}',
            )
        return parts

    def _raise_if_failing(self, method: str, path: str) -> None:
        with self._lock:
            for failure in self._failures:
                if failure.method != method or not failure.path.fullmatch(path):
                    continue
                if failure.times == 0:
                    continue
                if failure.times is not None:
                    failure.times -= 1
                raise failure.error

    def _is_denied(self, verb: str, resource: str, namespace: str | None) -> bool:
        return any(
            one_verb in (verb, "*") and one in (resource, "*") and where in (None, namespace)
            for one_verb, one, where in self._denied
        )

    def _stored(self, path: str, parts: Mapping[str, str | None]) -> Object:
        if path not in self.objects:
            resource, group = parts["resource"], parts["group"]
            kind = f"{resource}.{group}" if group else resource
            raise refusal(404, "NotFound", f'{kind} "{parts["name"]}" not found')
        return self.objects[path]

    def _select(self, path: str, query: Mapping[str, Query]) -> Iterator[Object]:
        wanted = _parts(path)
        for key, item in self.objects.items():
            parts = _parts(key)
            if (parts["group"], parts["resource"]) != (wanted["group"], wanted["resource"]):
                continue
            if wanted["namespace"] not in (None, parts["namespace"]):
                continue
            if _is_selected(item, query):
                yield copy.deepcopy(item)

    def _notify(self, kind: str, path: str, item: Object) -> None:
        for watch in self.watches:
            if path.rpartition("/")[0] == watch.path and _is_selected(item, watch.query):
                watch.events.put({"type": kind, "object": copy.deepcopy(item)})


def refusal(
    status: int, reason: str, message: str, method: str = "GET", path: str = "/"
) -> ApiError:
    """Return the error that the real Api makes of such an answer."""
    body = {"kind": "Status", "status": "Failure", "code": status}
    body |= {"reason": reason, "message": message}
    return api_error(status, json.dumps(body).encode(), method=method, path=path, server=SERVER)


def path_of(item: Mapping[str, Any]) -> str:
    """Return where an object is kept."""
    namespaced = item["kind"] not in _OF_NO_NAMESPACE
    return object_path(
        _KINDS[item["kind"]],
        namespace=item["metadata"].get("namespace", "default") if namespaced else None,
        name=item["metadata"]["name"],
    )


def _parts(path: str) -> dict[str, str | None]:
    match = _PATH.match(path)
    assert match is not None, f"{path} is no path of an API server"
    return match.groupdict()


def _is_selected(item: Mapping[str, Any], query: Mapping[str, Query]) -> bool:
    labels = item["metadata"].get("labels") or {}
    fields = str(query.get("fieldSelector") or "")
    return matches(labels, str(query.get("labelSelector") or "")) and all(
        _field_matches(item, term) for term in fields.split(",") if term
    )


def matches(labels: Mapping[str, str], selector: str) -> bool:
    """Tell whether labels fit a selector, as the API server has it."""
    for term in re.split(r",(?![^(]*\))", selector):
        term = term.strip()
        if not term:
            continue
        if match := re.fullmatch(r"(\S+)\s+(in|notin)\s+\(([^)]*)\)", term):
            key, operator, listed = match.groups()
            values = [value.strip() for value in listed.split(",")]
            if (labels.get(key) in values) != (operator == "in"):
                return False
        elif match := re.fullmatch(r"([^!=\s]+)\s*(!=|==?)\s*(\S*)", term):
            key, operator, value = match.groups()
            if (labels.get(key) == value) != (operator != "!="):
                return False
        elif term.startswith("!"):
            if term[1:] in labels:
                return False
        elif term not in labels:
            return False
    return True


def _field_matches(item: Mapping[str, Any], term: str) -> bool:
    match = re.fullmatch(r"([\w.]+)(!=|==?)(.*)", term)
    assert match is not None, f"{term} is no field selector"
    key, operator, value = match.groups()
    found: Any = item
    for part in key.split("."):
        found = (found or {}).get(part)
    return (str(found or "") == value) == (operator != "!=")


def pod(
    name: str,
    *,
    namespace: str = "default",
    node: str | None = "node-1",
    containers: Iterable[str] = ("app",),
    phase: str = "Running",
    labels: Mapping[str, str] | None = None,
    owner: tuple[str, str] | None = None,
) -> Object:
    """Return a pod; its containers run where its phase is Running.

    `owner` is kind and name of what controls it; the uid of the owner is `uid-of-NAME`.
    """
    names = list(containers)
    running = phase == "Running"
    made: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-of-{namespace}-{name}",
            "labels": dict(labels or {}),
            "annotations": {},
        },
        "spec": {"containers": [{"name": each, "image": f"{each}:1"} for each in names]},
        "status": {
            "phase": phase,
            "conditions": [],
            "containerStatuses": [
                {
                    "name": each,
                    "ready": running,
                    "containerID": f"containerd://{container_id(name, each)}",
                    "state": {"running": {"startedAt": "2030-01-01T00:00:00Z"}},
                }
                for each in names
                if running
            ],
        },
    }
    if node is not None:
        made["spec"]["nodeName"] = node
    if owner is not None:
        kind, owner_name = owner
        made["metadata"]["ownerReferences"] = [
            {"kind": kind, "name": owner_name, "uid": f"uid-of-{owner_name}", "controller": True}
        ]
    return made


def container_id(pod_name: str, container: str) -> str:
    """Return the id that `pod` gives to a container."""
    return f"{pod_name}-{container}".encode().hex().ljust(64, "0")[:64]


def node(
    name: str,
    *,
    ready: bool = True,
    labels: Mapping[str, str] | None = None,
    taints: Iterable[Mapping[str, str]] = (),
    os: str = "linux",
    architecture: str = "amd64",
) -> Object:
    """Return a node."""
    condition = {
        "type": "Ready",
        "status": "True" if ready else "Unknown",
        "reason": "KubeletReady" if ready else "NodeStatusUnknown",
        "message": "" if ready else "Kubelet stopped posting node status.",
        "lastTransitionTime": "2030-01-01T00:00:00Z",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/os": os} | dict(labels or {})},
        "spec": {"taints": list(taints)},
        "status": {
            "conditions": [condition],
            "nodeInfo": {"operatingSystem": os, "architecture": architecture},
        },
    }


def workload(
    kind: str,
    name: str,
    *,
    namespace: str = "default",
    selector: Mapping[str, str] | None = None,
) -> Object:
    """Return a Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob or Service."""
    labels = dict(selector or {"app": name})
    spec: Object = {"selector": labels if kind == "Service" else {"matchLabels": labels}}
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-of-{name}"},
        "spec": {} if kind == "CronJob" else spec,
    }
