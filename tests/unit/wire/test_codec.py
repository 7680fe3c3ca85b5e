"""The line codec: what goes in comes out, and no input can raise or stop it."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories import encoded, end, hello, process, series, stream, tick
from podtrace.wire.codec import Decoder, LineTooLongError, encode
from podtrace.wire.schema import MAX_LINE_BYTES

GOOD = stream(
    hello(),
    tick(process(), series("read", duration_ns=[1000, 2000])),
    tick(series("dns", name="a\u2028b.example", duration_ns=5), process(name="\udc80\x1b[31m")),
    end(),
)


def decode(data: bytes) -> tuple[list[dict[str, Any]], Decoder]:
    decoder = Decoder()
    return decoder.feed(data) + decoder.flush(), decoder


def good(**fields: Any) -> dict[str, Any]:
    line = {"kind": "series", "seq": 1, "time_ns": 1, "tick": 1}
    return line | {"metric": "read", "process": 1, "count": 1} | fields


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), values, max_size=5))
def test_decoding_gives_what_was_encoded(fields: dict[str, Any]) -> None:
    line = fields | {"kind": "from_the_future", "seq": 1, "time_ns": 1, "stream": 0}
    assert decode(encode(line))[0] == [line]


def test_encoded_line_is_ascii_and_ends_at_its_only_newline() -> None:
    data = encode(good(path="a\nb\u2028\u00e9\udc80"))
    assert data.isascii()
    assert data.index(b"\n") == len(data) - 1


def test_line_of_exactly_the_limit_passes_and_one_byte_more_does_not() -> None:
    space = MAX_LINE_BYTES - len(encode(good(path="")))
    fitting = good(path="x" * space)
    assert decode(encode(fitting))[0] == [fitting]
    with pytest.raises(LineTooLongError, match=str(MAX_LINE_BYTES + 1)):
        encode(good(path="x" * (space + 1)))
    data = json.dumps(good(path="x" * (space + 1)), separators=(",", ":")).encode() + b"\n"
    lines, decoder = decode(data + encode(good()))
    assert lines == [good()]
    assert decoder.damage == {"too_long": 1}


def test_number_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        encode(good(extra=float("nan")))


@given(st.lists(st.integers(0, len(encoded(GOOD))), max_size=40))
def test_any_chunking_gives_the_same_lines(cuts: list[int]) -> None:
    data = encoded(GOOD)
    decoder = Decoder()
    edges = [0, *sorted(cuts), len(data)]
    lines = [
        line for start, stop in itertools.pairwise(edges) for line in decoder.feed(data[start:stop])
    ]
    assert lines == GOOD
    assert not decoder.damage


@given(st.binary())
def test_no_bytes_raise(data: bytes) -> None:
    decode(data)


garbage = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    values.map(lambda value: json.dumps(value).encode()),
    st.sampled_from([encode(line)[:cut] for line in GOOD for cut in (1, 20, -2)]),
    st.just(b"x" * (3 * MAX_LINE_BYTES)),
    st.just(b"[" * 8000),
).map(lambda data: data.replace(b"\n", b""))


@given(st.lists(st.tuples(st.integers(0, len(GOOD)), garbage), max_size=8), st.integers(1, 9000))
def test_garbage_between_lines_changes_nothing(inserts: list[tuple[int, bytes]], size: int) -> None:
    pieces = [encode(line) for line in GOOD]
    for place, junk in sorted(inserts, key=lambda insert: insert[0], reverse=True):
        pieces.insert(place, junk + b"\n")
    data = b"".join(pieces)
    decoder = Decoder()
    lines = [
        line
        for start in range(0, len(data), size)
        for line in decoder.feed(data[start : start + size])
    ]
    assert lines + decoder.flush() == GOOD
    assert decoder.damage.total() == len(inserts)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b'{"kind":"end","seq":1', "not_json"),
        (b"\xff\xfe{}", "not_utf8"),
        (b'{"kind":"end","seq":NaN}', "not_json"),
        (b"9" * 5000, "not_json"),
        (b"[" * 8000, "too_deep"),
        (b"[1]", "not_object"),
        (b"7", "not_object"),
        (b"{}", "no_kind"),
        (b'{"kind":7,"seq":1,"time_ns":1}', "no_kind"),
        (b'{"kind":"end","time_ns":1,"reason":"deadline"}', "no_seq"),
        (b'{"kind":"end","seq":0,"time_ns":1,"reason":"deadline"}', "no_seq"),
        (b'{"kind":"end","seq":true,"time_ns":1,"reason":"deadline"}', "no_seq"),
        (b'{"kind":"end","seq":1,"reason":"deadline"}', "no_time"),
        (b'{"kind":"end","seq":1,"time_ns":1.5,"reason":"deadline"}', "no_time"),
        (b'{"kind":"process","seq":1,"time_ns":1,"process":1}', "no_tick"),
        (b'{"kind":"end","seq":1,"time_ns":1}', "bad_field"),
    ],
)
def test_damage_is_counted_by_reason(data: bytes, reason: str) -> None:
    lines, decoder = decode(data + b"\n")
    assert lines == []
    assert decoder.damage == {reason: 1}
    assert decoder.lines == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"count": -1},
        {"count": "1"},
        {"count": 2**64},
        {"count": None},
        {"metric": None},
        {"sum_ns": 1.0},
        {"bytes": True},
        {"slots": [[1]]},
        {"slots": [[976, 1]]},
        {"slots": {"1": 1}},
        {"slots": [[1, -1]]},
        {"errors": ["EPERM"]},
        {"errors": {"EPERM": "1"}},
        {"path": 5},
        {"process": "nginx"},
        {"stream": -1},
        {"stream": "1"},
    ],
)
def test_field_of_a_wrong_type_drops_the_line(fields: dict[str, Any]) -> None:
    lines, decoder = decode(encode(good(**fields)))
    assert lines == []
    assert decoder.damage == {"bad_field": 1}


@pytest.mark.parametrize(
    "fields",
    [
        {"targets": [{"id": "x"}]},
        {"targets": "demo"},
        {"probes": [7]},
        {"sections": {"dns": "full"}},
        {"sections": {"dns": {"reason": None}}},
        {"thresholds": {"slow_file_ns": "10ms"}},
        {"unmeasured": [1]},
        {"node": 7},
        {"listener_check": "no"},
        {"targets": [{"id": 1, "containers": "web"}]},
    ],
)
def test_hello_with_a_wrong_inner_type_is_dropped(fields: dict[str, Any]) -> None:
    lines, decoder = decode(encoded(stream(hello(**fields))))
    assert lines == []
    assert decoder.damage == {"bad_field": 1}


def test_unknown_fields_and_null_optional_fields_pass() -> None:
    line = good(invented_later={"deep": [1.5]}, peer=None, slots=None)
    assert decode(encode(line))[0] == [line]


def test_last_line_without_newline_is_read_at_the_end() -> None:
    decoder = Decoder()
    assert decoder.feed(encode(good())[:-1]) == []
    assert decoder.flush() == [good()]


def test_long_garbage_without_newline_is_not_kept() -> None:
    decoder = Decoder()
    for _ in range(1000):
        assert decoder.feed(b"x" * 5000) == []
    assert len(decoder._rest) < 2 * MAX_LINE_BYTES
    assert decoder.feed(b"\n" + encode(good())) == [good()]
    assert decoder.damage == {"too_long": 1}


def test_other_line_separators_do_not_end_a_line() -> None:
    line = good(path="a\u2028b\u2029c\x85d\x0b")
    data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
    assert decode(data)[0] == [line]
