"""Whole ticks only: repeats, gaps, late lines and other versions of the schema."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories import end, error, health, hello, process, series, stream, tick
from podtrace.wire.ticks import LONGEST_JUMP, PENDING_TICKS, SchemaMismatchError, Tick, Ticks

Line = dict[str, Any]


def three_ticks() -> list[Line]:
    parts = [tick(process(), *(series("read", count=n + 1) for n in range(3))) for _ in range(3)]
    return stream(hello(), *parts, end())


def run(lines: list[Line]) -> tuple[list[Tick], Ticks]:
    ticks = Ticks()
    given_out = [whole for line in lines for whole in ticks.feed(line)]
    ticks.flush()
    return given_out, ticks


def test_ticks_come_whole_and_in_order() -> None:
    whole, ticks = run(three_ticks())
    assert [item.number for item in whole] == [1, 2, 3]
    assert [len(item.lines) for item in whole] == [4, 4, 4]
    assert all(item.health["kind"] == "health" for item in whole)
    assert ticks.hello is not None
    assert ticks.end is not None
    assert (ticks.incomplete, ticks.dropped, ticks.sequence.missing) == (0, 0, 0)


def test_tick_that_lacks_a_line_is_dropped_whole_and_counted() -> None:
    lines = three_ticks()
    del lines[7]
    whole, ticks = run(lines)
    assert [item.number for item in whole] == [1, 3]
    assert (ticks.incomplete, ticks.dropped, ticks.sequence.missing) == (1, 4, 1)


def test_tick_that_lacks_its_health_line_is_dropped() -> None:
    whole, ticks = run(three_ticks()[:-2])
    assert [item.number for item in whole] == [1, 2]
    assert (ticks.incomplete, ticks.dropped, ticks.sequence.missing) == (1, 4, 0)


@given(st.lists(st.integers(0, 16), max_size=30), st.randoms())
def test_repeated_lines_change_nothing(repeats: list[int], order: random.Random) -> None:
    lines = three_ticks()
    shuffled = list(lines)
    for index in repeats:
        shuffled.insert(order.randint(index + 1, len(shuffled)), lines[index])
    whole, ticks = run(shuffled)
    assert whole == run(lines)[0]
    assert ticks.sequence.repeated == len(repeats)
    assert ticks.sequence.missing == 0


@given(st.permutations(range(17)))
def test_lines_in_any_order_give_the_same_ticks(order: list[int]) -> None:
    lines = three_ticks()
    whole, ticks = run([lines[index] for index in order])
    assert sorted(whole, key=lambda item: item.number) == run(lines)[0]
    assert ticks.sequence.missing == ticks.sequence.repeated == 0


def test_a_log_read_again_fills_the_gap() -> None:
    lines = three_ticks()
    whole, ticks = run(lines[:4] + lines[9:] + lines[:12])
    assert sorted(item.number for item in whole) == [1, 2, 3]
    assert ticks.sequence.missing == 0
    assert ticks.sequence.repeated == 4 + 3


def test_a_stream_joined_late_counts_what_came_before_as_missing() -> None:
    whole, ticks = run(three_ticks()[6:])
    assert [item.number for item in whole] == [2, 3]
    assert ticks.sequence.missing == 6


def test_absurd_seq_is_damage_and_not_a_gap() -> None:
    lines = three_ticks()
    wild = series("read", count=9) | {"seq": LONGEST_JUMP * 2, "time_ns": 1, "tick": 2}
    whole, ticks = run([*lines[:8], wild, *lines[8:]])
    assert whole == run(lines)[0]
    assert ticks.damage == {"seq_out_of_range": 1}
    assert ticks.sequence.missing == 0


def test_unknown_kinds_are_counted_and_belong_to_their_tick() -> None:
    newer = {"kind": "profile", "stack": [1, 2]}
    whole, ticks = run(stream(hello(), tick(series("read", count=1), newer), end()))
    assert len(whole) == 1
    assert ticks.unknown == {"profile": 1}


def test_pending_ticks_are_bounded() -> None:
    parts = [tick(series("read", count=1)) for _ in range(PENDING_TICKS + 50)]
    lines = [line for line in stream(hello(), *parts) if line["kind"] != "health"]
    ticks = Ticks()
    for line in lines:
        ticks.feed(line)
    assert ticks.incomplete == 50
    assert len(ticks._pending) == PENDING_TICKS


@pytest.mark.parametrize("version", ["2.0", "0.9", "10.0", "nonsense", ""])
def test_other_major_version_is_one_clear_error(version: str) -> None:
    with pytest.raises(SchemaMismatchError) as caught:
        run(stream(hello(schema=version)))
    assert f"schema {version}" in str(caught.value)
    assert "schema 1.1" in str(caught.value)
    assert "same release" in str(caught.value)


def test_newer_minor_version_is_read() -> None:
    whole, _ = run(stream(hello(schema="1.7"), tick(), end()))
    assert len(whole) == 1


def test_error_line_without_hello_is_kept() -> None:
    whole, ticks = run(stream(error(message="no BTF at /sys/kernel/btf/vmlinux")))
    assert whole == []
    assert ticks.error is not None
    assert ticks.error["message"] == "no BTF at /sys/kernel/btf/vmlinux"


def test_second_health_line_spoils_its_tick_only() -> None:
    lines = stream(hello(), tick(health(lines=9, interval_ns=1)), tick())
    whole, ticks = run(lines)
    assert [item.number for item in whole] == [2]
    assert ticks.incomplete == 1
