"""Machines with nothing but cgroups of version 1: the same exact counts as anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kernel.exact_checks import ExactChecks, ExactRun
from kernel.exact_runs import run_beside_neighbour
from kernel.hidden import VERSION_1, stage_of_version_1
from workload.stage import Stage


@pytest.fixture(scope="module")
def version_1() -> Iterator[Stage]:
    yield from stage_of_version_1()


@pytest.fixture(scope="module")
def by_cgroup(version_1: Stage, tmp_path_factory: pytest.TempPathFactory) -> ExactRun:
    folder = tmp_path_factory.mktemp("cgroup")
    return run_beside_neighbour(version_1, folder, hidden=VERSION_1)[0]


class TestCgroup(ExactChecks):
    @pytest.fixture
    def run(self, by_cgroup: ExactRun) -> ExactRun:
        return by_cgroup

    def test_only_the_target_appears(self, run: ExactRun) -> None:
        assert [entry["host_pid"] for entry in run.report["cpu_usage"]] == [run.truth["pid"]]
        assert {e["host_pid"] for e in run.report["process_activity"]} == {run.truth["pid"]}
