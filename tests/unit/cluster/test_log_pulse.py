from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from fake_cluster import FakeApi, pod
from podtrace.cluster import log_pulse
from podtrace.cluster.log_pulse import LogPulse
from podtrace.errors import ClusterError

PATH = "/api/v1/namespaces/shop/pods/tracer/log"


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    monkeypatch.setattr(log_pulse, "PULSE_SECONDS", 0.02)
    api = FakeApi()
    api.add(pod("tracer", namespace="shop"))
    api.logs["shop", "tracer"] = [b"x"]
    return api


def wait(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 30
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


def test_the_log_is_asked_for_again_and_again_until_the_end(api: FakeApi) -> None:
    before = set(threading.enumerate())
    pulse = LogPulse(api, PATH)
    pulse.start()
    assert wait(lambda: len(api.asked("STREAM")) >= 3)
    (thread,) = set(threading.enumerate()) - before
    pulse.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert "follow" not in api.asked("STREAM")[0].query


def test_trouble_does_not_end_it(api: FakeApi) -> None:
    api.fail("STREAM", PATH, ClusterError("cut"), times=3)
    pulse = LogPulse(api, PATH)
    pulse.start()
    assert wait(lambda: len(api.asked("STREAM")) >= 6)
    pulse.stop()


def test_it_comes_often_enough_for_one_or_two_to_be_lost() -> None:
    assert log_pulse.UNHEARD_SECONDS / log_pulse.PULSE_SECONDS >= 5
