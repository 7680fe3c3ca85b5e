"""The page of metrics against workloads that know what they did."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conftest import SYSTEM_PYTHON
from kernel.exact_checks import OWN_FILE_OPERATIONS
from kernel.metered import MeteredTrace
from kernel.servers import DNS_DELAY_SECONDS, start_servers
from kernel.tracing import PATIENCE_SECONDS
from metrics_page import Page
from podtracer.metrics.families import FAMILIES, HISTOGRAM
from workload.stage import SLOWNESS, Stage

STORM_SECONDS = 8
LONGEST_TICK_SECONDS = 3.0 * SLOWNESS
"""A machine that others use too lets a process wait for a CPU."""


@pytest.fixture(scope="module", autouse=True)
def library() -> None:
    found = subprocess.run([SYSTEM_PYTHON, "-c", "import prometheus_client"], capture_output=True)
    if found.returncode:
        pytest.skip(f"metrics need prometheus_client for {SYSTEM_PYTHON}: `make deps`")


@dataclass
class Run:
    page: Page
    truth: dict[str, Any]
    lines: list[dict[str, Any]]
    lint: list[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("metrics")
    with Stage() as stage:
        servers = start_servers(stage)
        inside, beside = stage.cgroup("target"), stage.cgroup("neighbour")
        arguments = servers.exact_arguments(stage.folder / "data")
        target = stage.start("exact.py", *arguments, cgroups=[inside])
        neighbour = stage.start("exact.py", *arguments, cgroups=[beside])
        with MeteredTrace(folder, "--cgroup", inside) as trace:
            target.go()
            neighbour.go()
            target.wait_done()
            neighbour.wait_done()
            page = trace.page()
            status, text = trace.ask("/metrics")
            assert status == 200
        return Run(page, target.truth(), trace.lines(), _lint(text))


def _lint(text: bytes) -> list[str]:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: make deps")
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True)
    return done.stderr.decode().splitlines()


def count(page: Page, family: str, type: str) -> float:
    return page.total(f"podtrace_{family}_count", type=type)


def test_connects_are_counted_by_outcome(run: Run) -> None:
    page, truth = run.page, run.truth
    assert page.total("podtrace_connect_attempts_total") == truth["connects"] == 23
    refused = page.total("podtrace_connect_failures_total", error="ECONNREFUSED")
    assert refused == page.total("podtrace_connect_failures_total") == truth["connects_refused"]
    assert count(page, "latency_seconds", "connect") == truth["connects_established"] == 16
    assert page.total("podtrace_operations_total", type="connect") == 23
    assert page.value("podtrace_connects_in_progress") == 0


def test_dns_is_counted_by_outcome(run: Run) -> None:
    page, truth = run.page, run.truth
    assert page.total("podtrace_dns_queries_total") == truth["dns_queries"] == 41
    assert page.total("podtrace_dns_errors_total", rcode="NXDOMAIN") == truth["dns_nxdomain"] == 5
    assert page.total("podtrace_dns_errors_total") == 5
    answered = truth["dns_queries"] - truth["dns_unanswered"]
    assert count(page, "dns_latency_seconds_histogram", "query") == answered
    timeouts = page.total("podtrace_dns_timeouts_total")
    assert timeouts + (page.value("podtrace_dns_pending") or 0) == truth["dns_unanswered"] == 3
    seconds = page.total("podtrace_dns_latency_seconds_histogram_sum", type="query")
    assert answered * DNS_DELAY_SECONDS <= seconds <= sum(truth["dns_seconds"])


def test_files_are_counted(run: Run) -> None:
    page, truth = run.page, run.truth
    for call, own in (("open", 1), ("read", 1), ("write", 0), ("fsync", 0)):
        counted = count(page, "fs_latency_seconds_histogram", call)
        least = truth[f"{call}s"]
        assert least <= counted <= least + own * OWN_FILE_OPERATIONS
    assert page.total("podtrace_bytes_total", type="write") == truth["write_bytes"]
    missing = page.total("podtrace_operation_errors_total", type="open", error="ENOENT")
    assert missing == truth["opens_failed"]


def test_tcp_calls_and_bytes_are_counted(run: Run) -> None:
    page, truth = run.page, run.truth
    for call in ("send", "receive"):
        assert count(page, "latency_seconds", call) == truth[f"{call}s"]
        assert page.total("podtrace_bytes_total", type=call) == truth["tcp_bytes_each_way"]
        assert page.total("podtrace_operations_total", type=call) == truth[f"{call}s"]


def test_cpu_time_and_sleep_are_counted(run: Run) -> None:
    page, truth = run.page, run.truth
    cpu = page.total("podtrace_cpu_seconds_total")
    assert cpu == pytest.approx(truth["cpu_ns"] / 1e9, rel=0.1)
    slept = page.total("podtrace_off_cpu_seconds_total", reason="sleep")
    assert 0.9 * truth["sleep_ns"] / 1e9 <= slept <= truth["sleep_ns"] / 1e9


def test_all_of_it_is_the_targets_and_of_one_process_name(run: Run) -> None:
    for name, samples in run.page.samples.items():
        for labels in samples:
            found = dict(labels)
            if "process_name" in found:
                assert (found["process_name"][:6], found["pod"]) == ("python", ""), name


def test_the_page_says_what_the_stream_says(run: Run) -> None:
    streamed: dict[str, int] = {}
    for line in run.lines:
        if line["kind"] == "series":
            streamed[line["metric"]] = streamed.get(line["metric"], 0) + line["count"]
    for family, type, metric in (
        ("latency_seconds", "connect", "connect"),
        ("fs_latency_seconds_histogram", "read", "read"),
        ("rtt_seconds", "rtt", "rtt"),
        ("dns_latency_seconds_histogram", "query", "dns"),
    ):
        assert count(run.page, family, type) == streamed[metric] > 0


def test_buckets_add_up(run: Run) -> None:
    page = run.page
    seen = 0
    for family in FAMILIES.values():
        if family.kind != HISTOGRAM:
            continue
        for labels in page.labels_of(f"{family.name}_count"):
            seen += 1
            bounds = sorted(
                {found["le"] for found in page.labels_of(f"{family.name}_bucket")}, key=float
            )
            assert len(bounds) == len(family.powers) + 1
            values = [page.value(f"{family.name}_bucket", le=le, **labels) for le in bounds]
            assert values == sorted(values)  # type: ignore[type-var]
            assert values[-1] == page.value(f"{family.name}_count", **labels)
    assert seen >= 11


def test_nothing_is_lost_and_every_family_is_known(run: Run) -> None:
    assert run.page.total("podtrace_lost_total") == 0
    assert run.page.types.keys() <= FAMILIES.keys()
    assert run.page.value("podtrace_lost_total", place="ring_full") == 0


def test_promtool_complains_of_the_promised_names_alone(run: Run) -> None:
    assert sorted(run.lint) == [
        f"podtrace_{name}_{kind} metric name should not include type '{kind}'"
        for name in ("cpu_block_seconds", "dns_latency_seconds", "fs_latency_seconds")
        for kind in ("gauge", "histogram")
    ]


def _named(folder: Path, name: bytes) -> bytes:
    """Return a path to the interpreter; the kernel calls a process after what it executes."""
    path = os.path.join(os.fsencode(folder), name)
    os.symlink(SYSTEM_PYTHON, path)
    return path


def test_a_process_with_a_hostile_name_does_no_harm(tmp_path: Path) -> None:
    script = "import os, time\nwhile True: os.listdir('/'); open('/etc/hostname'); time.sleep(.1)"
    program = _named(tmp_path, b'a"} 1\n\\\xff\x1b').decode(errors="surrogateescape")
    with MeteredTrace(tmp_path, "--command", "--", program, "-c", script) as trace:
        page = trace.page()
        names = {labels["process_name"] for labels in page.labels_of("podtrace_operations_total")}
    assert 'a"} 1\\x0a\\\\xff\\x1b' in names


def test_fifty_names_in_room_for_five(tmp_path: Path) -> None:
    options = ("--metrics-processes", 5)
    code = "import os; r, w = os.pipe(); [os.write(w, b'x') for _ in range(100)]"
    with Stage() as stage:
        inside = stage.cgroup("many")
        with MeteredTrace(tmp_path, "--cgroup", inside, options=options) as trace:
            for number in range(50):
                program = _named(tmp_path, b"job%d" % number).decode()
                joined = f"echo $$ > {inside}/cgroup.procs; exec {program} -Ic {shlex.quote(code)}"
                subprocess.run(["sh", "-c", joined], check=True)
            page = trace.page()
    name = "podtrace_operations_total"
    assert page.total(name, type="pipe") == 50 * 100
    assert page.total(name, type="exec") == 50
    listed = {labels["process_name"] for labels in page.labels_of(name)}
    assert len(listed - {"other", "(unknown)"}) == 5
    assert "other" in listed


def _misbehave(address: tuple[str, int], until: float) -> None:
    """Be several bad clients at once: silent, slow, greedy, without end."""
    held: list[socket.socket] = []
    while time.monotonic() < until:
        for sent in (
            b"",
            b"GET /met",
            b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50,
            b"X" * 20_000,
        ):
            with contextlib.suppress(OSError):
                sock = socket.create_connection(address, timeout=0.5)
                held.append(sock)
                sock.sendall(sent)
        time.sleep(0.005)
        while len(held) > 300:
            held.pop(0).close()
    for sock in held:
        sock.close()


def test_clients_that_misbehave_neither_hold_up_the_ticks_nor_fill_the_memory(
    tmp_path: Path,
) -> None:
    with MeteredTrace(tmp_path, "--command", "--", "sleep", "300") as trace:
        before = trace.page()
        until = time.monotonic() + STORM_SECONDS
        clients = [
            threading.Thread(target=_misbehave, args=((trace.host, trace.port), until))
            for _ in range(4)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        page = trace.page()
        intervals = [line["interval_ns"] for line in trace.lines() if line["kind"] == "health"]
        memory = [found.value("podtrace_tracer_memory_bytes") or 0.0 for found in (before, page)]
    assert len(intervals) >= STORM_SECONDS
    assert max(intervals) < LONGEST_TICK_SECONDS * 1e9
    assert memory[1] - memory[0] < 16 << 20


def test_a_port_that_is_taken_is_said_before_anything_is_compiled(tmp_path: Path) -> None:
    with MeteredTrace(tmp_path, "--command", "--", "sleep", "60") as first:
        address = first.hello["metrics"]
        second = MeteredTrace(tmp_path, "--pid", os.getpid(), address=address, wait=False)
        assert second.process.wait(PATIENCE_SECONDS) == 1
        (line,) = second.lines()
        assert (line["kind"], line["code"]) == ("error", "metrics_port")
        assert "--metrics-port" in line["hint"]


def test_without_the_library_one_error_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "prometheus_client").mkdir()
    (tmp_path / "prometheus_client/__init__.py").write_text("raise ImportError('not here')")
    path = f"{tmp_path}:{Path(__file__).parents[2] / 'tracer-image'}"
    trace = MeteredTrace(
        tmp_path, "--pid", os.getpid(), environment={"PYTHONPATH": path}, wait=False
    )
    assert trace.process.wait(PATIENCE_SECONDS) == 1
    (line,) = trace.lines()
    assert (line["kind"], line["code"]) == ("error", "no_prometheus_client")
    assert line["hint"] == "Install it with: apt install python3-prometheus-client"


def test_a_stopped_tracer_leaves_no_port_and_its_last_line(tmp_path: Path) -> None:
    with MeteredTrace(tmp_path, "--command", "--", "sleep", "60") as trace:
        trace.page()
        trace.process.send_signal(signal.SIGTERM)
        trace.process.wait(PATIENCE_SECONDS)
        assert trace.lines()[-1]["kind"] == "end"
        with pytest.raises(ConnectionRefusedError):
            trace.ask("/metrics")
