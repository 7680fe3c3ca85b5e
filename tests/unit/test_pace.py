"""A recording at its own speed: whole lines, a tick's length apart, whatever the times say."""

from __future__ import annotations

from collections.abc import Iterator

from factories import Line, encoded, end, hello, series, stream, tick
from podtrace.errors import PodtraceError, StreamError
from podtrace.pace import PacedSource

WHOLE = stream(hello(), tick(series("read", count=3)), tick(), tick(), end())


class ListSource:
    patience_seconds = 60.0

    def __init__(self, data: bytes, size: int = 50) -> None:
        self.data = data
        self.size = size
        self.calls: list[str] = []

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self.data), self.size):
            yield self.data[start : start + self.size]

    def stop(self) -> None:
        self.calls.append("stop")

    def close(self) -> None:
        self.calls.append("close")

    def trouble(self) -> PodtraceError | None:
        return StreamError("cut")

    def troubles(self) -> list[PodtraceError]:
        return []


class Time:
    now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def play(lines: list[Line] | bytes) -> tuple[bytes, list[float]]:
    """Return what was delivered, and when each tick had been."""
    time, received, ends = Time(), b"", []
    data = lines if isinstance(lines, bytes) else encoded(lines)
    for chunk in PacedSource(ListSource(data), time.clock, time.sleep):
        received += chunk
        if b'"health"' in chunk:
            ends.append(time.now)
    return received, ends


def test_stream_is_unchanged_and_takes_its_time() -> None:
    received, ends = play(WHOLE)
    assert received == encoded(WHOLE)
    assert ends == [0.0, 0.0, 1.0]


def test_pauses_are_cut_so_that_the_screen_can_be_drawn() -> None:
    time = Time()
    chunks = list(PacedSource(ListSource(encoded(WHOLE)), time.clock, time.sleep))
    assert chunks.count(b"") == 8


def test_gap_and_time_that_runs_backwards_are_short() -> None:
    lines = [dict(line) for line in WHOLE]
    lines[3]["time_ns"] += 10**15
    _, ends = play(lines)
    assert ends[-1] <= 10
    assert play(encoded(WHOLE[:1]) + b'{"kind":"health"} no JSON\n"health"\n')[1] == [0.0, 0.0]


def test_line_without_its_newline_is_delivered() -> None:
    data = encoded(WHOLE)[:-1]
    assert play(data)[0] == data


def test_stop_and_close_reach_the_source() -> None:
    source = ListSource(encoded(WHOLE))
    paced = PacedSource(source)
    received = b""
    for chunk in paced:
        received += chunk
        if b'"series"' in chunk:
            paced.stop()
    paced.close()
    assert received == encoded(WHOLE[:2])
    assert source.calls == ["stop", "close"]
    assert isinstance(paced.trouble(), StreamError)


def test_tracers_side_by_side_take_no_longer_than_one() -> None:
    hour = 3600 * 1_000_000_000
    other = stream(hello(), tick(series("read", count=3)), tick(), tick(), end(), start_ns=hour)
    merged = [
        line | {"stream": number}
        for pair in zip(WHOLE, other, strict=True)
        for number, line in enumerate(pair, start=1)
    ]
    _, ends = play(merged)
    assert ends == [0, 0, 0, 1, 1, 2]
