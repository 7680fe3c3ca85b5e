from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podtracer.metrics.http_request import Refused, Request, parse

HOST = b"\r\nHost: x"


@pytest.mark.parametrize(
    ("head", "request_read"),
    [
        (b"GET /metrics HTTP/1.1" + HOST, Request("GET", "/metrics", True)),
        (b"GET /metrics?x=/healthz HTTP/1.1" + HOST, Request("GET", "/metrics", True)),
        (b"GET / HTTP/1.1" + HOST + b"\r\nConnection: Close", Request("GET", "/", False)),
        (b"GET / HTTP/1.1" + HOST + b"\r\nCONNECTION: x, close", Request("GET", "/", False)),
        (b"GET / HTTP/1.0", Request("GET", "/", False)),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive", Request("GET", "/", True)),
        (b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 5", Request("POST", "/", False)),
        (b"GET / HTTP/1.1" + HOST + b"\r\nContent-Length: 0", Request("GET", "/", True)),
        (
            b"GET / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: chunked",
            Request("GET", "/", False),
        ),
        (
            b"GET / HTTP/1.1" + HOST + b"\r\nContent-Length: 0\r\ncontent-length: 7",
            Request("GET", "/", False),
        ),
    ],
)
def test_head_is_read(head: bytes, request_read: Request) -> None:
    assert parse(head) == request_read


@pytest.mark.parametrize(
    ("accepted", "gzip"),
    [
        (b"gzip", True),
        (b"deflate, GZIP", True),
        (b"gzip;q=0.5", True),
        (b"gzip ; q=1.0", True),
        (b"gzip;q=0.001", True),
        (b"gzip;q=1.", True),
        (b"gzip;q=1.5", False),
        (b"gzip;q=0.0005", False),
        (b"gzip;q=0", False),
        (b"gzip;q=0.000", False),
        (b"identity", False),
        (b"xgzip", False),
        (b"", False),
    ],
)
def test_compression_is_used_where_it_is_accepted(accepted: bytes, gzip: bool) -> None:
    assert parse(b"GET / HTTP/1.0\r\nAccept-Encoding: " + accepted).gzip is gzip


@pytest.mark.parametrize("value", [b"q=." + b"1" * 7900 + b"x", b"\t" * 7900 + b"x"])
def test_a_long_quality_takes_no_time(value: bytes) -> None:
    # Whoever reads a head holds the interpreter, and the tick with it.
    begun = time.thread_time()
    assert not parse(b"GET / HTTP/1.0\r\nAccept-Encoding: gzip;" + value).gzip
    assert time.thread_time() - begun < 0.05


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"", 400),
        (b"GET", 400),
        (b"GET /", 400),
        (b"GET  / HTTP/1.1" + HOST, 400),
        (b"G\x00T / HTTP/1.1" + HOST, 400),
        (b"GET / HTTP/1.1", 400),
        (b"GET / HTTP/1.1" + HOST + b"\r\nno colon", 400),
        (b"GET / HTTP/1.1" + HOST + b"\r\nname : value", 400),
        (b"GET / HTTP/1.1" + HOST + b"\r\n folded", 400),
        (b"GET / HTTP/x.1" + HOST, 400),
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"PRI * HTTP/2.0", 505),
    ],
)
def test_what_is_no_request_is_refused(head: bytes, status: int) -> None:
    with pytest.raises(Refused) as refused:
        parse(head)
    assert refused.value.status == status


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(head: bytes) -> None:
    try:
        request = parse(head)
    except Refused as refused:
        assert refused.status in (400, 505)
    else:
        assert request.method
