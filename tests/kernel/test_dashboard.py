"""A pod with every kind of trouble, a real Prometheus, and what the dashboard and the rules show.

A panel that shows nothing here never will.
"""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kernel.pod_tracing import Kubelet, PodTracer, finish, made, writer
from kernel.servers import DNS_ADDRESS, start_servers
from prometheus import (
    Prometheus,
    expressions,
    local_job,
    panel_queries,
    panels,
    substituted,
)
from workload.stage import Program, Stage, StageError, cgroup_mount

ROUNDS = 12
REFUSED_PER_ROUND = 3
DRAWN_SECONDS = 60
MEMORY_BYTES = 40 << 20
GREED = ["/usr/bin/python3", "-c", "x = bytearray(400 << 20)"]
QUOTA_US = 20_000
RECORDED = [name for name in expressions() if ":" in name]
DUE = ("PodtraceConnectsFail", "PodtraceDnsFails", "PodtraceOutOfMemory")
"""What deserves an alert here, however busy the machine is."""


@contextlib.contextmanager
def resetting_server() -> Iterator[int]:
    """Reset every connection; give the port."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection = server.accept()[0]
                    abort = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abort)
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def trouble(stage: Stage, reset_port: int) -> list[Any]:
    """Return the steps of a workload with which something is wrong all the time."""
    servers = start_servers(stage, delay_ms=2)
    link = stage.start(
        "link.py",
        *("--rtt-ms", 10, "--drop-every", 11, "--spike-every", 7, "--spike-ms", 150),
    )
    far = stage.start("tcp_server.py", "--listen", link.facts["near"])
    across = {"address": link.facts["far"], "port": far.facts["port"], "keep": "far"}
    dns = {"server": DNS_ADDRESS}
    reset = {"address": "127.0.0.1", "port": reset_port, "keep": "reset"}
    refused = {"address": "127.0.0.1", "port": servers.refused_port, "times": REFUSED_PER_ROUND}
    data = str(stage.folder / "data")
    one_round: list[Any] = [
        ["look_up", {**dns, "name": "nx.shop.test"}],
        ["look_up", {**dns, "name": "fail.shop.test"}],
        ["look_up", {**dns, "name": "db.d60.shop.test", "resend_after": 0.01}],
        ["look_up", {**dns, "name": "silent.shop.test", "wait": False}],
        ["connect", refused],
        ["connect", reset],
        ["receive_nothing", {"socket_name": "reset", "seconds": 5}],
        ["close", {"socket_name": "reset"}],
        ["exchange", {"socket_name": "far", "times": 6}],
        ["write_file", {"path": data, "times": 5, "fsync": True}],
        ["read_file", {"path": data, "times": 5}],
        ["open_each", {"paths": ["/nowhere"]}],
        ["use_others", {"times": 2}],
        ["burn", {"seconds": 0.1}],
        ["wait_for_lock", {"seconds": 0.01}],
        ["sleep", {"seconds": 0.5}],
    ]
    kill = ["execute", {"argv": GREED}]
    return [["connect", across], *one_round * (ROUNDS - 1), kill, *one_round]


@pytest.fixture(scope="module")
def troubled(module_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    stage, folder = module_stage, tmp_path_factory.mktemp("dashboard")
    pod = Kubelet(stage).pod("web-0")
    inside = pod.run("app")
    first = writer(stage, pod.run("helper"), 5)
    try:
        memory, cpu = (
            cgroup_mount(name) / inside.relative_to(cgroup_mount()) for name in ("memory", "cpu")
        )
    except StageError as error:
        pytest.skip(str(error))
    with made([memory, cpu]), resetting_server() as reset_port:
        (memory / "memory.limit_in_bytes").write_text(str(MEMORY_BYTES))
        (cpu / "cpu.cfs_quota_us").write_text(str(QUOTA_US))
        steps = json.dumps(trouble(stage, reset_port))
        program = stage.start("steps.py", steps, cgroups=[memory, cpu, inside])
        asked = [pod.asked(1)]
        with PodTracer(folder, asked, "--metrics", "127.0.0.1:0") as tracer:
            job = {**local_job(tracer.hello["metrics"]), "scrape_interval": "1s"}
            with Prometheus(folder / "prometheus", [job]) as prometheus:
                prometheus.wait_for("podtrace_tracer_ticks_total")
                program.go()
                finish(first)
                again: Program = writer(stage, pod.run("helper"), 5)
                pod.link("helper")
                finish(again)
                program.wait_done()
                prometheus.wait_for_ticks()
                yield prometheus
                program.truth()


@pytest.mark.parametrize(("title", "expression"), panel_queries(), ids=lambda text: text[:70])
def test_panel_shows_something(troubled: Prometheus, title: str, expression: str) -> None:
    drawn = troubled.series(substituted(expression), DRAWN_SECONDS, step=1)
    assert drawn, title
    assert any(value == value for values in drawn.values() for value in values), title


def test_panels_show_what_is_chosen(troubled: Prometheus) -> None:
    chosen = {"namespace": "shop", "pod": "web-0", "process": "python.*"}
    for panel in panels():
        expression = panel["targets"][0]["expr"]
        if "$namespace" in expression:
            assert troubled.series(substituted(expression, **chosen), DRAWN_SECONDS, step=1)
            elsewhere = substituted(expression, **chosen | {"namespace": "bank"})
            assert not troubled.series(elsewhere, DRAWN_SECONDS, step=1)


def test_failing_share_is_the_workloads(troubled: Prometheus) -> None:
    [expression] = [x for title, x in panel_queries() if title == "Connects failed"]
    [drawn] = troubled.series(substituted(expression), DRAWN_SECONDS, step=1).values()
    # Beside those refused, one that is reset. A rate may begin or end in the middle of a round.
    share = REFUSED_PER_ROUND / (REFUSED_PER_ROUND + 1)
    assert statistics.median(drawn) == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize("name", RECORDED)
def test_rule_records_something(troubled: Prometheus, name: str) -> None:
    values = troubled.series(name, DRAWN_SECONDS, step=1)
    assert values
    assert all('"pod": "web-0"' in labels for labels in values)


@pytest.mark.parametrize("name", DUE)
def test_trouble_is_due_for_an_alert(troubled: Prometheus, name: str) -> None:
    assert troubled.series(expressions()[name], DRAWN_SECONDS, step=1)


def test_every_rule_is_evaluated_without_an_error(troubled: Prometheus) -> None:
    groups = troubled.get("rules")["groups"]
    states = {rule["name"]: (rule["health"], rule.get("lastError")) for group in groups
              for rule in group["rules"]}  # fmt: skip
    assert states == {name: ("ok", None) for name in expressions()}


def test_counts_have_the_pod_and_its_containers(troubled: Prometheus) -> None:
    kills = troubled.query("podtrace_oom_kills_total > 0")
    restarts = troubled.query("podtrace_container_restarts_total > 0")
    for found, container in ((kills, "app"), (restarts, "helper")):
        [(labels, value)] = found.items()
        assert value == 1
        assert {name: dict(labels)[name] for name in ("namespace", "pod", "container")} == {
            "namespace": "shop", "pod": "web-0", "container": container,
        }  # fmt: skip
    refused = troubled.value("sum (podtrace_connect_failures_total)")
    assert refused == ROUNDS * REFUSED_PER_ROUND
