"""A request's head, from bytes (RFC 9112): what little of HTTP the page needs, and strictly."""

from __future__ import annotations

import re
from typing import NamedTuple

MOST_HEAD_BYTES = 8192
END_OF_HEAD = b"\r\n\r\n"

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_GZIP = re.compile(rb"\s*gzip\s*(;\s*q=(1(\.0{0,3})?|0\.(?!0+\b)\d{1,3})\s*)?")
_VERSION = re.compile(rb"HTTP/(\d)\.(\d)")


class Refused(Exception):
    """The request cannot be answered as it is; `status` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Request(NamedTuple):
    """What is asked for; `keep_alive` says whether another request may follow."""

    method: str
    path: str
    keep_alive: bool
    gzip: bool = False


def parse(head: bytes) -> Request:
    """Read a head without its last empty line; raises Refused."""
    first, *lines = head.split(b"\r\n")
    words = first.split(b" ")
    if len(words) != 3 or not _TOKEN.fullmatch(words[0]) or not words[1]:
        raise Refused(400)
    version = _VERSION.fullmatch(words[2])
    if version is None:
        raise Refused(400)
    if version[1] != b"1":
        raise Refused(505)
    fields = _fields(lines)
    options = {option.strip().lower() for option in fields.get(b"connection", b"").split(b",")}
    modern = version[2] != b"0"
    if modern and b"host" not in fields:
        raise Refused(400)
    keep_alive = b"close" not in options and (modern or b"keep-alive" in options)
    # A body is not read, so what stands behind such a head is no request.
    if b"transfer-encoding" in fields or fields.get(b"content-length", b"0") != b"0":
        keep_alive = False
    path = words[1].decode("latin-1").partition("?")[0]
    gzip = any(map(_GZIP.fullmatch, fields.get(b"accept-encoding", b"").lower().split(b",")))
    return Request(words[0].decode("ascii"), path, keep_alive, gzip)


def _fields(lines: list[bytes]) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            raise Refused(400)
        name = name.lower()
        joined = fields.get(name)
        value = value.strip(b" \t")
        fields[name] = value if joined is None else joined + b"," + value
    return fields
