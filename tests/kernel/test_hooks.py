"""Whichever hook a probe is attached to and whatever helpers there are, the counts are the same.

What newer kernels have is hidden from the tracer, so that it goes the way it goes on older ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from kernel.exact_checks import ExactChecks, ExactRun
from kernel.exact_runs import run_beside_neighbour
from podtracer.features import HELPERS
from podtracer.hooks import TP_BTF
from podtracer.probes import PROBES
from workload.stage import Stage

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
            assert (told["state"], told["hook"]) == ("attached", f"raw_tp/{probe.name}")
            assert told["reason"] == f"not tp_btf/{probe.name}: it is switched off"
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
