"""Standard output: a reader that left ends the run quietly, a full disk is an error."""

from __future__ import annotations

import io
import os
import socket
from typing import TextIO

import pytest

from podtrace.errors import OutputError
from podtrace.output import Output, OutputClosed


def text_stream(descriptor: int) -> TextIO:
    return os.fdopen(descriptor, "w", encoding="utf-8")


def test_pipe_without_a_reader_is_noticed_before_anything_is_written() -> None:
    reader, writer = os.pipe()
    with text_stream(writer) as stream:
        output = Output(stream)
        output.check()
        os.close(reader)
        with pytest.raises(OutputClosed):
            output.check()


def test_socket_without_a_reader_is_noticed() -> None:
    ours, theirs = socket.socketpair()
    with text_stream(ours.detach()) as stream:
        output = Output(stream)
        output.check()
        theirs.close()
        with pytest.raises(OutputClosed):
            output.check()


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_writing_without_a_reader_ends_quietly(size: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with text_stream(writer) as stream:
        output = Output(stream)
        with pytest.raises(OutputClosed):
            output.write_with(lambda stream: stream.write("x" * size))
        with pytest.raises(OutputClosed):
            output.check()
        stream.write("the rest goes nowhere")


def test_full_disk_is_an_error() -> None:
    with text_stream(os.open("/dev/full", os.O_WRONLY)) as stream:
        output = Output(stream)
        output.check()
        with pytest.raises(OutputError, match="standard output: No space left on device"):
            output.write_with(lambda stream: stream.write("x"))


def test_bytes_and_text_arrive() -> None:
    reader, writer = os.pipe()
    with text_stream(writer) as stream:
        output = Output(stream)
        output.write_bytes(b"raw\n")
        output.write_with(lambda stream: stream.write("text"))
        assert os.read(reader, 100) == b"raw\ntext"
    os.close(reader)


def test_program_without_a_standard_output_writes_nowhere() -> None:
    output = Output(None)
    output.check()
    output.write_bytes(b"x")
    assert not output.is_terminal


def test_stream_without_a_descriptor_is_written() -> None:
    stream = io.StringIO()
    output = Output(stream)
    output.check()
    output.write_with(lambda stream: stream.write("x"))
    assert stream.getvalue() == "x"
