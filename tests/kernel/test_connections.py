"""Connects of every outcome, accepted connections and resets. One traced run, many figures."""

from __future__ import annotations

import json
import platform
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kernel.servers import start_servers
from kernel.tracing import Report, Trace
from kernel.truths import assert_between_truths
from podtracer.plan import SYSCALLS
from workload.stage import READY_SECONDS, Program, Stage

BLACKHOLE_PORT = 7001
UNREACHABLE_PORT = 7002
RTT_MS = 25.0
GIVEN_UP_SECONDS = 0.3
ACCEPTS = 9
ACCEPTS_IPV6 = 4
ACCEPT_NUMBERS = {str(number) for number in SYSCALLS[platform.machine()]["CALL_ACCEPT"].values()}
FAR, FAR_IPV6 = 2, 3
"""Positions of the steps' results that tell of the connects over the link."""


@dataclass
class Run:
    report: Report
    results: list[Any]
    far: str
    far_ipv6: str
    port: int

    def peer(self, address: str, port: int) -> dict[str, Any]:
        return self.report.entry("connections.targets", address=address, port=port)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def greet(address: str, port: int, times: int, seconds: float = 0.0) -> None:
    """Connect, wait for so long, and exchange a message, each time anew."""
    for _ in range(times):
        with socket.create_connection((address, port), timeout=60) as sock:
            time.sleep(seconds)
            sock.send(b"hello")
            assert sock.recv(100) == b"hello"


def _waiting_server(stage: Stage, cgroup: Path, address: str, port: int) -> Program:
    """Start a server that has come to wait in accept()."""
    steps: list[Any] = [
        ["listen", {"address": address, "port": port}],
        ["gate", {}],
        ["accept", {"times": ACCEPTS}],
    ]
    server = stage.start("steps.py", json.dumps(steps), cgroups=[cgroup])
    server.go()
    deadline = time.monotonic() + READY_SECONDS
    while Path(f"/proc/{server.pid}/syscall").read_text().split()[0] not in ACCEPT_NUMBERS:
        assert time.monotonic() < deadline, "the server does not come to accept()"
        time.sleep(0.01)
    return server


@pytest.fixture(scope="module")
def run(module_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    stage = module_stage
    servers = start_servers(stage)
    link = stage.start(
        "link.py",
        *("--rtt-ms", RTT_MS, "--blackhole-port", BLACKHOLE_PORT),
        *("--unreachable-port", UNREACHABLE_PORT),
    )
    near, far, far_ipv6 = (link.facts[key] for key in ("near", "far", "far_ipv6"))
    distant = stage.start("tcp_server.py", "--listen", near, "--listen", link.facts["near_ipv6"])
    port = distant.facts["port"]
    own_port = _free_port()
    steps: list[list[Any]] = [
        ["listen", {"address": "::", "port": own_port}],
        ["gate", {}],
        ["accept", {"times": ACCEPTS + ACCEPTS_IPV6}],
        ["connect", {"address": far, "port": port, "times": 21}],
        ["connect", {"address": far_ipv6, "port": port, "times": 11}],
        ["connect", {"address": "127.0.0.1", "port": servers.port, "times": 5}],
        ["connect", {"address": "127.0.0.1", "port": servers.refused_port, "times": 3}],
        ["connect", {"address": "::1", "port": servers.refused_port, "times": 2}],
        ["connect", {"address": far, "port": UNREACHABLE_PORT, "times": 2}],
        ["connect", {"address": far, "port": BLACKHOLE_PORT, "syn_count": 1}],
        ["connect", {"address": "224.0.0.1", "port": 80, "times": 2}],
        [
            "begin_connect",
            {"address": far, "port": BLACKHOLE_PORT, "give_up_after": GIVEN_UP_SECONDS, "times": 2},
        ],
        ["connect_datagram", {"address": "127.0.0.1", "port": 9}],
        ["begin_connect", {"address": far, "port": BLACKHOLE_PORT, "times": 3}],
    ]
    cgroup = stage.cgroup("connections")
    program = stage.start("steps.py", json.dumps(steps), cgroups=[cgroup])
    with Trace(tmp_path_factory.mktemp("connections"), "--cgroup", cgroup) as trace:
        program.go()
        greet("127.0.0.1", own_port, ACCEPTS)
        greet("::1", own_port, ACCEPTS_IPV6)
        program.wait_done()
        trace.wait_tick()
        report = trace.stop()
    results = program.truth()["results"]
    yield Run(report, results, far, far_ipv6, port)


def test_workload_met_the_outcomes_that_were_meant(run: Run) -> None:
    timed = [result["outcomes"] for result in run.results if isinstance(result, dict)]
    flat = [outcome for outcomes in timed for outcome in outcomes]
    assert flat.count("ok") == 21 + 11 + 5
    assert flat.count("ECONNREFUSED") == 5
    assert flat.count("EHOSTUNREACH") == 2
    assert flat.count("ETIMEDOUT") == 1
    assert flat.count("ENETUNREACH") == 2


def test_errors_are_counted_by_name(run: Run) -> None:
    errors = dict(run.report["connections.errors"])
    assert errors.pop("ECONNREFUSED") == 5
    assert errors.pop("EHOSTUNREACH") == 2
    assert errors.pop("ETIMEDOUT") == 1
    assert errors.pop("ENETUNREACH") == 2
    assert list(errors.values()) == [2], "given up by the application"


def test_every_attempt_has_one_outcome(run: Run) -> None:
    assert run.report["connections.attempts"] == 37 + 5 + 2 + 1 + 2 + 2 + 3
    assert run.report["connections.failed"] == 5 + 2 + 1 + 2 + 2
    assert run.report["connections.latency.count"] == 37
    assert run.report["connections.in_progress"] == 3


def test_connect_delay_is_the_injected_one(run: Run) -> None:
    for address, step, count in ((run.far, FAR, 21), (run.far_ipv6, FAR_IPV6, 11)):
        latency = run.peer(address, run.port)["latency"]
        assert latency["count"] == count
        assert_between_truths(latency, RTT_MS / 1000, run.results[step]["seconds"])


def test_ip_versions_are_told_apart(run: Run) -> None:
    assert run.report["connections.ipv6.attempts"] == 11 + 2
    assert run.report["connections.ipv6.failed"] == 2


def test_a_refused_target_has_its_errors(run: Run) -> None:
    failing = [t for t in run.report["connections.targets"] if "ECONNREFUSED" in t["errors"]]
    assert sorted((t["address"], t["failed"]) for t in failing) == [("127.0.0.1", 3), ("::1", 2)]


def test_accepted_connections_are_no_connects(run: Run) -> None:
    assert run.report["connections.accepted"] == ACCEPTS + ACCEPTS_IPV6


def test_accepted_connections_have_sends_and_receives(run: Run) -> None:
    assert run.report["tcp.send.count"] == ACCEPTS + ACCEPTS_IPV6
    assert run.report["tcp.receive.count"] == ACCEPTS + ACCEPTS_IPV6


@pytest.mark.parametrize("scope", ["--cgroup", "--pid"])
def test_accept_that_waited_already_is_counted(stage: Stage, tmp_path: Path, scope: str) -> None:
    port, beside = _free_port(), stage.cgroup("beside")
    target = stage.cgroup("waiting")
    servers = [
        _waiting_server(stage, cgroup, address, port)
        for cgroup, address in ((target, "127.0.0.1"), (beside, "127.0.0.2"))
    ]
    pid = servers[0].pid
    with Trace(tmp_path, scope, target if scope == "--cgroup" else pid) as trace:
        for address in ("127.0.0.1", "127.0.0.2"):
            greet(address, port, ACCEPTS)
        for server in servers:
            server.wait_done()
        trace.wait_tick()
        report = trace.stop()
    assert report["connections.accepted"] == ACCEPTS
    counts: Counter[tuple[str, int]] = Counter()
    for line in trace.lines():
        if line["kind"] == "series" and line["metric"] in ("accept", "connection"):
            counts[line["metric"], line["process"]] += line["count"]
    assert counts == {("accept", pid): ACCEPTS, ("connection", pid): ACCEPTS}


def test_nothing_is_lost(run: Run) -> None:
    assert run.report["quality.lost_total"] == 0
