"""Which names the addresses of a cluster get, and what happens where they may not be asked for."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from fake_cluster import FakeApi
from podtrace.cluster import names
from podtrace.cluster.names import PeerNames, pod_addresses, service_addresses
from podtrace.errors import ClusterError


def service(**spec: object) -> dict[str, object]:
    return {"metadata": {"namespace": "shop", "name": "db"}, "spec": spec}


def test_service_is_known_by_all_its_addresses() -> None:
    item = service(
        clusterIP="10.0.0.9", clusterIPs=["10.0.0.9", "fd00::9"], externalIPs=["1.2.3.4"]
    )
    item["status"] = {"loadBalancer": {"ingress": [{"ip": "5.6.7.8"}, {"hostname": "lb.test"}]}}
    assert dict(service_addresses(item)) == dict.fromkeys(
        ["10.0.0.9", "fd00::9", "1.2.3.4", "5.6.7.8"], "service shop/db"
    )


@pytest.mark.parametrize("spec", [{"clusterIP": "None"}, {"clusterIP": ""}, {}])
def test_headless_service_has_no_address(spec: dict[str, object]) -> None:
    assert not dict(service_addresses(service(**spec)))


def pod(phase: str = "Running", host_network: bool = False) -> dict[str, object]:
    return {
        "metadata": {"namespace": "shop", "name": "db-0"},
        "spec": {"hostNetwork": host_network},
        "status": {
            "phase": phase,
            "podIP": "10.1.0.5",
            "podIPs": [{"ip": "10.1.0.5"}, {"ip": "::5"}],
        },
    }


def test_pod_is_known_by_its_addresses() -> None:
    assert dict(pod_addresses(pod())) == dict.fromkeys(["10.1.0.5", "::5"], "pod shop/db-0")


def test_pod_that_ended_or_shares_its_nodes_address_has_none() -> None:
    assert not dict(pod_addresses(pod("Succeeded")))
    assert not dict(pod_addresses(pod(host_network=True)))


def in_cluster(name: str, address: str, namespace: str = "shop") -> dict[str, object]:
    return {
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name},
        "status": {"phase": "Running", "podIP": address},
    }


def comes_true(check: Callable[[], bool]) -> bool:
    until = time.monotonic() + 5
    while not check() and time.monotonic() < until:
        time.sleep(0.005)
    return check()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "REFRESH_SECONDS", 0.01)


@pytest.mark.usefixtures("quick")
def test_names_stay_known_while_lists_do_not_come_and_go_with_the_next_that_does() -> None:
    api = FakeApi()
    api.add(in_cluster("db-0", "10.1.0.5"), in_cluster("other-0", "10.1.0.6", "blog"))
    peers = PeerNames(api, frozenset({"shop"}))
    peers.start()
    both = {"10.1.0.5": "pod shop/db-0", "10.1.0.6": "pod blog/other-0"}
    try:
        assert dict(peers.known(5)) == both
        api.fail("GET", "/api/v1/pods", ClusterError("connection refused"), times=3)
        lost = False
        until = time.monotonic() + 5
        while len(api.asked("GET", "/api/v1/namespaces/shop/pods")) < 3:
            lost = lost or "10.1.0.6" not in peers.known()
            time.sleep(0.001)
            assert time.monotonic() < until
        assert not lost
        assert dict(peers.known()) == both
        api.remove("/api/v1/namespaces/shop/pods/db-0")
        assert comes_true(lambda: dict(peers.known()) == {"10.1.0.6": "pod blog/other-0"})
    finally:
        peers.close()


@pytest.mark.usefixtures("quick")
def test_who_may_list_one_namespace_only_has_its_names_replaced() -> None:
    api = FakeApi()
    peers = PeerNames(api, frozenset({"shop"}))
    api.fail("GET", "/api/v1/pods", 403, "pods is forbidden")
    api.add(in_cluster("db-0", "10.1.0.5"))
    peers.start()
    try:
        assert dict(peers.known(5)) == {"10.1.0.5": "pod shop/db-0"}
        api.remove("/api/v1/namespaces/shop/pods/db-0")
        assert comes_true(lambda: not peers.known())
    finally:
        peers.close()
