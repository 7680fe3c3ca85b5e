"""A cgroup and a process with exact counts, beside a neighbour that does ten times as much.

The neighbour is the same program under the same name, with the same servers, ports and file.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import jsonschema
import pytest

from kernel.exact_checks import ExactChecks, ExactRun
from kernel.exact_runs import run_beside_neighbour
from kernel.tracing import PATIENCE_SECONDS, ROOT, command
from workload.stage import Stage


@pytest.fixture(scope="module")
def by_cgroup(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExactRun, Path]:
    with Stage() as stage:
        return run_beside_neighbour(stage, tmp_path_factory.mktemp("cgroup"), by_pid=False)


@pytest.fixture(scope="module")
def by_pid(tmp_path_factory: pytest.TempPathFactory) -> ExactRun:
    with Stage() as stage:
        return run_beside_neighbour(stage, tmp_path_factory.mktemp("pid"), by_pid=True)[0]


class TestCgroup(ExactChecks):
    @pytest.fixture
    def run(self, by_cgroup: tuple[ExactRun, Path]) -> ExactRun:
        return by_cgroup[0]

    def test_only_the_target_appears(self, run: ExactRun) -> None:
        assert run.neighbour is not None
        assert run.neighbour["reads"] == 10 * run.truth["reads"]
        assert [entry["host_pid"] for entry in run.report["cpu_usage"]] == [run.truth["pid"]]
        assert {e["host_pid"] for e in run.report["process_activity"]} == {run.truth["pid"]}

    def test_report_follows_the_schema(self, run: ExactRun) -> None:
        schema = json.loads((ROOT / "docs" / "report.schema.json").read_text())
        jsonschema.validate(run.report.tree, schema)

    def test_replay_gives_the_same_report(self, by_cgroup: tuple[ExactRun, Path]) -> None:
        run, recording = by_cgroup
        replayed = subprocess.run(
            command("replay", recording, "-o", "json"),
            capture_output=True,
            timeout=PATIENCE_SECONDS,
        )
        assert json.loads(replayed.stdout) == run.report.tree


class TestProcess(ExactChecks):
    @pytest.fixture
    def run(self, by_pid: ExactRun) -> ExactRun:
        return by_pid

    def test_only_the_target_appears(self, run: ExactRun) -> None:
        assert [entry["host_pid"] for entry in run.report["cpu_usage"]] == [run.truth["pid"]]
        assert {e["host_pid"] for e in run.report["process_activity"]} == {run.truth["pid"]}
