"""Several tracers in one stream of lines: each counts for itself, and together they are bounded."""

from __future__ import annotations

from typing import Any

import pytest

from factories import end, hello, process, series, stream, tick
from podtrace.wire import streams as streams_module
from podtrace.wire.streams import MOST_STREAMS, Streams

Line = dict[str, Any]


def numbered(lines: list[Line], number: int) -> list[Line]:
    return [line | {"stream": number} for line in lines]


def test_each_stream_has_its_own_sequence_and_ticks() -> None:
    lines = stream(hello(), tick(series("read", count=1)), tick(), end())
    streams = Streams()
    whole = [
        item
        for pair in zip(numbered(lines, 1), numbered(lines, 2), strict=True)
        for line in pair
        for item in streams.feed(line)
    ]
    assert [(item.stream, item.number) for item in whole] == [(1, 1), (2, 1), (1, 2), (2, 2)]
    for ticks in streams.values():
        assert (ticks.sequence.missing, ticks.sequence.repeated, ticks.dropped) == (0, 0, 0)
        assert ticks.end is not None


def test_line_without_a_number_is_of_stream_zero() -> None:
    streams = Streams()
    for line in stream(hello(), tick(), end()):
        streams.feed(line)
    assert list(streams) == [0]


def test_number_out_of_range_is_damage() -> None:
    streams = Streams()
    for number in (MOST_STREAMS + 1, 2**63):
        assert streams.feed(stream(hello())[0] | {"stream": number}) == []
    assert not streams
    assert streams.damage == {"stream_out_of_range": 2}


def test_unfinished_ticks_of_all_streams_together_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams_module, "PENDING_LINES", 100)
    streams = Streams()
    endless = stream(hello(), tick(*(process(n + 1) for n in range(60))))[:-1]
    for line in endless:
        for number in range(1, 6):
            streams.feed(line | {"stream": number})
    assert sum(ticks.pending_lines for ticks in streams.values()) <= 100
    streams.flush()
    assert sum(ticks.dropped for ticks in streams.values()) == 5 * 60
