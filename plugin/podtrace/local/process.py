"""A tracer process on this machine as a line source.

The tracer runs in a session of its own, so that a Ctrl-C reaches this program only, which then asks
the tracer to finish: the tracer stops COMMAND first and sends the rest of its stream. A tracer that
died cannot end COMMAND and remove its cgroup any more: then that is done from here.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import IO

from podtrace.errors import PodtraceError, StartError, StreamError
from podtrace.source import CHUNK_BYTES, IDLE_SECONDS, PATIENCE_SECONDS

KEPT_BYTES = 65536
_LAST_LINES = 8
_EXIT_SECONDS = 5.0
_CLOSE_SECONDS = 2.0
_CLEANUP_SECONDS = 10.0


class TracerProcess:
    """The stream of a tracer that is started by the iteration and ends with it.

    Args:
        command: the command line of the tracer.
        cleanup: the command line that removes what a dead tracer leaves behind, for tracers that
            start a COMMAND; None where there is nothing to remove.
        passes_output: the tracer's standard error, which carries COMMAND's output, is ours too;
            otherwise its end is kept.
        stdin: a descriptor that COMMAND reads, or None for no input.
    """

    patience_seconds = PATIENCE_SECONDS

    def __init__(
        self,
        command: Sequence[str],
        cleanup: Sequence[str] | None = None,
        passes_output: bool = False,
        stdin: int | None = None,
    ) -> None:
        self._command = command
        self._cleanup = cleanup
        self._passes_output = passes_output
        self._stdin = stdin
        self._process: subprocess.Popen[bytes] | None = None
        self._stop_asked = False
        self._closed = False
        self._last_output: deque[bytes] = deque()
        self._last_output_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        """Start the tracer and yield its stream, with empty chunks while it says nothing."""
        process = self._start()
        if process is None:
            return
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if process.stderr is not None:
                selector.register(process.stderr, selectors.EVENT_READ)
            while not self._closed:
                ready = [key.fileobj for key, _ in selector.select(IDLE_SECONDS)]
                if process.stderr in ready and not self._keep_output(process.stderr):
                    selector.unregister(process.stderr)
                if process.stdout in ready:
                    chunk = os.read(process.stdout.fileno(), CHUNK_BYTES)
                    if not chunk:
                        break
                    yield chunk
                elif not ready:
                    # A descendant that holds the pipe open must not keep us waiting.
                    if process.poll() is not None:
                        yield from _what_is_left(process.stdout)
                        break
                    yield b""
        self._finish()

    def stop(self) -> None:
        """Ask the tracer for its last tick and line."""
        self._stop_asked = True
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """End the tracer if it still runs, by force if need be, and what it leaves behind."""
        self._closed = True
        process = self._process
        if process is None:
            return
        if process.poll() is None and not self._stop_asked:
            # Nobody reads the rest, but a tracer that ends by itself clears up by itself.
            self.stop()
            with contextlib.suppress(subprocess.TimeoutExpired):
                _wait_unread(process, _CLOSE_SECONDS)
        if process.poll() is None:
            _kill_session(process)
        self._finish()

    def trouble(self) -> PodtraceError | None:
        """Say how the tracer ended, where that was not of its own will."""
        process = self._process
        if process is None or process.returncode is None:
            return None
        code = process.returncode
        how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        return StreamError(
            f"the tracer (PID {process.pid}) {how} before the trace was complete",
            "run the same command again; what arrived until then is all there is",
            self._last_lines() if self._cleanup is None and self._stdin is None else (),
        )

    def troubles(self) -> Sequence[PodtraceError]:
        """Return nothing: a tracer that sent its last line has done its work."""
        return ()

    @property
    def kept_output(self) -> bytes:
        """The end of what came on standard error, where that is not passed on."""
        return b"".join(self._last_output)[-KEPT_BYTES:]

    def _start(self) -> subprocess.Popen[bytes] | None:
        if self._is_ending():
            return None
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL if self._stdin is None else self._stdin,
                stdout=subprocess.PIPE,
                stderr=None if self._passes_output else subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise StartError(
                f"cannot start the tracer with {self._command[0]}: {error.strerror}",
                "check that this program runs at all",
            ) from error
        self._process = process
        if self._is_ending():  # a signal came while the process was being made
            process.send_signal(signal.SIGINT)
        return process

    def _is_ending(self) -> bool:
        return self._stop_asked or self._closed

    def _keep_output(self, stream: IO[bytes]) -> bool:
        """Keep the end of what the tracer wrote to standard error; return whether more can come."""
        chunk = os.read(stream.fileno(), CHUNK_BYTES)
        self._last_output.append(chunk)
        self._last_output_bytes += len(chunk)
        while self._last_output_bytes - len(self._last_output[0]) >= KEPT_BYTES:
            self._last_output_bytes -= len(self._last_output.popleft())
        return bool(chunk)

    def _last_lines(self) -> list[str]:
        text = self.kept_output.decode("utf-8", "replace")
        return [line for line in text.split("\n") if line.strip()][-_LAST_LINES:]

    def _finish(self) -> None:
        """Reap the tracer, end it if it will not end, and clear up after one that could not."""
        process, self._closed = self._process, True
        if process is None or process.stdout is None or process.stdout.closed:
            return
        try:
            process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            _kill_session(process)
            process.wait()
        if process.stderr is not None:
            os.set_blocking(process.stderr.fileno(), False)
            with contextlib.suppress(BlockingIOError):
                self._keep_output(process.stderr)
            process.stderr.close()
        process.stdout.close()
        if process.returncode < 0 and self._cleanup is not None:
            run_cleanup(self._cleanup)


def run_cleanup(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run the tracer's clean-up and return what it said.

    Raises:
        StartError: it could not be started, or did not end.
    """
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_CLEANUP_SECONDS,
            start_new_session=True,
            check=False,
        )
    except OSError as error:
        raise StartError(
            f"cannot start the clean-up with {command[0]}: {error.strerror}",
            "check that this program runs at all",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise StartError(
            f"the clean-up did not end within {_CLEANUP_SECONDS:.0f} s",
            "run it again: kubectl-podtrace cleanup --local",
        ) from error


def _what_is_left(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield what a process wrote in its last moment; the pipe may still be held open."""
    os.set_blocking(stream.fileno(), False)
    with contextlib.suppress(BlockingIOError):
        while chunk := os.read(stream.fileno(), CHUNK_BYTES):
            yield chunk


def _wait_unread(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for a process whose output is thrown away, so that no full pipe blocks it.

    Raises:
        subprocess.TimeoutExpired: it did not end.
    """
    until = time.monotonic() + seconds
    assert process.stdout is not None
    while process.poll() is None and time.monotonic() < until:
        for _ in _what_is_left(process.stdout):
            pass
        time.sleep(0.01)
    process.wait(0)


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """Kill the tracer and the helpers that share its process group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
