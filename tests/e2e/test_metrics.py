"""Metrics of a traced pod on this machine, through the API server, while the live view goes on."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from e2e.conftest import Images
from e2e.kubectl import Kubectl, pod
from e2e.leavings import leavings, wait_for_none, wait_for_tracer
from e2e.runs import WORK, Run, apply_work
from e2e.scraping import ask, get, port_of, ports_of, total, wait_for_operations, wait_for_status
from podtrace.cluster.rights import role_text

METRICS = ("--metrics", "--metrics-port", "0")
REQUESTS = 1000
CLIENTS = 20
END_SECONDS = 30.0


@pytest.fixture
def shop(namespace: Kubectl, images: Images) -> Kubectl:
    """Return kubectl for a namespace with a pod web-0 that reads files."""
    apply_work(namespace, images.workload)
    return namespace


@pytest.fixture(scope="module")
def run(module_namespace: Kubectl, images: Images) -> Iterator[Run]:
    """One live view, of which many tests want something."""
    kubectl = module_namespace
    apply_work(kubectl, images.workload)
    process = kubectl.start(
        "podtrace", "web-0", "-o", "json", "--for", "30m", *METRICS, start_new_session=True
    )
    run = Run(process)
    yield run
    process.send_signal(signal.SIGINT)
    code, said = run.rest()
    assert code == 0, said
    assert run.missing == 0


@pytest.fixture
def port(run: Run) -> int:
    """Return the port of its metrics, which answer."""
    return port_of(run)


def test_counts_are_those_of_the_stream(run: Run, port: int) -> None:
    name = "podtrace_operations_total"
    named = {"namespace": run_namespace(run), "pod": "web-0", "container": "main"}
    wait_for_operations(port, **named)
    before = reads_of(run)
    reads = total(get(port)[1], name, type="read", **named)
    # The stream may be a moment behind the metrics.
    run.until("health", run.count("health") + 2)
    assert 0 < before <= reads <= reads_of(run)


def test_localhost_answers_by_both_families(port: int) -> None:
    assert get(port)[0] == 200
    if socket.has_ipv6:
        assert get(port, "::1")[0] == 200


def test_a_thousand_requests_of_twenty_clients_are_answered(run: Run, port: int) -> None:
    ticks = run.count("health")
    with ThreadPoolExecutor(CLIENTS) as threads:
        answers = Counter(threads.map(lambda _: get(port)[0], range(REQUESTS)))
    assert answers == {200: REQUESTS}
    run.until("health", ticks + 1)


def test_one_connection_serves_many_requests(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    assert {ask(connection)[0] for _ in range(200)} == {200}
    connection.close()


def test_client_that_sends_no_more_gets_its_answer(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as reader:
            answer = reader.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert f"Content-Length: {len(body)}\r\n".encode() in head + b"\r\n"


def test_slow_clients_do_not_hold_up_others(port: int) -> None:
    slow = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(10)]
    for client in slow:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
    assert [get(port)[0] for _ in range(20)] == [200] * 20
    for client in slow:
        client.close()


def test_port_is_no_other_run_s_to_take(namespace: Kubectl, images: Images, port: int) -> None:
    apply_work(namespace, images.workload)
    options = ("--metrics", "--metrics-port", str(port))
    done = namespace.podtrace("web-0", "--diagnose", "2s", *options, check=False)
    assert done.code == 1
    assert f"error: port {port} of 127.0.0.1 is in use by another program" in done.stderr
    assert leavings(namespace) == []


def test_two_runs_on_one_node_have_their_own(
    namespace: Kubectl, images: Images, port: int, start: Callable[..., Run]
) -> None:
    apply_work(namespace, images.workload)
    second = start(namespace, "web-0", "-o", "json", *METRICS)
    other = port_of(second)
    assert other != port
    names = {"namespace": namespace.namespace}
    wait_for_operations(other, **names)
    assert total(get(port)[1], "podtrace_operations_total", **names) == 0
    second.process.send_signal(signal.SIGINT)
    assert second.rest()[0] == 0
    assert get(port)[0] == 200


def reads_of(run: Run) -> int:
    """Return the reads that the stream has told of."""
    return sum(line["count"] for line in run.lines if line.get("metric") == "read")


def run_namespace(run: Run) -> str:
    hello = next(line for line in run.lines if line["kind"] == "hello")
    return str(hello["targets"][0]["namespace"])


def test_metrics_come_beside_a_report(shop: Kubectl) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ("--diagnose", "8s", "-o", "json", "--metrics", "--metrics-port", str(port))
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(shop.podtrace, "web-0", *options)
        seen: list[float] = []
        while not done.done():
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, text = get(port)
                if status == 200:
                    seen.append(total(text, "podtrace_operations_total", type="read"))
            time.sleep(0.5)
    report = json.loads(done.result().stdout)
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert 0 < seen[-1] <= report["filesystem"]["read"]["count"]


def test_request_before_the_tracer_is_ready_is_answered_with_503(
    shop: Kubectl, start: Callable[..., Run]
) -> None:
    run = start(shop, "web-0", "-o", "json", *METRICS)
    (port,) = ports_of(run).values()
    status, said = get(port)
    if not run.count("hello"):
        assert (status, said.count("\n")) == (503, 1)
    wait_for_status(port, 200)
    run.process.send_signal(signal.SIGINT)
    assert run.rest()[0] == 0


def test_deleted_tracer_ends_the_run_and_frees_the_port(
    shop: Kubectl, start: Callable[..., Run]
) -> None:
    run = start(shop, "web-0", "-o", "json", *METRICS)
    port = port_of(run)
    name = wait_for_tracer(shop)
    idle = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    assert ask(idle)[0] == 200
    shop.run("delete", "pod", name, "--wait=false")
    begin = time.monotonic()
    code, said = run.rest()
    assert time.monotonic() - begin < END_SECONDS
    assert code == 1
    assert "its pod was deleted" in said
    with pytest.raises(OSError):
        get(port)
    idle.close()
    wait_for_none(shop)


def test_each_node_has_a_port(
    namespace: Kubectl, images: Images, nodes: list[str], start: Callable[..., Run]
) -> None:
    if len(nodes) < 2:
        pytest.skip("the cluster has one node")
    pods = [pod(f"web-{node}", images.workload, ["-c", WORK], node=node) for node in nodes[:2]]
    names = [each["metadata"]["name"] for each in pods]
    namespace.apply(*pods)
    namespace.wait_for_pods(*names)
    run = start(namespace, *names, "-o", "json", *METRICS)
    ports = ports_of(run, 2)
    assert sorted(str(node) for node in ports) == nodes[:2]
    for node, port in ports.items():
        text = wait_for_operations(port, pod=f"web-{node}")
        others = {f"web-{other}" for other in ports if other != node}
        assert not any(total(text, "podtrace_operations_total", pod=name) for name in others)
    run.process.send_signal(signal.SIGINT)
    assert run.rest()[0] == 0


def test_right_to_forward_is_asked_for_and_is_enough(
    shop: Kubectl, start: Callable[..., Run]
) -> None:
    space, user = shop.namespace, f"jane-of-{shop.namespace}"
    shop.run("apply", "--filename=-", stdin=role_text(space, user=user))
    line = ("web-0", "-o", "json", "--as", user, *METRICS)
    done = shop.podtrace(*line, check=False)
    assert done.code == 1
    assert f"error: you may not get pods/portforward in namespace {space}" in done.stderr
    assert leavings(shop) == []
    role = [text[2:] for text in done.stderr.splitlines() if text.startswith("  ")]
    shop.run("apply", "--filename=-", stdin="\n".join(role))
    run = start(shop, *line)
    port_of(run)
    run.process.send_signal(signal.SIGINT)
    assert run.rest()[0] == 0
