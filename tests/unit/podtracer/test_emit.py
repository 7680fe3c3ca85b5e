from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from podtrace.wire.codec import Decoder
from podtrace.wire.histogram import SLOTS
from podtrace.wire.schema import MAX_LINE_BYTES
from podtrace.wire.ticks import Ticks
from podtracer.emit import Stream, StreamClosed

Line = dict[str, Any]


class Written:
    """A stream into a file, and what stands in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stream = Stream(os.open(path, os.O_WRONLY | os.O_CREAT))

    @property
    def lines(self) -> list[Line]:
        return [json.loads(line) for line in self.path.read_bytes().splitlines()]

    def end_tick(self, time_ns: int = 50, **fields: Any) -> None:
        self.stream.end_tick({**health(), **fields}, time_ns)


def health(**lost: int) -> Line:
    return {"interval_ns": 10, "lost": {"lines_dropped": 0, **lost}, "suppressed": 0}


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    written = Written(tmp_path / "stream")
    yield written
    os.close(written.stream.fd)


def series(slots: list[list[int]], **fields: Any) -> Line:
    count = sum(number for _, number in slots)
    line = {"metric": "read", "process": 100, "target": 1, "count": count, "slots": slots}
    return {**line, "sum_ns": 10**15, "max_ns": 10**12, **fields}


def test_lines_are_numbered_from_one_without_gaps_and_ticks_too(written: Written) -> None:
    stream = written.stream
    stream.hello({"schema": "1.0"})
    stream.add("event", {"event": "exec", "process": 1})
    written.end_tick()
    written.end_tick()
    stream.end({"reason": "signal"})
    assert [(line["kind"], line["seq"], line["tick"]) for line in written.lines] == [
        ("hello", 1, 0),
        ("event", 2, 1),
        ("health", 3, 1),
        ("health", 4, 2),
        ("end", 5, 2),
    ]


def test_nothing_of_a_tick_is_written_before_its_end(written: Written) -> None:
    written.stream.add("event", {"event": "exec", "process": 1})
    assert written.lines == []
    assert written.stream.lines_waiting == 1
    written.end_tick()
    assert [line["kind"] for line in written.lines] == ["event", "health"]
    assert written.stream.lines_waiting == 0


def test_health_says_how_many_lines_its_tick_has(written: Written) -> None:
    for _ in range(3):
        written.stream.add("event", {"event": "exec", "process": 1})
    written.end_tick()
    written.end_tick()
    assert [line["lines"] for line in written.lines if line["kind"] == "health"] == [4, 1]


def test_lines_of_a_tick_have_the_time_of_its_end_unless_they_have_their_own(
    written: Written,
) -> None:
    written.stream.add("event", {"event": "exec", "process": 1}, time_ns=33)
    written.stream.add("series", series([[1, 1]]))
    written.end_tick(time_ns=50)
    assert [line["time_ns"] for line in written.lines] == [33, 50, 50]


def test_first_and_last_line_have_the_time_of_their_writing(written: Written) -> None:
    before = time.time_ns()
    written.stream.hello({"schema": "1.0"})
    written.stream.end({"reason": "signal"})
    after = time.time_ns()
    first, last = written.lines
    assert before <= first["time_ns"] <= last["time_ns"] <= after


def test_end_proves_that_the_reader_has_all(written: Written) -> None:
    stream = written.stream
    stream.hello({"schema": "1.0"})
    stream.end_tick({**health(ring_full=2, dns_full=0), "suppressed": 3}, 1)
    stream.suppressed_now = 4
    stream.end_tick({**health(ring_full=5, labels_full=1), "suppressed": 1}, 2)
    stream.end({"reason": "deadline", "exit_code": None})
    assert written.lines[-1]["totals"] == {
        "lines": 4,
        "ticks": 2,
        "lost": {"ring_full": 7, "labels_full": 1},
        "suppressed": 8,
    }
    assert [line["suppressed"] for line in written.lines if line["kind"] == "health"] == [3, 5]


def test_a_histogram_too_long_for_a_line_is_split_and_adds_up(written: Written) -> None:
    slots = [[slot, 10**4 + slot] for slot in range(SLOTS)]
    fields = {
        "errors": {"EIO": 3}, "bytes": 77, "wait_ns": 88, "again": 5, "slow": 6,
        "peer": "10.0.0.1:80", "name": "a.b", "path": "/x", "reason": "disk",
    }  # fmt: skip
    whole = series(slots, **fields)
    written.stream.add("series", whole)
    written.end_tick()
    *parts, last = written.lines
    assert len(parts) == 2
    assert last["lines"] == 3
    assert max(map(len, written.path.read_bytes().splitlines())) < MAX_LINE_BYTES
    for key in ("kind", "metric", "process", "target", "peer", "name", "path", "reason", "tick"):
        assert {part[key] for part in parts} == {parts[0][key]}
    for key in ("count", "sum_ns", "bytes", "wait_ns", "again", "slow"):
        assert sum(part.get(key, 0) for part in parts) == whole[key]
    assert max(part["max_ns"] for part in parts) == whole["max_ns"]
    assert [part["errors"] for part in parts if "errors" in part] == [{"EIO": 3}]
    assert [pair for part in parts for pair in part["slots"]] == slots
    assert all(part["count"] == sum(n for _, n in part["slots"]) for part in parts)


def test_operations_beside_the_histogram_survive_a_split(written: Written) -> None:
    slots = [[slot, 10**9] for slot in range(SLOTS)]
    written.stream.add("series", series(slots, count=SLOTS * 10**9 + 5))
    written.end_tick()
    assert sum(line["count"] for line in written.lines[:-1]) == SLOTS * 10**9 + 5


def test_a_line_that_cannot_be_split_is_dropped_and_counted(written: Written) -> None:
    written.stream.add("event", {"event": "exec", "process": 1, "detail": "x" * MAX_LINE_BYTES})
    written.stream.add("series", series([[1, 1]], path="\u2028" * MAX_LINE_BYTES))
    written.stream.add("event", {"event": "exit", "process": 1})
    written.end_tick()
    written.end_tick()
    event, first, second = written.lines
    assert event["event"] == "exit"
    assert (first["lines"], first["lost"]) == (2, {"lines_dropped": 2})
    assert second["lost"] == {"lines_dropped": 0}
    written.stream.end({"reason": "signal"})
    assert written.lines[-1]["totals"]["lost"] == {"lines_dropped": 2}


def test_every_line_can_be_read_back(written: Written) -> None:
    stream = written.stream
    stream.hello({"schema": "1.0", "targets": [{"id": 1, "name": "caf\u00e9\udcff\x1b[2J"}]})
    stream.add("series", series([[slot, 10**4] for slot in range(SLOTS)]))
    written.end_tick()
    stream.end({"reason": "signal", "exit_code": -9})
    decoder, ticks = Decoder(), Ticks()
    whole = [tick for line in decoder.feed(written.path.read_bytes()) for tick in ticks.feed(line)]
    assert (decoder.damage, ticks.damage, ticks.unknown) == ({}, {}, {})
    assert [(tick.number, len(tick.lines)) for tick in whole] == [(1, 2)]
    assert ticks.sequence.missing == 0
    assert ticks.end is not None
    assert ticks.end["totals"]["lines"] == decoder.lines


def test_why_there_is_no_stream_is_a_line_of_its_own(written: Written) -> None:
    written.stream.error({"code": "no_btf", "message": "no BTF", "hint": "newer kernel"})
    (line,) = written.lines
    assert line.pop("time_ns") > 0
    assert line == {
        "kind": "error",
        "seq": 1,
        "tick": 0,
        "code": "no_btf",
        "message": "no BTF",
        "hint": "newer kernel",
    }


def say_hello(stream: Stream) -> None:
    reason = "program was not accepted: Permission denied: " + "R1 invalid mem access " * 20
    names = [f"probe_{number}" for number in range(20)]
    stream.hello(
        {
            "schema": "1.0",
            "probes": [{"name": name, "state": "failed", "reason": reason} for name in names],
            "sections": {"dns": {"state": "blank", "reason": "; ".join([reason] * 7)}},
        }
    )


def say_error(stream: Stream) -> None:
    text = "there is no cgroup " + "\u00e9" * 5000
    stream.error({"code": "no_cgroup", "message": text, "hint": "find " + "x" * 5000})


@pytest.mark.parametrize(
    ("say", "begins"),
    [(say_hello, "program was not accepted"), (say_error, "there is no cgroup \u00e9\u00e9")],
)
def test_long_texts_of_a_line_that_must_be_written_are_cut(
    written: Written, say: Callable[[Stream], None], begins: str
) -> None:
    say(written.stream)
    (line,) = written.lines
    (text, *_) = [line.get("message") or probe["reason"] for probe in line.get("probes", [line])]
    assert text.startswith(begins)
    assert text.endswith("…")
    decoder = Decoder()
    assert decoder.feed(written.path.read_bytes()) == [line]


def test_a_reader_that_is_gone_closes_the_stream() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        with pytest.raises(StreamClosed):
            Stream(write).hello({"schema": "1.0"})
    finally:
        os.close(write)


def test_a_slow_reader_gets_every_byte() -> None:
    read, write = os.pipe()
    received = bytearray()

    def drain() -> None:
        while chunk := os.read(read, 100):
            received.extend(chunk)

    reader = threading.Thread(target=drain)
    reader.start()
    stream = Stream(write)
    for _ in range(2000):
        stream.add("series", series([[1, 1]], path="/a/path/of/some/length"))
    stream.end_tick(health(), 5)
    os.close(write)
    reader.join()
    os.close(read)
    decoder = Decoder()
    assert len(decoder.feed(bytes(received))) == 2001
    assert decoder.damage == {}
    assert len(received) > 1 << 17
