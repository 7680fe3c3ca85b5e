"""Ctrl-C: once for the report, twice to leave; what was ignored before stays ignored."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from podtrace.errors import EXIT_INTERRUPTED, Interrupted
from podtrace.interrupts import SIGNALS, stop_on_signals


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_first_signal_stops_and_goes_on(number: int) -> None:
    stops: list[int] = []
    with stop_on_signals(lambda: stops.append(1)):
        os.kill(os.getpid(), number)
        assert stops == [1]


def test_second_signal_leaves_and_a_third_does_not_cut_the_clean_up_short() -> None:
    stops: list[int] = []
    cleaned = False
    with pytest.raises(Interrupted) as caught, stop_on_signals(lambda: stops.append(1)):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            cleaned = True
    assert (stops, cleaned) == ([1], True)
    assert caught.value.exit_code == EXIT_INTERRUPTED


def test_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with stop_on_signals(lambda: None):
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_ignored_hang_up_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stops: list[int] = []
    with stop_on_signals(lambda: stops.append(1)):
        os.kill(os.getpid(), signal.SIGHUP)
    assert stops == []
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_background_job_of_a_script_can_be_interrupted() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stops: list[int] = []
    with stop_on_signals(lambda: stops.append(1)):
        os.kill(os.getpid(), signal.SIGINT)
    assert stops == [1]
