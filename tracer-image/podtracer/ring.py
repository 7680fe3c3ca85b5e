"""Consumer side of the BPF ring buffer that carries the events."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator


class RingBuffer:
    """A ring buffer map, read in place.

    Source: kernel Documentation/bpf/ringbuf.rst: one writable page with the consumer's position,
    one read-only page with the producer's, then the data, mapped twice so that records never wrap.
    """

    _BUSY, _DISCARD = 1 << 31, 1 << 30
    _HEADER_BYTES = 8

    def __init__(self, fd: int, data_bytes: int) -> None:
        page = mmap.PAGESIZE
        self._mask = data_bytes - 1
        self._consumer = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._producer = mmap.mmap(
            fd, page + 2 * data_bytes, mmap.MAP_SHARED, mmap.PROT_READ, offset=page
        )
        self._data_start = page

    def records(self) -> Iterator[bytes]:
        """Yield what has been written and free its room."""
        (position,) = struct.unpack_from("=Q", self._consumer, 0)
        while position < struct.unpack_from("=Q", self._producer, 0)[0]:
            start = self._data_start + (position & self._mask)
            (header,) = struct.unpack_from("=I", self._producer, start)
            if header & self._BUSY:
                return
            length = header & ~(self._BUSY | self._DISCARD)
            if not header & self._DISCARD:
                start += self._HEADER_BYTES
                yield self._producer[start : start + length]
            position += (length + self._HEADER_BYTES + 7) & ~7
            struct.pack_into("=Q", self._consumer, 0, position)

    def close(self) -> None:
        """Unmap the buffer."""
        self._consumer.close()
        self._producer.close()
