"""Durations: Go style in, whole nanoseconds out, everything else an error with the next step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podtrace.durations import LONGEST_NS, format_duration, parse_duration
from podtrace.errors import EXIT_USAGE, UsageError


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("20s", 20_000_000_000),
        ("1m30s", 90_000_000_000),
        ("500ms", 500_000_000),
        ("1h", 3_600_000_000_000),
        ("24h", LONGEST_NS),
        ("1.5s", 1_500_000_000),
        (".5s", 500_000_000),
        ("+2s", 2_000_000_000),
        ("100us", 100_000),
        ("100µs", 100_000),
        ("7ns", 7),
        (" 3s ", 3_000_000_000),
    ],
)
def test_go_style_duration_is_read(text: str, nanoseconds: int) -> None:
    assert parse_duration(text, "--diagnose") == nanoseconds


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("20", "--diagnose 20: the unit is missing", "--diagnose 20s"),
        ("-5", "--diagnose -5: the unit is missing", "--diagnose 5s"),
        ("0", "must be longer than zero", "--diagnose 20s"),
        ("0s", "--diagnose 0s: the duration must be longer than zero", "--diagnose 20s"),
        ("-5s", "--diagnose -5s: the duration must be longer than zero", "--diagnose 20s"),
        ("0.1ns", "must be longer than zero", "--diagnose 20s"),
        ("abc", "--diagnose abc: this is no duration", "--diagnose 20s"),
        ("", "this is no duration", "--diagnose 20s"),
        ("s", "this is no duration", "--diagnose 20s"),
        ("20 s", "this is no duration", "--diagnose 20s"),
        ("20sec", "this is no duration", "--diagnose 20s"),
        ("1d", "this is no duration", "--diagnose 20s"),
        ("٣s", "this is no duration", "--diagnose 20s"),
        ("25h", "--diagnose 25h: the longest duration is 24h", "--diagnose 24h"),
        ("24h1ns", "the longest duration is 24h", "--diagnose 24h"),
    ],
)
def test_other_text_is_an_error_with_the_next_step(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_duration(text, "--diagnose")
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
    assert caught.value.exit_code == EXIT_USAGE


@given(st.integers(min_value=1, max_value=LONGEST_NS))
def test_formatted_duration_is_read_back_exactly(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds), "--for") == nanoseconds


@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        assert 0 < parse_duration(text, "--for") <= LONGEST_NS
    except UsageError as error:
        assert error.message.startswith("--for ")
