"""Round trips from the kernel's samples over a link of 31 ms, and what is no round trip."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from kernel.tracing import Report, Trace
from workload.stage import Stage

RTT_MS = 31.0
IDLE_SECONDS = 2.5
UPLOAD_TIMES = 40
UPLOAD_BYTES = 1000
ACCOUNT_OF = {"upload": 4, "before": 5, "echo": 7, "ipv6": 9}
"""Positions of the steps' results that are the kernel's own account of the connection."""


@dataclass
class Run:
    report: Report
    results: list[Any]
    rtt_seconds: float
    far: str
    ports: dict[str, int]

    def account(self, name: str) -> dict[str, int]:
        account: dict[str, int] = self.results[ACCOUNT_OF[name]]
        return account

    def peer(self, name: str) -> dict[str, Any]:
        return self.report.entry("tcp.peers", address=self.far, port=self.ports[name])


def _run(stage: Stage, folder: Any, by_pid: bool) -> Run:
    link = stage.start("link.py", "--rtt-ms", RTT_MS)
    near, far, far_ipv6 = (link.facts[key] for key in ("near", "far", "far_ipv6"))
    ports = {}
    for name in ("upload", "before", "idle", "echo"):
        option = ["--sink"] if name == "upload" else []
        server = stage.start("tcp_server.py", "--listen", near, *option)
        ports[name] = server.facts["port"]
    sixth = stage.start("tcp_server.py", "--listen", link.facts["near_ipv6"])
    ports["ipv6"] = sixth.facts["port"]
    kept = [
        ["connect", {"address": far, "port": ports[name], "keep": name}]
        for name in ("before", "idle")
    ]
    steps = [
        *kept,
        ["exchange", {"socket_name": "idle", "times": 3}],
        ["gate", {}],
        ["connect", {"address": far, "port": ports["upload"], "keep": "upload"}],
        [
            "upload",
            {"socket_name": "upload", "times": UPLOAD_TIMES, "size": UPLOAD_BYTES, "pause": 0.02},
        ],
        ["exchange", {"socket_name": "before", "times": 20}],
        ["connect", {"address": far, "port": ports["echo"], "keep": "echo"}],
        ["exchange", {"socket_name": "echo", "times": 15}],
        ["connect", {"address": far_ipv6, "port": ports["ipv6"], "keep": "ipv6"}],
        ["exchange", {"socket_name": "ipv6", "times": 15}],
        ["receive_nothing", {"socket_name": "idle", "seconds": IDLE_SECONDS}],
    ]
    cgroup = stage.cgroup("round-trips")
    program = stage.start("steps.py", json.dumps(steps), cgroups=[cgroup])
    scope = ("--pid", program.pid) if by_pid else ("--cgroup", cgroup)
    with Trace(folder, *scope) as trace:
        program.go()
        program.wait_done()
        trace.wait_tick()
        report = trace.stop()
    results = program.truth()["results"]
    rtt_seconds = 2 * link.truth()["delay_p50_ns"] / 1e9
    return Run(report, results, rtt_seconds, far, ports)


@pytest.fixture(scope="module", params=["cgroup", "pid"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with Stage() as stage:
        yield _run(stage, tmp_path_factory.mktemp("rtt"), request.param == "pid")


def test_link_has_the_delay_that_was_meant(run: Run) -> None:
    assert run.rtt_seconds == pytest.approx(RTT_MS / 1000, rel=0.03)


@pytest.mark.parametrize("name", ["upload", "before", "echo"])
def test_p50_is_the_round_trip_of_the_link(run: Run, name: str) -> None:
    """At least the link's, at most what the workload met: a busy machine's relay is late."""
    rtt = run.peer(name)["rtt"]
    account = run.account(name)
    met_seconds = account.get("median_us", account["rtt_us"]) / 1e6
    assert rtt["count"] >= 10
    assert rtt["p50_seconds"] >= 0.95 * run.rtt_seconds
    assert rtt["p50_seconds"] <= 1.05 * max(run.rtt_seconds, met_seconds)


def test_ipv6_has_round_trips_too(run: Run) -> None:
    [peer] = [peer for peer in run.report["tcp.peers"] if ":" in peer["address"]]
    met_seconds = run.account("ipv6")["median_us"] / 1e6
    assert peer["rtt"]["p50_seconds"] >= 0.95 * run.rtt_seconds
    assert peer["rtt"]["p50_seconds"] <= 1.05 * max(run.rtt_seconds, met_seconds)


def test_an_upload_is_sent_bytes_without_receives(run: Run) -> None:
    peer = run.peer("upload")
    assert peer["sent_bytes"] in (None, UPLOAD_TIMES * UPLOAD_BYTES)


def test_each_segment_gives_at_most_one_sample(run: Run) -> None:
    assert run.peer("echo")["rtt"]["count"] <= 15 + 1 + 2
    assert run.peer("upload")["rtt"]["count"] <= UPLOAD_TIMES + 2


def test_an_idle_connection_has_no_round_trip(run: Run) -> None:
    idle = [p for p in run.report["tcp.peers"] if p["port"] == run.ports["idle"]]
    assert sum(peer["rtt"]["count"] for peer in idle) == 0


def test_waiting_in_a_receive_is_not_work(run: Run) -> None:
    receive = run.report["tcp.receive"]
    assert receive["max_seconds"] < 0.02
    assert receive["waiting_seconds"] >= IDLE_SECONDS


def test_retransmits_are_those_of_the_sockets(run: Run) -> None:
    """None on this link, unless the machine stood still for longer than a round trip."""
    assert run.report["tcp.retransmits"] == sum(
        run.account(name)["retransmits"] for name in ACCOUNT_OF
    )


def test_no_spike_is_seen_on_a_steady_link(run: Run) -> None:
    assert run.report["tcp.rtt_spikes"] == 0
    assert run.report["tcp.rtt.p99_seconds"] < 0.1
