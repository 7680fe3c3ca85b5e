"""Which names the addresses of a cluster get, and what happens where they may not be asked for."""

from __future__ import annotations

import pytest

from podtrace.cluster.names import pod_addresses, service_addresses


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
