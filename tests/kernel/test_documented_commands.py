"""The documents' commands for this machine, run as they stand but for what they name.

The example's process, container and service are not there on every machine: what stands in for them
is a workload of the test. A trace is a second long, and COMMAND a short one of this machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from contract import pages
from kernel.tracing import PATIENCE_SECONDS, command
from workload.stage import Stage

CONTAINER = "3f4e8b1c9a7d"
CONTAINER_REST = "0" * 52
IDLE = "import gate; gate.say('ready'); gate.hold()"


def lines() -> list[list[str]]:
    found = []
    for document in pages.DOCUMENTS:
        for line in pages.shell_lines(document.read_text()):
            words = pages.podtrace_words(line)
            if words and "--local" in words and words not in found:
                found.append(words)
    return found


@pytest.mark.parametrize("words", lines(), ids=" ".join)
def test_local_command_traces(words: list[str], stage: Stage, tmp_path: Path) -> None:
    group = stage.cgroup(f"podtrace-test-{os.getpid()}")
    inner = stage.cgroup(f"docker-{CONTAINER}{CONTAINER_REST}.scope", group)
    program = stage.start(sys.executable, "-c", IDLE, cgroups=[inner])
    stand_ins = {
        "--cgroup": str(group),
        "--pid": str(program.process.pid),
        "--diagnose": "1s",
        "--record": str(tmp_path / "trace.jsonl.gz"),
        "--metrics-port": "0",
    }
    own, _, traced = " ".join(words).partition(" -- ")
    line = own.split()
    for option, value in stand_ins.items():
        if option in line:
            line[line.index(option) + 1] = value
    if "--diagnose" not in line and "cleanup" not in line:
        line += ["--for", "1s"]
    if "--metrics" in line and "--metrics-port" not in line:
        line += ["--metrics-port", "0"]
    done = subprocess.run(
        [*command(), *line, *(["--", "true"] if traced else [])],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=PATIENCE_SECONDS,
    )
    assert (done.returncode, "error:" in done.stderr) == (0, False), done.stderr
    if "cleanup" not in line:
        assert "Trace Quality" in done.stdout or '"quality"' in done.stdout
