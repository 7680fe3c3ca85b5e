from __future__ import annotations

from http import HTTPStatus

import pytest

from podtrace.cluster.http_answers import AnswerMeter, refusal

ANSWER = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\nX: y\r\n\r\nabcde"


def test_refusal_says_why_in_one_line() -> None:
    assert refusal(HTTPStatus.SERVICE_UNAVAILABLE, "not\r\nyet é", 1) == (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 11\r\nConnection: close\r\nRetry-After: 1\r\n\r\nnot yet \xc3\xa9\n"
    )
    assert b"Retry-After" not in refusal(HTTPStatus.BAD_GATEWAY, "gone")


@pytest.mark.parametrize("size", [1, 2, 7, len(ANSWER)])
def test_answer_is_complete_with_its_last_byte_however_it_is_cut(size: int) -> None:
    meter = AnswerMeter()
    assert meter.is_complete
    for _ in range(2):
        meter.expect()
        assert not meter.has_begun
        for begin in range(0, len(ANSWER), size):
            assert not meter.is_complete
            meter.take(ANSWER[begin : begin + size])
            assert meter.has_begun
        assert meter.is_complete


def test_more_of_a_request_does_not_begin_another_answer() -> None:
    meter = AnswerMeter()
    meter.expect()
    meter.expect()
    meter.take(ANSWER[:-1])
    meter.expect()
    meter.take(ANSWER[-1:])
    assert meter.is_complete


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"SSH-2.0\r\n" + bytes(70_000),
    ],
)
def test_answer_without_a_length_is_never_complete(head: bytes) -> None:
    meter = AnswerMeter()
    meter.expect()
    meter.take(head)
    meter.take(b"and more")
    assert meter.has_begun
    assert not meter.is_complete
