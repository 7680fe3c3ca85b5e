"""What a tracer that is not root does with its capabilities, seen in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SHOW = "print(open('/proc/self/status').read())"


def status_after(calls: str) -> dict[str, str]:
    """Return the status of a process that has made these calls."""
    script = f"from podtracer import capabilities\n{calls}\n{SHOW}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tracer-image")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    return dict(line.split(":\t", 1) for line in done.stdout.splitlines() if ":\t" in line)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to give up")
def test_what_the_tables_do_not_take_is_given_up_for_good() -> None:
    status = status_after("capabilities.keep_for_tables()")
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 1 << 39 | 1 << 21
    assert int(status["CapInh"], 16) == 0


def test_without_capabilities_there_are_none_to_give_up() -> None:
    if os.geteuid() == 0:
        become = "import os; os.setgroups([]); os.setgid(54321); os.setuid(54321)\n"
    else:
        become = ""
    status = status_after(f"{become}capabilities.keep_for_tables()")
    assert int(status["CapPrm"], 16) == 0


def test_a_private_process_cannot_be_looked_into() -> None:
    keep = "capabilities.keep_private()\nimport ctypes\n"
    script = f"{keep}print('Dumpable:\\t%d' % ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    assert status_after(script)["Dumpable"] == "0"
    assert status_after(script.replace("capabilities.keep_private()", ""))["Dumpable"] == "1"
