"""Names for the addresses that pods connect to: the Service or the pod behind each.

A name is a convenience: where the user may not list Services or pods, or the list does not come,
addresses stay as they are and nothing is said. Lists are read beside the trace and again every
minute, because pods come and go.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

from podtrace.cluster.interface import ApiLike, Object
from podtrace.errors import ApiError, ClusterError

REFRESH_SECONDS = 60.0
MOST_OBJECTS = 20_000
"""Of one kind; a larger cluster is read no further."""

_HEADLESS = ("", "None")

Addresses = Callable[[Object], Iterator[tuple[str, str]]]


class PeerNames:
    """The names by address, as far as they are known by now.

    Args:
        api: the cluster; asked from a thread of this object's own.
        namespaces: those of the traced pods, asked for where the whole cluster may not be.
    """

    def __init__(self, api: ApiLike, namespaces: frozenset[str]) -> None:
        self._api = api
        self._namespaces = sorted(namespaces)
        self._names: dict[str, str] = {}
        self._by_kind: dict[str, dict[str, str]] = {}
        self._over = threading.Event()
        self._first = threading.Event()

    def start(self) -> None:
        """Begin to ask, and go on until `close`."""
        threading.Thread(target=self._ask, name="peer names", daemon=True).start()

    def close(self) -> None:
        """Ask no more."""
        self._over.set()

    def known(self, wait_seconds: float = 0) -> Mapping[str, str]:
        """Return address -> name, such as `service shop/db`.

        Args:
            wait_seconds: how long to wait for the first lists.

        Returns:
            The one mapping that is kept up to date as long as the asking goes on.
        """
        self._first.wait(wait_seconds)
        return self._names

    def _ask(self) -> None:
        while not self._over.is_set():
            # Addresses are used again: the newest lists decide, and Services before pods.
            found = self._of("pods", pod_addresses) | self._of("services", service_addresses)
            for address in self._names.keys() - found.keys():
                del self._names[address]
            self._names.update(found)
            self._first.set()
            self._over.wait(REFRESH_SECONDS)

    def _of(self, kind: str, addresses: Addresses) -> dict[str, str]:
        """Return the names of one kind; a list that did not come whole takes none away."""
        found: dict[str, str] = {}
        is_whole = True
        try:
            self._add(f"/api/v1/{kind}", addresses, found)
        except ClusterError as error:
            is_whole = _is_forbidden(error)
            for namespace in self._namespaces:
                try:
                    self._add(f"/api/v1/namespaces/{namespace}/{kind}", addresses, found)
                except ClusterError as failure:
                    is_whole = is_whole and _is_forbidden(failure)
        known = {} if is_whole else self._by_kind.get(kind, {})
        self._by_kind[kind] = known | found
        return self._by_kind[kind]

    def _add(self, path: str, addresses: Addresses, found: dict[str, str]) -> None:
        for number, item in enumerate(self._api.items(path)):
            if number >= MOST_OBJECTS or self._over.is_set():
                return
            found.update(addresses(item))


def _is_forbidden(error: ClusterError) -> bool:
    """Tell whether this is an answer: nothing is to be had there."""
    return isinstance(error, ApiError) and error.status == 403


def service_addresses(service: Object) -> Iterator[tuple[str, str]]:
    """Yield each address of a Service with its name; a headless one has none of its own."""
    name = f"service {_full_name(service)}"
    spec = service.get("spec") or {}
    for address in {spec.get("clusterIP") or "", *(spec.get("clusterIPs") or ())}:
        if address not in _HEADLESS:
            yield address, name
    for address in spec.get("externalIPs") or ():
        yield address, name
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    for entry in ingress:
        if entry.get("ip"):
            yield entry["ip"], name


def pod_addresses(pod: Object) -> Iterator[tuple[str, str]]:
    """Yield each address of a pod with its name, unless it shares its node's."""
    status = pod.get("status") or {}
    if (pod.get("spec") or {}).get("hostNetwork") or status.get("phase") in ("Succeeded", "Failed"):
        return
    name = f"pod {_full_name(pod)}"
    for address in {status.get("podIP"), *(ip.get("ip") for ip in status.get("podIPs") or ())}:
        if address:
            yield address, name


def _full_name(item: Object) -> str:
    metadata = item["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}"
