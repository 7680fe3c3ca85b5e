from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from podtracer import lifetime

TRACER = Path(__file__).parents[3] / "tracer-image"
PARENT = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
from podtracer import lifetime
child = os.fork()
if child == 0:
    {bind}
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(60)
    os._exit(0)
{then}
os.waitpid(child, 0)
"""


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


@pytest.mark.parametrize(
    "bind",
    ["lifetime.die_with_parent(signal.SIGKILL)", "lifetime.die_with_parent_of(os.getppid())"],
)
def test_child_ends_with_its_parent(bind: str) -> None:
    source = PARENT.format(bind=bind, then="")
    parent = subprocess.Popen([sys.executable, "-c", source, str(TRACER)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
        assert state(child) in "SR"
        parent.kill()
        parent.wait()
        # The child had the other end of the pipe.
        assert parent.stdout.read() == b""
    deadline = time.monotonic() + 20
    while state(child) not in "ZX" and time.monotonic() < deadline:
        time.sleep(0.005)
    assert state(child) in "ZX"


def test_a_child_that_is_not_bound_outlives_its_parent() -> None:
    source = PARENT.format(bind="pass", then="os._exit(0)")
    parent = subprocess.Popen([sys.executable, "-c", source, str(TRACER)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
        parent.wait()
        assert state(child) in "SR"
        os.kill(child, signal.SIGKILL)
        assert parent.stdout.read() == b""


def test_who_is_no_longer_the_child_of_that_parent_ends_at_once() -> None:
    source = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from podtracer import lifetime; lifetime.die_with_parent_of(1 << 30)\n"
        "raise SystemExit(5)"
    )
    assert subprocess.run([sys.executable, "-c", source, str(TRACER)]).returncode == 1


def test_a_parent_that_died_while_it_was_asked_for_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parents, killed = iter((70, 1)), []
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    # Signal 0 asks the kernel for none.
    lifetime.die_with_parent(0)
    assert killed == [(os.getpid(), 0)]


def test_name_is_shown_as_ps_does() -> None:
    source = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from podtracer import lifetime; lifetime.set_name('a-name-of-twenty-bytes')\n"
        "sys.stdout.write(open('/proc/self/comm').read())"
    )
    output = subprocess.run(
        [sys.executable, "-c", source, str(TRACER)], check=True, capture_output=True, text=True
    ).stdout
    assert output == "a-name-of-twent\n"
