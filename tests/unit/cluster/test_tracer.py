"""How a tracer that cannot be asked for its last line is ended by the user."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from fake_cluster import FakeApi, node
from launching import JOBS, RUN, line, settings, target, with_pods
from podtrace.cluster import tracer
from podtrace.cluster.source import ClusterSource
from podtrace.wire.ticks import Ticks

ONE, TWO = f"podtrace-{RUN}-1", f"podtrace-{RUN}-2"


def tick(number: int, seq: int) -> bytes:
    fields: dict[str, Any] = {"tick": number, "time_ns": 1000 * number}
    return line(seq, "health", lines=1, interval_ns=1000, **fields)


def ending(number: int, seq: int) -> bytes:
    return line(seq, "end", time_ns=1000 * number, tick=number, reason="signal")


class Stopped:
    """Bare pods whose trace the user stops as soon as all of them were heard."""

    def __init__(self, *names: str, denied: bool = True) -> None:
        self.api = with_pods(FakeApi())
        self.api.add(node("node-a"), node("node-b"))
        if denied:
            self.api.deny("create", "jobs")
        self.asked = threading.Event()
        targets = [target(number, name) for number, name in enumerate(names, 1)]
        told: list[str] = []
        self.source = ClusterSource(self.api, targets, settings(), told.append, run=RUN)

    def once_stopped(self, chunk: bytes) -> Any:
        def wait() -> bytes:
            assert self.asked.wait(5)
            return chunk

        return wait

    def read(self, first: int) -> bytes:
        """Read; stop once so many bytes came."""
        came = b""
        for chunk in self.source:
            came += chunk
            if len(came) >= first and not self.asked.is_set():
                self.source.stop()
                threading.Timer(0.3, self.asked.set).start()
        self.source.close()
        return came


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podtrace.cluster.tracer_start.FIRST_LOOK_SECONDS", 0.0)


def test_a_stopped_bare_pods_stream_ends_in_order_with_the_next_whole_tick() -> None:
    scene = Stopped("node-a")
    begin = line(1, "hello") + tick(1, 2)
    rest = line(3, "series", tick=2) + tick(2, 4)
    scene.api.logs["shop", ONE] = [begin, scene.once_stopped(rest), ...]
    came = scene.read(len(begin))
    assert came == begin + rest + ending(2, 5)
    assert scene.source.trouble() is None
    ticks = Ticks()
    for each in came.splitlines()[1:]:
        ticks.feed(json.loads(each))
    assert ticks.end is not None
    assert ticks.end["reason"] == "signal"


def test_a_tick_that_does_not_come_any_more_leaves_the_last_one_as_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracer, "LAST_TICK_SECONDS", 0.05)
    scene = Stopped("node-a")
    begin = line(1, "hello") + tick(1, 2)
    scene.api.logs["shop", ONE] = [begin, ...]
    assert scene.read(len(begin)) == begin + ending(1, 3)


def test_a_tick_that_is_not_whole_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracer, "LAST_TICK_SECONDS", 0.05)
    scene = Stopped("node-a")
    begin = tick(1, 1) + line(2, "series", tick=2)
    scene.api.logs["shop", ONE] = [begin, ...]
    assert scene.read(len(begin)) == begin


def test_a_trace_that_was_cut_off_before_its_stop_has_no_regular_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracer, "LAST_TICK_SECONDS", 0.05)
    monkeypatch.setattr(tracer, "FRESH_SECONDS", 0.01)
    scene = Stopped("node-a")
    begin = tick(1, 1)
    scene.api.logs["shop", ONE] = [begin, ...]
    assert scene.read(len(begin)) == begin


def test_the_ends_of_several_bare_pods_say_whose_they_are() -> None:
    scene = Stopped("node-a", "node-b")
    for name in (ONE, TWO):
        scene.api.logs["shop", name] = [tick(1, 1), scene.once_stopped(tick(2, 2)), ...]
    came = scene.read(2 * len(tick(1, 1) + b'"stream":1,'))
    for number in (1, 2):
        stamp = b'{"stream":%d,' % number
        ours = [each for each in came.splitlines(keepends=True) if each.startswith(stamp)]
        assert b"".join(ours).replace(stamp, b"{") == tick(1, 1) + tick(2, 2) + ending(2, 3)


def test_a_job_sends_its_own_end() -> None:
    scene = Stopped("node-a", denied=False)
    begin = tick(1, 1)
    rest = tick(2, 2) + ending(2, 3)
    scene.api.logs["shop", f"{ONE}-x"] = [begin, scene.once_stopped(tick(2, 2)), rest]
    assert scene.read(len(begin)) == begin + rest
    assert [call.path for call in scene.api.asked("DELETE")] == [f"{JOBS}/{ONE}"]
