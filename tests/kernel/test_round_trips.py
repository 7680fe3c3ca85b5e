"""Round trips from the kernel's samples over a link of 31 ms, and what is no round trip."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from kernel.tracing import Report, Trace
from kernel.truths import assert_between_truths
from workload.stage import Stage

RTT_MS = 31.0
RTT_SECONDS = RTT_MS / 1000
SPIKE_SECONDS = 0.1
IDLE_SECONDS = 2.5
UPLOAD_TIMES = 40
UPLOAD_BYTES = 1000
ACCOUNT_BEFORE = 3
RESULTS_OF = {"upload": (4, 5), "before": (6,), "echo": (7, 8), "ipv6": (9, 10)}
"""Positions of the steps' results that tell of a connection's round trips; the last is its account.

A connect is a round trip too; that of "before" came before the trace.
"""


@dataclass
class Run:
    report: Report
    results: list[Any]
    far: str
    ports: dict[str, int]

    def measured(self, name: str) -> list[float]:
        """Return how long each exchange that holds a round trip took for the workload."""
        return [seconds for at in RESULTS_OF[name] for seconds in self.results[at]["seconds"]]

    def all_measured(self) -> list[float]:
        return [seconds for name in RESULTS_OF for seconds in self.measured(name)]

    def retransmits(self) -> int:
        """Return how many segments the kernel says that it sent again in the trace."""
        accounts = [self.results[positions[-1]] for positions in RESULTS_OF.values()]
        total: int = sum(account["retransmits"] for account in accounts)
        return total - int(self.results[ACCOUNT_BEFORE]["retransmits"])

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
        ["account", {"socket_name": "before"}],
        ["gate", {}],
        ["connect", {"address": far, "port": ports["upload"], "keep": "upload"}],
        ["upload", {"socket_name": "upload", "times": UPLOAD_TIMES, "size": UPLOAD_BYTES}],
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
    return Run(report, program.truth()["results"], far, ports)


@pytest.fixture(scope="module", params=["cgroup", "pid"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with Stage() as stage:
        yield _run(stage, tmp_path_factory.mktemp("rtt"), request.param == "pid")


@pytest.mark.parametrize("name", ["upload", "before", "echo"])
def test_round_trips_are_those_of_the_link(run: Run, name: str) -> None:
    rtt = run.peer(name)["rtt"]
    assert rtt["count"] >= 10
    assert_between_truths(rtt, RTT_SECONDS, run.measured(name))


def test_ipv6_has_round_trips_too(run: Run) -> None:
    [peer] = [peer for peer in run.report["tcp.peers"] if ":" in peer["address"]]
    assert peer["rtt"]["count"] >= 10
    assert_between_truths(peer["rtt"], RTT_SECONDS, run.measured("ipv6"))


def test_an_upload_is_sent_bytes_without_receives(run: Run) -> None:
    peer = run.peer("upload")
    assert peer["sent_bytes"] in (None, UPLOAD_TIMES * UPLOAD_BYTES)


def test_each_segment_gives_at_most_one_sample(run: Run) -> None:
    assert run.peer("echo")["rtt"]["count"] <= 15 + 1
    assert run.peer("upload")["rtt"]["count"] <= UPLOAD_TIMES + 1


def test_an_idle_connection_has_no_round_trip(run: Run) -> None:
    idle = [p for p in run.report["tcp.peers"] if p["port"] == run.ports["idle"]]
    assert sum(peer["rtt"]["count"] for peer in idle) == 0


def test_waiting_in_a_receive_is_not_work(run: Run) -> None:
    receive = run.report["tcp.receive"]
    assert receive["p50_seconds"] < RTT_SECONDS / 2
    assert receive["max_seconds"] < IDLE_SECONDS / 2
    assert receive["waiting_seconds"] >= IDLE_SECONDS


def test_retransmits_are_those_of_the_sockets(run: Run) -> None:
    """None on this link, unless the machine stood still for longer than a round trip."""
    assert run.report["tcp.retransmits"] == run.retransmits()


def test_no_spike_is_seen_on_a_steady_link(run: Run) -> None:
    """None, unless the workload met one itself: a machine that stands still makes some."""
    measured = run.all_measured()
    assert run.report["tcp.rtt_spikes"] <= sum(s >= SPIKE_SECONDS for s in measured)
    assert_between_truths(run.report["tcp.rtt"], RTT_SECONDS, measured)
