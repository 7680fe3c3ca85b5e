"""Whichever hook a probe is attached to and whatever helpers there are, the counts are the same.

What newer kernels have is hidden from the tracer, so that it goes the way it goes on older ones.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kernel.exact_checks import ExactChecks, ExactRun
from kernel.exact_runs import run_beside_neighbour
from kernel.tracing import Trace
from podtracer.features import HELPERS
from podtracer.hooks import FENTRY, FEXIT, KPROBE, RAW_TP, TP_BTF
from podtracer.probes import PROBES, Probe
from workload.stage import Stage

RESETS = 5
CHILDREN = 4
PROGRAMS = 3
FUNCTION_KINDS = {"entry": (FENTRY, FEXIT), "kprobe": (KPROBE,)}
OLD_KERNEL = (*(f"helper {name}" for name in HELPERS), "func bpf_rdonly_cast")


def traced_without(
    hidden: Sequence[str], folder: Path, by_pid: bool = False
) -> tuple[ExactRun, list[dict[str, str]]]:
    """Return an exact run and what became of the probes."""
    with Stage() as stage:
        run, recording = run_beside_neighbour(stage, folder, by_pid, hidden)
    hello = json.loads(recording.read_bytes().split(b"\n")[0])
    return run, hello["probes"]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> ExactRun:
    run, probes = traced_without(OLD_KERNEL, tmp_path_factory.mktemp("old"))
    assert {probe["state"] for probe in probes} == {"attached"}
    return run


@pytest.fixture(scope="module", params=[(), OLD_KERNEL], ids=["new", "old"])
def raw(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ExactRun:
    hidden = [f"hook {TP_BTF}", *request.param]
    run, probes = traced_without(hidden, tmp_path_factory.mktemp("raw"))
    found = {probe["name"]: probe for probe in probes}
    for probe in PROBES:
        if probe.hooks[0].kind == TP_BTF:
            told = found[probe.name]
            place = probe.hooks[0].attach_to
            assert (told["state"], told["hook"]) == ("attached", f"raw_tp/{place}")
            assert told["reason"] == f"not tp_btf/{place}: it is switched off"
    return run


@pytest.fixture(scope="module")
def raw_by_pid(tmp_path_factory: pytest.TempPathFactory) -> ExactRun:
    return traced_without([f"hook {TP_BTF}"], tmp_path_factory.mktemp("raw"), by_pid=True)[0]


class TestHelpersOfOldKernels(ExactChecks):
    @pytest.fixture
    def run(self, old: ExactRun) -> ExactRun:
        return old


class TestRawTracepoints(ExactChecks):
    @pytest.fixture
    def run(self, raw: ExactRun) -> ExactRun:
        return raw


class TestRawTracepointsOfProcesses(ExactChecks):
    @pytest.fixture
    def run(self, raw_by_pid: ExactRun) -> ExactRun:
        return raw_by_pid


def at_functions(way: str) -> tuple[list[Probe], list[str]]:
    """Return the probes that may be at functions, and what hides all other hooks of theirs."""
    wanted = FUNCTION_KINDS[way]
    probes = [probe for probe in PROBES if any(hook.kind in wanted for hook in probe.hooks)]
    others = {TP_BTF, RAW_TP, FENTRY, FEXIT, KPROBE} - set(wanted)
    hidden = [
        f"hook {hook.described}" for probe in probes for hook in probe.hooks if hook.kind in others
    ]
    return probes, hidden


def assert_at_functions(way: str, told: Sequence[dict[str, Any]]) -> None:
    """Skip where the kernel has no such hooks at all."""
    names = {probe.name for probe in at_functions(way)[0]}
    found = [probe for probe in told if probe["name"] in names]
    if not any(probe["state"] == "attached" for probe in found):
        pytest.skip(f"needs a kernel whose functions can be probed: {found[0]['reason']}")
    hooks = {probe["name"]: probe["hook"].partition("/")[0] for probe in found}
    assert set(hooks.values()) <= set(FUNCTION_KINDS[way]), found
    assert {probe["state"] for probe in found} == {"attached"}, found


@pytest.fixture(scope="module", params=FUNCTION_KINDS)
def functions(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ExactRun:
    hidden = at_functions(request.param)[1]
    run, probes = traced_without(hidden, tmp_path_factory.mktemp("functions"))
    assert_at_functions(request.param, probes)
    return run


class TestFunctions(ExactChecks):
    @pytest.fixture
    def run(self, functions: ExactRun) -> ExactRun:
        return functions


@contextmanager
def listener(backlog: int) -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(backlog)
        yield sock


def reset_all(server: socket.socket) -> None:
    for _ in range(RESETS):
        connection = server.accept()[0]
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


@pytest.mark.parametrize("way", ["tracepoint", "raw tracepoint", *FUNCTION_KINDS])
def test_what_is_rare_is_counted_by_every_hook(stage: Stage, tmp_path: Path, way: str) -> None:
    hidden = {"tracepoint": [], "raw tracepoint": [f"hook {TP_BTF}"]}.get(way)
    if hidden is None:
        hidden = at_functions(way)[1]
    with listener(RESETS) as resetting, listener(0) as full, socket.socket() as filler:
        # One connection that nobody accepts: further ones get no answer.
        filler.connect(full.getsockname())
        reset_port, full_port = (sock.getsockname()[1] for sock in (resetting, full))
        steps: list[Any] = [
            ["begin_connect", {"address": "127.0.0.1", "port": full_port}],
            ["sleep", {"seconds": 2.5}],
            ["account", {"socket_name": "begun0"}],
            ["close", {"socket_name": "begun0"}],
            ["burn", {"seconds": 0.01, "processes": CHILDREN}],
            ["execute", {"argv": ["/bin/true"], "times": PROGRAMS}],
        ]
        for number in range(RESETS):
            peer = {"address": "127.0.0.1", "port": reset_port, "keep": f"reset{number}"}
            steps += [
                ["connect", peer],
                ["receive_nothing", {"socket_name": peer["keep"], "seconds": 60}],
            ]
        cgroup = stage.cgroup("rare")
        program = stage.start("steps.py", json.dumps(steps), cgroups=[cgroup])
        server = threading.Thread(target=reset_all, args=(resetting,))
        server.start()
        environment = {"PODTRACE_HIDE": ",".join(hidden)}
        with Trace(tmp_path, "--cgroup", cgroup, environment=environment) as trace:
            program.go()
            program.wait_done()
            trace.wait_tick()
            report = trace.stop()
        server.join()
    if way in FUNCTION_KINDS:
        assert_at_functions(way, trace.hello["probes"])
    results = program.truth()["results"]
    # A reset that comes before connect() has returned is told by it, and the receive has no peer.
    assert set(results[7::2]) <= {"ECONNRESET", "ENOTCONN"}
    assert report["connections.errors"] == {"GIVEN_UP": 1}
    assert report["tcp.retransmits"] == results[2]["retransmits"] >= 1
    assert report["tcp.resets"] == RESETS
    assert report["summary.execs"] == PROGRAMS
    assert report["summary.exits"] == CHILDREN + PROGRAMS
