"""The live view in a real terminal against a real cluster, and how it is left."""

from __future__ import annotations

import re
import shlex
import shutil
import time
from collections.abc import Iterator

import pytest

from e2e.conftest import Images
from e2e.kubectl import Kubectl, pod
from e2e.leavings import wait_for_none, wait_for_tracer
from e2e.runs import SILENT
from e2e.terminal import Terminal
from e2e.witness import Witness
from e2e.workloads import container
from kernel.neighbours import Neighbours

DATA = "/dev/shm/beat.data"
LEAVE_SECONDS = 5.0


@pytest.fixture(scope="module")
def web(module_namespace: Kubectl, images: Images) -> Kubectl:
    """Return kubectl for a namespace with a pod web-0 that writes twenty times a second."""
    beat = ("beat.py", "--file", DATA, "--times", 10**9)
    containers = [container("app", images.workload, *beat)]
    module_namespace.apply(pod("web-0", images.workload, containers=containers))
    module_namespace.wait_for_pods("web-0")
    return module_namespace


@pytest.fixture
def terminal(web: Kubectl) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux")
    with Terminal(web.environment) as terminal:
        yield terminal


@pytest.fixture
def trace(web: Kubectl) -> str:
    return f"kubectl podtrace -n {web.namespace} web-0"


def test_view_shows_the_pod_and_its_rates_and_ctrl_c_prints_the_report(
    terminal: Terminal, web: Kubectl, trace: str
) -> None:
    terminal.type("before=$(stty -g)")
    terminal.type(f"{trace}; echo code $? $([ $before = $(stty -g) ] && echo restored)")
    title = rf"^pod {web.namespace}/web-0 +\d:\d\d .*lost 0"
    terminal.wait_for(title)
    assert terminal.is_redrawn()
    assert not terminal.has_cursor()
    rate = terminal.wait_for(r"file write +([\d.]+)/s")
    while float(rate[1]) == 0:
        rate = terminal.wait_for(r"file write +([\d.]+)/s")
    assert 1 < float(rate[1]) < 25
    terminal.wait_for(r"^ +1 +python3 .*\d+ +\d+$")
    terminal.press("C-c")
    terminal.wait_for("^code 0 restored$")
    assert not terminal.is_redrawn()
    assert terminal.has_cursor()
    shown = terminal.all()
    assert f"podtrace report: pod {web.namespace}/web-0" in shown
    assert "Trace Quality" in shown
    assert re.search(rf"^  {re.escape(DATA)} +\d", shown, re.MULTILINE)
    wait_for_none(web)


def test_view_follows_the_size_of_the_terminal(
    terminal: Terminal, web: Kubectl, trace: str
) -> None:
    terminal.type(trace)
    terminal.wait_for(r"file write +[1-9]")
    terminal.resize(70, 12)
    # The whole view again, in the lines that are left.
    terminal.wait_for(rf"\Apod {web.namespace}/web-0\b.*(\n.*){{10}}\nCtrl-C ends")
    terminal.press("C-c")
    terminal.wait_for("podtrace report: ")


def test_second_ctrl_c_leaves_at_once(
    terminal: Terminal, web: Kubectl, trace: str, witness: Witness
) -> None:
    terminal.type("trap : INT")  # the shell is to go on when one reaches it
    terminal.type(f"{trace}; echo code $?")
    terminal.wait_for(r"file write +[1-9]")
    # Its last lines, which the first one asks for, do not come.
    with witness.frozen(web, wait_for_tracer(web), "tracer"):
        neighbours = Neighbours()
        begun = time.monotonic()
        terminal.press("C-c")
        # Two are one to a process that has not had its turn in between.
        while not re.search(r"^code \d+$", terminal.screen(), re.MULTILINE):
            terminal.press("C-c")
            time.sleep(0.5)
        terminal.wait_for("^code 130$")
        assert time.monotonic() - begun < neighbours.limit(LEAVE_SECONDS)
    assert not terminal.is_redrawn()
    assert terminal.has_cursor()
    assert "podtrace report" not in terminal.all()
    wait_for_none(web)


def test_ctrl_c_before_the_first_line_leaves_the_terminal_and_the_cluster_as_they_were(
    terminal: Terminal, web: Kubectl, trace: str
) -> None:
    terminal.type(f"{trace} {shlex.join(SILENT)}; echo code $?")
    wait_for_tracer(web)
    terminal.press("C-c")
    terminal.wait_for("^code 130$")
    assert not terminal.is_redrawn()
    assert terminal.has_cursor()
    wait_for_none(web)
