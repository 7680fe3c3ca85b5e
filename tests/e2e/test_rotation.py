"""The tracer's log is rotated again and again under the plugin: nothing is missing in silence."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from e2e.conftest import Images
from e2e.kubectl import Kubectl, pod
from e2e.leavings import wait_for_tracer
from e2e.tracing import PodTrace, missing_lines
from e2e.workloads import container
from kernel.tracing import Report

DATA = "/dev/shm/beat.data"
PROCESSES = 120
"""Each has several lines in every tick: they are tens of kilobytes a second."""
PAUSE_SECONDS = 0.5
ROTATIONS = 3
LONGEST_SECONDS = 300
LOOK_BYTES = 2000


@dataclass
class Rotated:
    """What came of the trace; `beginnings` are the numbers of the first lines that the log had."""

    report: Report
    lines: list[dict[str, Any]]
    beginnings: list[int]


@pytest.fixture(scope="module")
def rotated(
    module_namespace: Kubectl, images: Images, tmp_path_factory: pytest.TempPathFactory
) -> Rotated:
    kubectl = module_namespace
    beat = ("beat.py", "--file", DATA, "--beside", PROCESSES, "--pause", PAUSE_SECONDS)
    containers = [container("app", images.workload, *beat, "--times", 10**9)]
    kubectl.apply(pod("web-0", images.workload, containers=containers))
    kubectl.wait_for_pods("web-0")
    with PodTrace(tmp_path_factory.mktemp("rotated"), kubectl, "web-0") as trace:
        tracer = wait_for_tracer(kubectl)
        beginnings = [1]
        deadline = time.monotonic() + LONGEST_SECONDS
        while len(beginnings) <= ROTATIONS:
            if time.monotonic() > deadline:
                pytest.skip(f"this cluster did not rotate the log: first lines {beginnings}")
            time.sleep(1)
            if (first := first_line(kubectl, tracer)) > beginnings[-1]:
                beginnings.append(first)
        report = trace.stop()
        return Rotated(report, trace.lines(), beginnings)


def first_line(kubectl: Kubectl, tracer: str) -> int:
    """Return the number of the first line that the log has now, 0 where it has none."""
    text = kubectl.run("logs", tracer, f"--limit-bytes={LOOK_BYTES}", check=False).stdout
    line = text.partition("\n")[0]
    try:
        return int(json.loads(line)["seq"])
    except ValueError:
        return 0


def test_log_was_rotated_and_begins_later_each_time(rotated: Rotated) -> None:
    assert len(rotated.beginnings) == ROTATIONS + 1


def test_every_line_came_once_or_is_counted_as_missing(rotated: Rotated) -> None:
    report = rotated.report
    assert missing_lines(rotated.lines) == report["quality.stream.missing_lines"]
    assert report["quality.stream.damaged"] == {}
    assert rotated.lines[0]["kind"] == "hello"
    assert rotated.lines[-1]["kind"] == "end"


def test_ticks_count_whole_or_not_at_all(rotated: Rotated) -> None:
    by_tick: Counter[int] = Counter()
    ticks: dict[int, int] = {}
    for line in rotated.lines:
        if line["kind"] not in ("hello", "end"):
            by_tick[line["tick"]] += 1
        if line["kind"] == "health":
            ticks[line["tick"]] = line["lines"]
    whole = [number for number, lines in ticks.items() if by_tick[number] == lines]
    report, last = rotated.report, rotated.lines[-1]
    assert report["window.ticks"] == len(whole)
    assert report["quality.stream.incomplete_ticks"] == last["totals"]["ticks"] - len(whole)
    if len(whole) == last["totals"]["ticks"]:
        assert report["window.complete"] is True
        assert report["quality.lost_total"] == 0


def test_counts_are_those_of_the_whole_ticks(rotated: Rotated) -> None:
    counted = rotated.report["filesystem.write.count"]
    told = sum(
        line["count"]
        for line in rotated.lines
        if line["kind"] == "series" and line["metric"] == "write"
    )
    if rotated.report["quality.stream.missing_lines"] == 0:
        assert counted == told > PROCESSES
    else:
        assert counted <= told
