"""SIGKILL of tracer, plugin or both at random moments leaves nothing behind.

PODTRACE_KILLS sets how often; the whole proof is 100.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from kernel import leavings
from kernel.neighbours import left_after
from kernel.tracing import PATIENCE_SECONDS, ROOT, command

KILLS = int(os.environ.get("PODTRACE_KILLS", "12"))
WITHIN_SECONDS = 2.0
CLEARED_SECONDS = 3.0
MARK = "PODTRACE_TEST_MARK"
LONGEST_LIFE_SECONDS = 4.0


def _marked(mark: str) -> dict[int, str]:
    """Return every living process that inherited the mark, by PID, with its command line."""
    wanted = f"{MARK}={mark}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(entry.name)] = line.decode(errors="replace")
    return found


def _is_running(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is None


def _tracers(mark: str, plugin: int) -> list[int]:
    return [pid for pid, line in _marked(mark).items() if "podtracer" in line and pid != plugin]


@pytest.mark.timeout(60 * 15)
@pytest.mark.parametrize("scope", ["command", "pid"])
@pytest.mark.parametrize("victim", ["tracer", "plugin", "both"])
def test_nothing_is_left(victim: str, scope: str) -> None:
    chance = random.Random(f"{victim} {scope}")
    programs, links = leavings.programs(), leavings.links()
    for number in range(-(-KILLS // 6)):
        mark = uuid.uuid4().hex
        target = ("--", "/bin/sleep", "600") if scope == "command" else ("--pid", os.getpid())
        process = subprocess.Popen(
            command("--local", "--diagnose", "600s", "-o", "json", *target),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, MARK: mark},
        )
        life = chance.uniform(0.05, LONGEST_LIFE_SECONDS)
        time.sleep(life)
        context = f"round {number}, after {life:.2f} s"
        tracers = _tracers(mark, process.pid)
        if victim != "plugin":
            for pid in tracers[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if victim != "tracer" or not tracers:
            process.kill()
        lives_on = left_after(WITHIN_SECONDS + 3, _is_running, process)
        assert not lives_on, f"the plugin lives on, {context}"
        if victim == "both" and scope == "command":
            # Nobody is left who could end the command: the next start does.
            left_after(WITHIN_SECONDS, _tracers, mark, process.pid)
            _start_again()
        assert left_after(WITHIN_SECONDS, _marked, mark) == {}, context
    assert left_after(CLEARED_SECONDS, leavings.orphans, programs, links) == []
    assert left_after(CLEARED_SECONDS, leavings.abandoned_cgroups) == []


def _start_again() -> None:
    result = subprocess.run(
        command("--local", "--diagnose", "1s", "-o", "json", "--", "/bin/true"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stderr
