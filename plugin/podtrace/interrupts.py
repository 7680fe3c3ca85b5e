"""Ctrl-C and its relatives: the first asks for the report, the second leaves at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from podtrace.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stop_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on the first of the signals and raise `Interrupted` on the second.

    After that the signals are ignored, so that the clean-up on the way out is not cut short.
    A hang-up that is ignored (nohup) stays so. An interrupt does not: shells start background jobs
    of scripts with it ignored, and `kill -INT` is how a script asks a tracer for its report.
    """
    came = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came += 1
        if came == 1:
            stop()
            return
        for other in SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted("interrupted twice: left at once, without a report")

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if number != signal.SIGHUP or handler is not signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
