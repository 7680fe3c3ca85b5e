"""Names to offer while a command line is typed, from the cluster and the kubeconfig.

Nothing is ever said and nothing waits for long: a cluster that is away, slow or wants a password
offers nothing, and a list that takes too long offers what came in time.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from podtrace.cluster.access import Access
from podtrace.cluster.api import Api
from podtrace.cluster.interface import ApiLike
from podtrace.cluster.kubeconfig import files_of, read
from podtrace.cluster.objects import name_of
from podtrace.cluster.paths import object_path
from podtrace.cluster.target import containers_of
from podtrace.cluster.traceable import is_live, is_own
from podtrace.cluster.workloads import TYPES, parse_word, pods_of
from podtrace.errors import PodtraceError

WAIT_SECONDS = 1.5

Source = Callable[[ApiLike], Iterator[str]]


def offered(access: Access, source: Source) -> list[str]:
    """Return what a source gives in time, in order, each once; nothing where anything fails.

    Args:
        access: how to reach the cluster.
        source: one of the functions below, with its words.
    """
    try:
        # Not counted: it takes as long as the import of the client does, and asks nobody.
        api = Api.connect(replace(access, request_timeout_seconds=WAIT_SECONDS), is_silent=True)
    except PodtraceError:
        return []
    found: list[str] = []

    def ask() -> None:
        # Whatever goes wrong, the user is typing and wants no error now. One by one, because what
        # came in time counts.
        with contextlib.suppress(Exception):
            deque(map(found.append, source(api)), maxlen=0)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(WAIT_SECONDS)
    api.close()
    return sorted(set(found))


def namespaces(api: ApiLike) -> Iterator[str]:
    """Yield the names of all namespaces."""
    return map(name_of, api.items(object_path("namespaces")))


def pods(api: ApiLike) -> Iterator[str]:
    """Yield the names of pods that could be traced."""
    for pod in api.items(object_path("pods", namespace=api.namespace)):
        if is_live(pod) and not is_own(pod):
            yield name_of(pod)


def targets(api: ApiLike, prefix: str) -> Iterator[str]:
    """Yield what may stand as POD or TYPE/NAME and begins with a prefix."""
    kind, slash, _ = prefix.rpartition("/")
    if not slash:
        if prefix:
            yield from (f"{each}/" for each in TYPES if each.startswith(prefix))
        yield from (name for name in pods(api) if name.startswith(prefix))
        return
    named = parse_word(f"{kind}/x")
    if named.resource == "pods":
        names: Iterable[str] = pods(api)
    else:
        names = map(name_of, api.items(object_path(named.resource, namespace=api.namespace)))
    yield from (f"{kind}/{name}" for name in names if f"{kind}/{name}".startswith(prefix))


def containers(api: ApiLike, words: Iterable[str], selector: str | None) -> Iterator[str]:
    """Yield the names of the containers of the pods that words and selector choose."""
    path = object_path("pods", namespace=api.namespace)
    chosen = list(words)
    if not chosen:
        for pod in api.items(path, labelSelector=selector):
            if is_live(pod) and not is_own(pod):
                yield from (container.name for container in containers_of(pod))
    for word in chosen:
        named = parse_word(word)
        if named.resource == "pods":
            found = [api.get(object_path("pods", namespace=api.namespace, name=named.name))]
        else:
            found = pods_of(api, api.namespace, named)
        for pod in found:
            yield from (container.name for container in containers_of(pod))


def entries(access: Access, section: str) -> list[str]:
    """Return the names of the clusters, contexts or users of the kubeconfig."""
    try:
        return sorted(read(files_of(access, os.environ)).entries[section])
    except PodtraceError:
        return []
