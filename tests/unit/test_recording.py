"""Recordings: nothing but the stream goes in, and what is no recording is told apart."""

from __future__ import annotations

import gzip
import os
import stat
from pathlib import Path

import pytest

from factories import encoded, end, hello, series, stream, tick
from podtrace.errors import RecordingError, StreamError
from podtrace.recording import RecordingReader, RecordingWriter

STREAM = encoded(stream(hello(), tick(series("read", count=3)), tick(), end()))


def record(path: Path, data: bytes = STREAM, piece: int = 100) -> RecordingWriter:
    writer = RecordingWriter(str(path))
    writer.write(data[:piece])
    writer.start()
    for start in range(piece, len(data), piece):
        writer.write(data[start : start + piece])
    writer.close()
    return writer


def read(path: Path) -> bytes:
    reader = RecordingReader(str(path))
    try:
        return b"".join(reader)
    finally:
        reader.close()


def test_recording_is_the_raw_stream(tmp_path: Path) -> None:
    record(tmp_path / "run.jsonl")
    assert (tmp_path / "run.jsonl").read_bytes() == STREAM
    assert read(tmp_path / "run.jsonl") == STREAM


def test_recording_named_gz_is_compressed(tmp_path: Path) -> None:
    record(tmp_path / "run.jsonl.gz")
    assert gzip.decompress((tmp_path / "run.jsonl.gz").read_bytes()) == STREAM
    assert read(tmp_path / "run.jsonl.gz") == STREAM


def test_large_compressed_recording_is_read_whole(tmp_path: Path) -> None:
    data = encoded(stream(hello(), *(tick(series("read", count=i)) for i in range(5000)), end()))
    record(tmp_path / "run.gz", data, piece=65536)
    assert read(tmp_path / "run.gz") == data


def test_recording_that_never_began_leaves_no_file(tmp_path: Path) -> None:
    writer = RecordingWriter(str(tmp_path / "run.jsonl"))
    writer.write(b"some bytes that were no stream")
    writer.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [STREAM, gzip.compress(STREAM), b"precious"])
def test_file_with_content_is_never_overwritten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "older"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="older exists and is not empty") as caught:
        RecordingWriter(str(path))
    assert caught.value.hint == "give --record another name, or remove the file first"
    assert path.read_bytes() == content


def test_empty_file_is_recorded_to_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "reserved"
    path.touch()
    RecordingWriter(str(path)).close()
    assert path.exists()
    record(path)
    assert read(path) == STREAM


def test_two_runs_do_not_record_to_one_file(tmp_path: Path) -> None:
    first = RecordingWriter(str(tmp_path / "run.jsonl"))
    for _ in range(2):
        with pytest.raises(RecordingError, match=r"another podtrace is recording to .*run\.jsonl"):
            RecordingWriter(str(tmp_path / "run.jsonl"))
        first.write(STREAM)
        first.start()
    first.close()


def test_folder_device_and_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, Path("/dev/null"), tmp_path / "pipe"):
        with pytest.raises(RecordingError, match="no regular file"):
            RecordingWriter(str(path))


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"none/run\.jsonl: No such file or directory"):
        RecordingWriter(str(tmp_path / "none" / "run.jsonl"))


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file to another user takes root")
def test_new_recording_belongs_to_the_user_behind_sudo(tmp_path: Path) -> None:
    writer = RecordingWriter(str(tmp_path / "run.jsonl"), owner=(1234, 5678))
    writer.start()
    writer.close()
    status = (tmp_path / "run.jsonl").stat()
    assert (status.st_uid, status.st_gid) == (1234, 5678)


def test_full_disk_is_kept_as_failure_and_stops_nothing(tmp_path: Path) -> None:
    writer = RecordingWriter(str(tmp_path / "run.jsonl"))
    writer.start()
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, writer._descriptor)
    os.close(full)
    writer.write(STREAM)
    writer.write(STREAM)
    writer.close()
    assert writer.failure is not None
    assert "run.jsonl: No space left on device" in writer.failure.message


def test_crash_leaves_a_compressed_recording_that_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podtrace.recording._FLUSH_SECONDS", 0.0)
    writer = RecordingWriter(str(tmp_path / "run.gz"))
    writer.start()
    writer.write(STREAM)
    reader = RecordingReader(str(tmp_path / "run.gz"))
    assert b"".join(reader) == STREAM
    trouble = reader.trouble()
    assert isinstance(trouble, StreamError)
    assert "run.gz is cut: its compressed data breaks off" in trouble.message
    reader.close()
    writer.close()


def test_damaged_compressed_recording_is_read_up_to_the_damage(tmp_path: Path) -> None:
    data = encoded(stream(hello(), *(tick(series("read", count=i)) for i in range(5000)), end()))
    path = tmp_path / "run.gz"
    record(path, data)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 :] = b"\xff" * (len(raw) - len(raw) // 2)
    path.write_bytes(raw)
    assert read(path)[: len(data) // 4] == data[: len(data) // 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x7fELF\x02\x01\x01" + bytes(300), "is no recording of podtrace"),
        (b"hello, world\n", "is no recording of podtrace"),
        (b'{"a": 1}\n', "is no recording of podtrace"),
        (b"\x1f\x8b garbage", "is no recording of podtrace"),
        (gzip.compress(b'{"a": 1}\n'), "is no recording of podtrace"),
    ],
)
def test_file_that_is_no_recording_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(RecordingError) as caught:
        RecordingReader(str(path))
    assert message in caught.value.message
    assert "file" in caught.value.message
    assert caught.value.hint


def test_missing_file_folder_and_pipe_cannot_be_replayed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RecordingError, match="gone: No such file"):
        RecordingReader(str(tmp_path / "gone"))
    with pytest.raises(RecordingError, match="no regular file"):
        RecordingReader(str(tmp_path))
    with pytest.raises(RecordingError, match="no regular file"):
        RecordingReader(str(tmp_path / "pipe"))


def test_stopped_replay_ends_without_trouble(tmp_path: Path) -> None:
    record(tmp_path / "run.jsonl")
    reader = RecordingReader(str(tmp_path / "run.jsonl"))
    reader.stop()
    assert list(reader) == []
    assert reader.trouble() is None
    reader.close()


def test_recording_is_not_executable(tmp_path: Path) -> None:
    record(tmp_path / "run.jsonl")
    assert not stat.S_IMODE((tmp_path / "run.jsonl").stat().st_mode) & 0o111
