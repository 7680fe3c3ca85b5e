"""Recordings: the raw stream in a file, compressed if its name ends in .gz, and reading it back.

A recording holds the stream, so that a replay goes through the same code as the run and gives the
same report, and behind it what the plugin had from elsewhere: names of addresses. What is written
reaches the file every second: a crash leaves a recording that is cut, but readable.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from podtrace.errors import PodtraceError, RecordingError, StreamError
from podtrace.source import CHUNK_BYTES, PATIENCE_SECONDS
from podtrace.wire.codec import encode
from podtrace.wire.schema import NAMES

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_BITS = 31
_FLUSH_SECONDS = 0.5
_HELLO_MARK = b'"hello"'
_HEAD_BYTES = 8192
_NAMES_A_LINE = 15
"""A name is two words of at most 253 characters, so that a line is never too long."""


class RecordingWriter:
    """Writes the raw stream of a run to a file.

    The file is opened at once, so that a bad path is an error before the trace begins. It is new or
    empty: an older recording may be the only evidence of what it holds. A failure to write is kept
    in `failure` and does not stop the trace.

    Args:
        path: the file; the stream is compressed if the name ends in .gz.
        owner: user and group that a new file is given to, for runs under sudo.

    Raises:
        RecordingError: the file cannot be written, has content, or is being written already.
    """

    def __init__(self, path: str, owner: tuple[int, int] | None = None) -> None:
        self._path = path
        self._created = False
        self._started = False
        self._held: list[bytes] = []
        self._is_at_line = True
        self._flushed_at = time.monotonic()
        self._gzip = (
            zlib.compressobj(6, zlib.DEFLATED, _GZIP_BITS) if path.endswith(".gz") else None
        )
        self.failure: RecordingError | None = None
        self._descriptor = self._open(owner)

    def start(self) -> None:
        """Begin the file with what was written so far: the stream has a beginning."""
        self._started = True
        held, self._held = b"".join(self._held), []
        self.write(held)

    def write(self, chunk: bytes) -> None:
        """Add a chunk of the stream."""
        self._is_at_line = chunk.endswith(b"\n") if chunk else self._is_at_line
        if not self._started:
            self._held.append(chunk)
            return
        if self.failure is not None:
            return
        try:
            if self._gzip is None:
                self._write(chunk)
                return
            self._write(self._gzip.compress(chunk))
            if time.monotonic() - self._flushed_at >= _FLUSH_SECONDS:
                self._write(self._gzip.flush(zlib.Z_SYNC_FLUSH))
                self._flushed_at = time.monotonic()
        except OSError as error:
            self._fail(error)

    def close(self, names: Mapping[str, str] | None = None) -> None:
        """Complete the file with names of addresses; remove it if it is new and has nothing."""
        if self._descriptor < 0:
            return
        if self._started and names:
            self.write(b"" if self._is_at_line else b"\n")
            self.write(_names_lines(names))
        if self._started and self._gzip is not None and self.failure is None:
            try:
                self._write(self._gzip.flush())
            except OSError as error:
                self._fail(error)
        os.close(self._descriptor)
        self._descriptor = -1
        if self._created and not self._started:
            Path(self._path).unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def _fail(self, error: OSError) -> None:
        self.failure = RecordingError(
            f"cannot write the recording {self._path}: {error.strerror}",
            "what was recorded before can be replayed; record to another place",
        )

    def _open(self, owner: tuple[int, int] | None) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            try:
                descriptor = os.open(self._path, flags | os.O_CREAT | os.O_EXCL, 0o666)
                self._created = True
            except FileExistsError:
                descriptor = os.open(self._path, flags)
        except OSError as error:
            if error.errno in (errno.EISDIR, errno.ENXIO):
                raise self._no_file() from error
            raise RecordingError(
                f"cannot write the recording {self._path}: {error.strerror}",
                "give --record a file in a folder that you may write to",
            ) from error
        try:
            self._check(descriptor)
            if self._created and owner is not None:
                os.fchown(descriptor, *owner)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _check(self, descriptor: int) -> None:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise self._no_file()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RecordingError(
                f"another podtrace is recording to {self._path}",
                "give --record another name",
            ) from error
        # Asked behind the lock: a run that has it may have written meanwhile.
        if os.fstat(descriptor).st_size:
            raise RecordingError(
                f"{self._path} exists and is not empty: it is left as it is",
                "give --record another name, or remove the file first",
            )

    def _no_file(self) -> RecordingError:
        return RecordingError(
            f"cannot record to {self._path}: it is no regular file",
            "give --record the name of a file",
        )


class RecordingReader:
    """A recorded file as a line source.

    Raises:
        RecordingError: there is no such file, it cannot be read, is empty or is no recording.
    """

    patience_seconds = PATIENCE_SECONDS

    def __init__(self, path: str) -> None:
        self._path = path
        self._stopped = False
        self._cut = False
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise RecordingError(
                f"cannot read the recording {path}: {error.strerror}",
                "give the file that a run with --record FILE wrote",
            ) from error
        try:
            self._head = self._check()
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        """Yield the recorded stream, decompressed."""
        chunk = self._head
        inflate = zlib.decompressobj(_GZIP_BITS) if chunk.startswith(_GZIP_MAGIC) else None
        while chunk and not self._stopped:
            if inflate is None:
                yield chunk
            else:
                try:
                    data = inflate.decompress(chunk, CHUNK_BYTES)
                except zlib.error:
                    self._cut = True
                    return
                yield data
                if inflate.unconsumed_tail:
                    chunk = inflate.unconsumed_tail
                    continue
            chunk = self._read()
        self._cut = inflate is not None and not inflate.eof

    def stop(self) -> None:
        """End the replay where it is."""
        self._stopped = True

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def troubles(self) -> Sequence[PodtraceError]:
        """Return nothing: a recording with its last line is whole, or its gaps are counted."""
        return ()

    def trouble(self) -> PodtraceError | None:
        """Say that the recording has no end."""
        if self._stopped:
            return None
        how = "its compressed data breaks off" if self._cut else "its last line is missing"
        return StreamError(
            f"the recording {self._path} is cut: {how}",
            "what the file holds is all there is; record again for a complete report",
        )

    def _read(self) -> bytes:
        try:
            return os.read(self._descriptor, CHUNK_BYTES)
        except OSError as error:
            raise RecordingError(
                f"cannot read the recording {self._path}: {error.strerror}",
                "copy the file to a healthy disk, or record again",
            ) from error

    def _check(self) -> bytes:
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            raise RecordingError(
                f"{self._path} is no regular file",
                "give the file that a run with --record FILE wrote",
            )
        head = self._read()
        if not head:
            raise RecordingError(
                f"the recording {self._path} is empty: the run that wrote it never began",
                "record again",
            )
        if not _is_recording(head):
            raise RecordingError(
                f"{self._path} is no recording of podtrace",
                "give the file that a run with --record FILE wrote",
            )
        return head


def _names_lines(names: Mapping[str, str]) -> bytes:
    """Return names of addresses as lines; they are numbered for themselves."""
    whole, now_ns = list(names.items()), time.time_ns()
    parts = [whole[start : start + _NAMES_A_LINE] for start in range(0, len(whole), _NAMES_A_LINE)]
    return b"".join(
        encode({"kind": NAMES, "seq": seq, "time_ns": now_ns, "peers": dict(part)})
        for seq, part in enumerate(parts, 1)
    )


def _is_recording(head: bytes) -> bool:
    """Tell whether a file that begins so was written by --record."""
    if head.startswith(_GZIP_MAGIC):
        try:
            head = zlib.decompressobj(_GZIP_BITS).decompress(head, _HEAD_BYTES)
        except zlib.error:
            return False
    return head.startswith(b"{") and _HELLO_MARK in head.split(b"\n", 1)[0]
