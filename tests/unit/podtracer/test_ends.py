from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from podtracer.cgroups import Hierarchies
from podtracer.ends import Ends
from podtracer.listeners import Listeners
from podtracer.stops import Stops
from podtracer.target import Scope

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD)
NOWHERE = Hierarchies("", {})
SECOND = 1_000_000_000


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGPIPE)}
    wakeup = signal.set_wakeup_fd(-1)
    yield
    signal.set_wakeup_fd(wakeup)
    for number, handler in before.items():
        signal.signal(number, handler)


def ends(
    stops: Stops,
    scope: Scope | None = None,
    parent: int | None = None,
    listeners: Listeners | None = None,
) -> Ends:
    made = Ends(stops, scope or Scope([], NOWHERE, {7: 1}), None, parent, listeners)
    made.begin(0, None)
    return made


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGINT, "signal"),
        (signal.SIGTERM, "signal"),
        (signal.SIGHUP, "signal"),
        (signal.SIGALRM, "limit"),
    ],
)
def test_signal_is_a_reason_to_end(number: signal.Signals, reason: str) -> None:
    stops = Stops()
    end = ends(stops)
    assert end.reason(0) == ""
    os.kill(os.getpid(), number)
    assert end.reason(0) == reason
    assert os.read(stops.fd, 10) == bytes([number])


def test_first_signal_tells_the_reason() -> None:
    stops = Stops()
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGALRM)
    assert ends(stops).reason(0) == "signal"


def test_mark_of_a_bare_pod_is_passed_over_once() -> None:
    stops = Stops(marked_first=True)
    os.kill(os.getpid(), signal.SIGTERM)
    assert ends(stops).reason(0) == ""
    os.kill(os.getpid(), signal.SIGTERM)
    assert ends(stops).reason(0) == "signal"


def test_interrupt_ends_a_bare_pod_too() -> None:
    stops = Stops(marked_first=True)
    os.kill(os.getpid(), signal.SIGINT)
    assert ends(stops).reason(0) == "signal"


def test_window_ends_at_its_deadline() -> None:
    end = ends(Stops())
    end.begin(100, 2.0)
    assert end.deadline_ns == 100 + 2 * SECOND
    assert end.reason(99 + 2 * SECOND) == ""
    assert end.reason(100 + 2 * SECOND) == "deadline"


def test_targets_that_are_gone_end_the_trace() -> None:
    end = ends(Stops(), Scope([], NOWHERE, {7: 1}))
    end.look(0, 0)
    assert end.reason(0) == ""
    end = ends(Stops(), Scope([], NOWHERE))
    end.look(0, 0)
    assert end.reason(0) == "target_gone"
    end = ends(Stops(), Scope([], NOWHERE, pids={7: 1}))
    end.look(0, 1)
    assert end.reason(0) == ""
    end.look(0, 0)
    assert end.reason(0) == "target_gone"


def test_other_parent_than_the_named_one_is_a_dead_parent() -> None:
    assert ends(Stops(), parent=os.getppid()).reason(0) == ""
    assert ends(Stops(), parent=1 << 22).reason(0) == "parent_died"


def test_unheard_stream_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listeners = Listeners(None, 30, str(tmp_path))
    monkeypatch.setattr(listeners, "unheard", lambda now_ns: now_ns > 30)
    end = ends(Stops(), listeners=listeners)
    assert end.reason(30) == ""
    assert end.reason(31) == "unheard"


def test_wait_for_a_reader_begins_with_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listeners = Listeners(None, 30, str(tmp_path))
    begun: list[int] = []
    monkeypatch.setattr(listeners, "begin", begun.append)
    end = ends(Stops(), listeners=listeners)
    attached_ns = time.monotonic_ns() + 40_000_000_000
    end.begin(attached_ns, 10)
    assert begun[0] <= time.monotonic_ns()
    assert end.deadline_ns == attached_ns + 10_000_000_000


LIFE = """
import sys, time
sys.path.insert(0, sys.argv[1])
from podtracer import lifetime
lifetime._GRACE_SECONDS = 0.5
lifetime.limit_life(0.3)
signal_ignored = __import__("signal").signal(__import__("signal").SIGALRM, lambda *_: None)
begun = time.monotonic()
while True:
    "hangs"
"""


def test_life_is_limited_whatever_the_process_does() -> None:
    tracer = Path(__file__).parents[3] / "tracer-image"
    process = subprocess.run(
        [sys.executable, "-c", LIFE, str(tracer)], capture_output=True, timeout=30
    )
    assert process.returncode == 1
    assert b"Timeout" in process.stderr
