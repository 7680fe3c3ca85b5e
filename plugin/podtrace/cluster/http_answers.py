"""As much of HTTP/1.1 as it takes to pass connections on: own answers, and where an answer ends."""

from __future__ import annotations

import re
from http import HTTPStatus

_LONGEST_HEAD_BYTES = 65536
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)


def refusal(status: HTTPStatus, reason: str, retry_seconds: int | None = None) -> bytes:
    """Return an answer that says in one line why there is no better one."""
    body = (" ".join(reason.split()) + "\n").encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    if retry_seconds is not None:
        lines.append(f"Retry-After: {retry_seconds}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class AnswerMeter:
    """Follows the answers that pass on one connection, to know when one is complete.

    An answer whose head says no length is never known to be complete.
    """

    def __init__(self) -> None:
        self._head = b""
        self._left: int | None = 0
        self._is_in_head = False

    @property
    def has_begun(self) -> bool:
        """Whether any of the newest answer came."""
        return not self._is_in_head or bool(self._head)

    @property
    def is_complete(self) -> bool:
        """Whether all of the newest answer came."""
        return not self._is_in_head and self._left == 0

    def expect(self) -> None:
        """A request was sent."""
        if self.is_complete:
            self._is_in_head, self._head, self._left = True, b"", None

    def take(self, data: bytes) -> None:
        """Note bytes of an answer."""
        if not self._is_in_head:
            if self._left is not None:
                self._left = max(self._left - len(data), 0)
            return
        self._head += data
        head, end, body = self._head.partition(b"\r\n\r\n")
        if end or len(self._head) > _LONGEST_HEAD_BYTES:
            length = _LENGTH.search(head + b"\r\n")
            self._is_in_head = False
            self._left = None if length is None else max(int(length[1]) - len(body), 0)
            self._head = b""
