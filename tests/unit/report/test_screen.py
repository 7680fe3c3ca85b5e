"""The terminal is given back on every way out; a real pseudo-terminal shows it."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from podtrace.report.screen import Screen, can_redraw

ENTER = b"\x1b[?1049h\x1b[?25l"
LEAVE = b"\x1b[?25h\x1b[?1049l"
PLUGIN = Path(__file__).parents[3] / "plugin"

PROGRAM = """
import os, signal, sys, time
from podtrace.report.screen import Screen
way = sys.argv[1]
screen = Screen(sys.stdout)
def leave(number, frame):
    raise SystemExit(3)
signal.signal(signal.SIGTERM, leave)
screen.open()
screen.draw(["hello"])
if way == "close":
    screen.close()
    screen.close()
elif way == "forgotten":
    pass
elif way == "exit":
    sys.exit(2)
elif way == "error":
    raise RuntimeError("broken")
else:
    time.sleep(20)
"""


class Terminal:
    """A pseudo-terminal and a program on it."""

    def __init__(self, way: str) -> None:
        self.master, slave = pty.openpty()
        set_size(self.master, 80, 24)
        self.program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, way],
            stdin=slave,
            stdout=slave,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(PLUGIN), "TERM": "xterm"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.output = b""

    def read_until(self, wanted: bytes, times: int = 1) -> bool:
        """Collect output until the text came so many times, or the program was silent for long."""
        deadline = time.monotonic() + 20
        while self.output.count(wanted) < times and time.monotonic() < deadline:
            readable, _, _ = select.select([self.master], [], [], 0.2)
            if not readable:
                continue
            try:
                data = os.read(self.master, 65536)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                break
            self.output += data
        return self.output.count(wanted) >= times

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.program.pid, signal.SIGKILL)
        self.program.wait(20)
        os.close(self.master)


@pytest.fixture
def descriptors() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    yield master, slave
    for descriptor in (master, slave):
        with suppress(OSError):
            os.close(descriptor)


def set_size(descriptor: int, columns: int, lines: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


@pytest.mark.parametrize("way", ["close", "forgotten", "exit", "error", "terminated"])
def test_terminal_is_restored_once_on_every_way_out(way: str) -> None:
    terminal = Terminal(way)
    try:
        assert terminal.read_until(b"hello")
        if way == "terminated":
            terminal.program.send_signal(signal.SIGTERM)
        assert terminal.read_until(LEAVE)
        terminal.program.wait(20)
        terminal.read_until(LEAVE, times=2)
    finally:
        terminal.close()
    assert terminal.output.count(ENTER) == 1
    assert terminal.output.count(LEAVE) == 1
    assert terminal.output.endswith(LEAVE)


def test_suspended_program_gives_the_terminal_back_and_takes_it_again() -> None:
    terminal = Terminal("waiting")
    try:
        assert terminal.read_until(b"hello")
        terminal.program.send_signal(signal.SIGTSTP)
        assert terminal.read_until(LEAVE)
        os.kill(terminal.program.pid, signal.SIGCONT)
        assert terminal.read_until(ENTER, times=2)
        terminal.program.send_signal(signal.SIGTERM)
        assert terminal.read_until(LEAVE, times=2)
    finally:
        terminal.close()


def test_size_follows_the_terminal(descriptors: tuple[int, int]) -> None:
    master, slave = descriptors
    with os.fdopen(slave, "w") as stream:
        screen = Screen(stream)
        set_size(master, 100, 30)
        assert screen.size == (100, 30)
        set_size(master, 61, 16)
        assert screen.size == (61, 16)
        set_size(master, 0, 0)
        assert screen.size == (80, 24)


def test_terminal_that_is_gone_raises_nothing(descriptors: tuple[int, int]) -> None:
    master, slave = descriptors
    with os.fdopen(slave, "w") as stream:
        screen = Screen(stream)
        screen.open()
        os.close(master)
        screen.draw(["line"])
        screen.close()


def test_nothing_is_drawn_on_a_closed_screen(descriptors: tuple[int, int]) -> None:
    master, slave = descriptors
    with os.fdopen(slave, "w") as stream:
        Screen(stream).draw(["line"])
        assert not select.select([master], [], [], 0.05)[0]


def test_only_a_capable_and_willing_terminal_is_redrawn(descriptors: tuple[int, int]) -> None:
    with os.fdopen(descriptors[1], "w") as stream:
        assert can_redraw(stream, {"TERM": "xterm"})
        assert not can_redraw(stream, {"TERM": "dumb"})
        assert not can_redraw(stream, {})
        assert not can_redraw(stream, {"TERM": "xterm", "NO_COLOR": "1"})
    assert not can_redraw(io.StringIO(), {"TERM": "xterm"})
