"""What the commands do: from options to a source, a view, a report and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from podtrace.errors import EXIT_OK, StartError
from podtrace.local import installation
from podtrace.local.process import TracerProcess, run_cleanup
from podtrace.local.scope import TracerSettings
from podtrace.metricsoptions import host_and_port, metrics_line
from podtrace.options import TraceOptions
from podtrace.output import Output
from podtrace.pace import PacedSource
from podtrace.presentation import (
    Tell,
    conclude,
    execute,
    is_terminal,
    live_view,
    redraws_screen,
)
from podtrace.recording import RecordingReader, RecordingWriter
from podtrace.report.escape import printable
from podtrace.run import View
from podtrace.source import LineSource
from podtrace.suboptions import ReplayOptions
from podtrace.views import ProgressView, QuietView


def run_trace(options: TraceOptions, tell: Tell) -> int:
    """Trace this machine and return the exit code.

    Raises:
        PodtraceError: there is nothing to report, and why.
        OutputClosed: nobody reads standard output.
    """
    start = installation.tracer_start(os.environ, sys.argv)
    caller = installation.caller_ids(os.environ)
    report, output = options.report, Output(sys.stdout)
    is_command = options.scope.command is not None
    is_live = options.diagnose_ns is None
    redraws = is_live and redraws_screen(report, output)
    source = TracerProcess(
        installation.tracer_command(start.line, options.scope, _settings(options), caller),
        cleanup=start.cleanup if is_command else None,
        # A redrawn screen and COMMAND's lines do not go together: they follow later.
        passes_output=is_command and not (redraws and is_terminal(sys.stderr)),
        stdin=_standard_input() if is_command else None,
    )
    recorder = RecordingWriter(options.record, caller) if options.record is not None else None
    view: View = QuietView()
    if is_live:
        view = live_view(report, output)
    elif not is_command and is_terminal(sys.stderr):
        view = ProgressView(sys.stderr, options.diagnose_ns)
    if options.metrics is not None and options.metrics.warning is not None:
        view.notice(options.metrics.warning)
    try:
        outcome = execute(
            source, view, recorder, report, output, is_live, at_begin=_metrics_teller(view)
        )
    finally:
        if is_command:
            _pass_on(source.kept_output)
    return conclude(outcome, report, output, is_live, tell)


def run_replay(options: ReplayOptions, tell: Tell) -> int:
    """Read a recording and return the exit code.

    Raises:
        PodtraceError: there is nothing to report, and why.
        OutputClosed: nobody reads standard output.
    """
    report, output = options.report, Output(sys.stdout)
    source: LineSource = RecordingReader(options.file)
    view: View = QuietView()
    if options.live:
        view = live_view(report, output)
        if redraws_screen(report, output):
            source = PacedSource(source)
    outcome = execute(source, view, None, report, output, options.live)
    return conclude(outcome, report, output, options.live, tell)


def run_cleanup_command() -> int:
    """End and remove what dead tracers left on this machine, and say what that was.

    Raises:
        PodtraceError: the clean-up could not do its work.
    """
    done = run_cleanup(installation.cleanup_command(os.environ, sys.argv))
    left = [f"removed {printable(folder)}\n" for folder in done.stdout.splitlines()]
    text = "".join(left) or "nothing was left behind\n"
    if done.returncode != 0:
        raise StartError(
            f"the clean-up failed with exit code {done.returncode}",
            "run it again; what it said last names what is left",
            done.stderr.splitlines()[-8:],
        )
    Output(sys.stdout).write_with(lambda stream: stream.write(text))
    return EXIT_OK


def _settings(options: TraceOptions) -> TracerSettings:
    settings = options.report.settings
    metrics = options.metrics
    return TracerSettings(
        options.limit_ns if options.diagnose_ns is None else options.diagnose_ns,
        settings.rtt_spike_ns,
        settings.slow_file_ns,
        settings.long_block_ns,
        None if metrics is None else host_and_port(metrics.address, metrics.port),
        None if metrics is None else metrics.processes,
    )


def _metrics_teller(view: View) -> Callable[[Mapping[str, Any]], None]:
    """Return what tells where the tracer offers metrics, once it knows: its port may be any."""

    def tell(hello: Mapping[str, Any]) -> None:
        if place := hello.get("metrics"):
            view.notice(metrics_line(str(place)))

    return tell


def _standard_input() -> int | None:
    """Return the descriptor that COMMAND reads, or None where this program has none."""
    with suppress(OSError):
        os.fstat(0)
        return 0
    return None


def _pass_on(text: bytes) -> None:
    """Write what COMMAND said while the screen was ours."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.buffer.write(text)
            sys.stderr.flush()
