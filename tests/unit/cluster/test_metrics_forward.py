"""The metrics of tracers that are starting, run, or have ended."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest

from api_scene import Scene
from fake_cluster import FakeApi
from forwarding_server import forwarding, to_port
from launching import plan, settings
from podtrace.cluster.local_ports import LocalPort
from podtrace.cluster.metrics_forward import MetricsForward
from podtrace.cluster.metrics_rights import check_metrics_rights
from podtrace.cluster.tracer import Tracer
from podtrace.errors import ClusterError
from scripted_server import ScriptedServer, closed_port
from scripted_server import http as whole


class Metrics:
    """One tracer behind a port of this machine."""

    def __init__(self, scene: Scene, port: int) -> None:
        self.server = scene.server(forwarding(to_port(port)))
        api = scene.api(self.server.url)
        self.tracer = Tracer(api, plan(), settings(), lambda _: None, stamped=False)
        self.port = LocalPort("127.0.0.1", 0)
        self.forward = MetricsForward(api, [self.tracer], [self.port])
        self.forward.start()

    def get(self) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port.port, timeout=20)
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@pytest.fixture
def tracer_port(scene: Scene) -> ScriptedServer:
    return scene.server(lambda _: whole(200, b"some 1\n"))


@pytest.fixture
def metrics(scene: Scene, tracer_port: ScriptedServer) -> Iterator[Metrics]:
    metrics = Metrics(scene, tracer_port.port)
    yield metrics
    metrics.forward.close()


def test_tracer_answers_for_itself_as_soon_as_it_has_a_pod(metrics: Metrics) -> None:
    assert metrics.get() == (503, "the tracer on node node-a is being started\n")
    metrics.tracer._pod.pod_name = "tracer-1"
    assert metrics.get() == (200, "some 1\n")
    (request,) = metrics.server.requests
    assert request.target == "/api/v1/namespaces/shop/pods/tracer-1/portforward?ports=3000"


def test_port_that_is_not_open_yet_is_no_failure(scene: Scene) -> None:
    with closed_port() as port:
        metrics = Metrics(scene, port)
        metrics.tracer._pod.pod_name = "tracer-1"
        assert metrics.get() == (503, "the tracer on node node-a is being started\n")
        metrics.tracer.has_sent = True
        status, said = metrics.get()
        assert status == 502
        assert said.startswith("the tracer on node node-a cannot be reached: failed to connect")
        metrics.forward.close()


def test_api_server_that_is_away_is_named(metrics: Metrics) -> None:
    metrics.tracer._pod.pod_name = "tracer-1"
    metrics.tracer.has_sent = True
    metrics.server.close()
    status, said = metrics.get()
    assert status == 502
    assert metrics.server.url in said


def test_tracer_that_has_ended_is_asked_no_more(metrics: Metrics) -> None:
    metrics.tracer._pod.pod_name = "tracer-1"
    metrics.tracer.is_over = True
    assert metrics.get() == (502, "the tracer on node node-a has ended\n")
    assert metrics.server.requests == []


# The right to it


def test_whoever_may_forward_is_let_through() -> None:
    check_metrics_rights(FakeApi(namespace="shop"), "shop", "shop")


@pytest.mark.parametrize(
    ("denied", "minor", "missing"),
    [
        (("get",), "34", "get pods/portforward in namespace tools"),
        (("create",), "34+", None),
        (("create",), "35+", "create pods/portforward in namespace tools"),
        (("get", "create"), "34", "get pods/portforward in namespace tools, create pods/port"),
    ],
)
def test_missing_right_is_said_beforehand_with_a_role(
    denied: tuple[str, ...], minor: str, missing: str | None
) -> None:
    api = FakeApi(namespace="shop")
    api.answers["/version"] = {"major": "1", "minor": minor}
    for verb in denied:
        api.deny(verb, "pods/portforward", namespace="tools")
    if missing is None:
        check_metrics_rights(api, "shop", "tools")
        return
    with pytest.raises(ClusterError) as caught:
        check_metrics_rights(api, "shop", "tools")
    assert caught.value.message.startswith(f"you may not {missing}")
    assert caught.value.message.endswith(", which --metrics takes")
    assert "run without --metrics" in (caught.value.hint or "")
    role = "\n".join(caught.value.details)
    assert "pods/portforward" in role
    assert 'namespace: "tools"' in role
