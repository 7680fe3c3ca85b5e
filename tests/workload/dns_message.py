"""DNS messages of one question, made and read by hand (RFC 1035 section 4).

No resolver library is involved, so a test sees exactly the queries that it sends.
"""

from __future__ import annotations

import struct

A = 1
AAAA = 28
NOERROR = 0
SERVFAIL = 2
NXDOMAIN = 3
REFUSED = 5
RCODE_NAMES = {NOERROR: "NOERROR", SERVFAIL: "SERVFAIL", NXDOMAIN: "NXDOMAIN", REFUSED: "REFUSED"}

_HEADER = struct.Struct("!HHHHHH")
_RECURSION_DESIRED = 0x0100
_RESPONSE = 0x8180


def query(identifier: int, name: str, question_type: int = A) -> bytes:
    """Build a query; a label may hold any bytes, written in latin-1."""
    labels = b"".join(
        bytes([len(label)]) + label.encode("latin-1") for label in name.rstrip(".").split(".")
    )
    question = labels + b"\0" + struct.pack("!HH", question_type, 1)
    return _HEADER.pack(identifier, _RECURSION_DESIRED, 1, 0, 0, 0) + question


def question(message: bytes) -> tuple[int, str, int]:
    """Return identifier, name and type of a message's question."""
    identifier = _HEADER.unpack_from(message)[0]
    labels = []
    offset = _HEADER.size
    while length := message[offset]:
        labels.append(message[offset + 1 : offset + 1 + length].decode("latin-1"))
        offset += 1 + length
    return identifier, ".".join(labels), struct.unpack_from("!H", message, offset + 1)[0]


def answer(request: bytes, rcode: int = NOERROR) -> bytes:
    """Answer a query: one address record when the code is NOERROR, otherwise none."""
    identifier, _, question_type = question(request)
    end = request.index(b"\0", _HEADER.size) + 5
    records = 1 if rcode == NOERROR else 0
    message = _HEADER.pack(identifier, _RESPONSE | rcode, 1, records, 0, 0)
    message += request[_HEADER.size : end]
    if records:
        address = bytes(15) + b"\1" if question_type == AAAA else bytes([127, 0, 0, 1])
        message += struct.pack("!HHHIH", 0xC00C, question_type, 1, 60, len(address)) + address
    return message


def rcode(message: bytes) -> int:
    """Return the response code of an answer."""
    return message[3] & 0xF
