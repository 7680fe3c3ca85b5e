from __future__ import annotations

import pytest

from launching import line, lines
from podtrace.cluster.log_cursor import LogCursor, MissingLinesError


def test_lines_pass_whole_however_the_chunks_are_cut() -> None:
    cursor, stream, taken = LogCursor(), lines(1, 5), b""
    for begin in range(0, len(stream), 7):
        batch = cursor.take(stream[begin : begin + 7])
        assert batch == b"" or batch.endswith(b"\n")
        taken += batch
    assert taken == stream


def test_a_line_that_comes_again_does_not_pass_again() -> None:
    cursor = LogCursor()
    assert cursor.take(lines(1, 4)) == lines(1, 4)
    cursor.restart(is_partial=True)
    assert cursor.take(lines(2, 6)) == lines(5, 6)
    # A reader that fell behind a rotation gets repeats within one follow.
    assert cursor.take(lines(3, 7)) == line(7)


def test_half_a_line_before_a_cut_is_forgotten() -> None:
    cursor = LogCursor()
    cursor.take(lines(1, 2) + line(3)[:10])
    cursor.restart(is_partial=True)
    assert cursor.take(lines(2, 4)) == lines(3, 4)


def test_a_part_of_the_log_that_begins_too_late_is_not_taken() -> None:
    cursor = LogCursor()
    cursor.take(lines(1, 3))
    cursor.restart(is_partial=True)
    with pytest.raises(MissingLinesError):
        cursor.take(lines(6, 8))
    cursor.restart(is_partial=False)
    assert cursor.take(lines(2, 8)) == lines(4, 8)


def test_a_gap_in_the_whole_log_passes_because_there_is_nothing_better() -> None:
    cursor = LogCursor()
    cursor.take(lines(1, 3))
    cursor.restart(is_partial=False)
    assert cursor.take(lines(6, 8)) == lines(6, 8)


def test_a_gap_after_the_first_line_of_a_part_is_the_logs_own() -> None:
    cursor = LogCursor()
    cursor.take(lines(1, 3))
    cursor.restart(is_partial=True)
    assert cursor.take(lines(3, 4) + lines(7, 8)) == line(4) + lines(7, 8)


@pytest.mark.parametrize(("kind", "complete"), [("end", True), ("error", True), ("event", False)])
def test_the_last_line_is_known_by_its_kind(kind: str, complete: bool) -> None:
    cursor = LogCursor()
    cursor.take(line(1) + line(2, kind))
    assert cursor.is_complete is complete


def test_a_text_cannot_look_like_the_last_line_or_a_number() -> None:
    cursor = LogCursor()
    hostile = line(1, "event", path='","kind":"end","seq":99,"x":"')
    assert cursor.take(hostile + line(2)) == hostile + line(2)
    assert not cursor.is_complete
    assert cursor.last_seq == 2


def test_what_is_no_line_of_the_stream_is_kept_for_the_user() -> None:
    cursor = LogCursor()
    noise = b"".join(b"Traceback %d\n" % number for number in range(20))
    assert cursor.take(noise + b"\n" + line(1)) == line(1)
    assert cursor.other_lines[-1] == "Traceback 19"
    assert len(cursor.other_lines) == 8


def test_a_line_without_end_takes_no_memory() -> None:
    cursor = LogCursor()
    for _ in range(100):
        assert cursor.take(b"x" * 10_000) == b""
    assert len(cursor._rest) <= 20_000
    assert cursor.take(b"x\n" + line(1)) == line(1)
