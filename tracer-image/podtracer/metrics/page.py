"""One tick's page, as it is sent: plain, or compressed once for all who ask for it that way.

A page of a hundred busy processes is 3.5 MB, most of it the same labels again and again: compressed
it is a twentieth. The age of the page stands behind it and is new in every answer, so what
compresses is copied in the state before it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

_FASTEST = 1
_GZIP = 16 + zlib.MAX_WBITS
"""RFC 1952's header and trailer around the data (zlib.h, deflateInit2)."""


class Page:
    """The page of a tick that ended at `tick_ns`, in monotonic nanoseconds."""

    def __init__(self, text: Sequence[bytes], tick_ns: int) -> None:
        self.tick_ns = tick_ns
        self._text = text
        self._compressed = b""

    def plain(self, end: Sequence[bytes]) -> Sequence[bytes]:
        """Return the page and what stands behind it."""
        return [*self._text, *end]

    def compressed(self, end: Sequence[bytes]) -> Sequence[bytes]:
        """Return the same in gzip's format."""
        if not self._compressed:
            self._compressor = zlib.compressobj(_FASTEST, zlib.DEFLATED, _GZIP)
            parts = [self._compressor.compress(part) for part in self._text]
            self._compressed = b"".join([*parts, self._compressor.flush(zlib.Z_SYNC_FLUSH)])
        last = self._compressor.copy()
        return [self._compressed, last.compress(b"".join(end)), last.flush()]
