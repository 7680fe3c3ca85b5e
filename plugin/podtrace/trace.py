"""What the commands do: from options to a source, a view, a report and an exit code."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from podtrace.errors import (
    EXIT_FINDINGS,
    EXIT_OK,
    PodtraceError,
    StartError,
)
from podtrace.interrupts import stop_on_signals
from podtrace.local import installation
from podtrace.local.process import TracerProcess, run_cleanup
from podtrace.local.scope import TracerSettings
from podtrace.model.session import Session
from podtrace.model.snapshot import Snapshot
from podtrace.options import SEVERITIES, ReplayOptions, ReportOptions, TraceOptions
from podtrace.output import Output
from podtrace.pace import PacedSource
from podtrace.recording import RecordingReader, RecordingWriter
from podtrace.report.escape import printable
from podtrace.run import Outcome, Run, View
from podtrace.source import LineSource
from podtrace.views import ProgressView, QuietView
from podtrace.wire import schema
from podtrace.wire.version import VERSION

Tell = Callable[[PodtraceError], None]
"""Shows the user an error that the report survives."""


def run_trace(options: TraceOptions, tell: Tell) -> int:
    """Trace this machine and return the exit code.

    Raises:
        PodtraceError: there is nothing to report, and why.
        OutputClosed: nobody reads standard output.
    """
    python = installation.tracer_python(os.environ)
    folder = installation.tracer_folder()
    installation.check_rights(python, sys.argv)
    caller = installation.caller_ids(os.environ)
    report, output = options.report, Output(sys.stdout)
    is_command = options.scope.command is not None
    is_live = options.diagnose_ns is None
    redraws = is_live and _redraws(report, output)
    source = TracerProcess(
        installation.tracer_command(python, folder, options.scope, _settings(options), caller),
        cleanup=installation.cleanup_command(python, folder) if is_command else None,
        # A redrawn screen and COMMAND's lines do not go together: they follow later.
        passes_output=is_command and not (redraws and _is_terminal(sys.stderr)),
        stdin=_standard_input() if is_command else None,
    )
    recorder = RecordingWriter(options.record, caller) if options.record is not None else None
    view: View = QuietView()
    if is_live:
        view = _live_view(report, output)
    elif not is_command and _is_terminal(sys.stderr):
        view = ProgressView(sys.stderr, options.diagnose_ns)
    try:
        outcome = _execute(source, view, recorder, report, output, is_live)
    finally:
        if is_command:
            _pass_on(source.kept_output)
    return _conclude(outcome, report, output, is_live, tell)


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
        view = _live_view(report, output)
        if _redraws(report, output):
            source = PacedSource(source)
    outcome = _execute(source, view, None, report, output, options.live)
    return _conclude(outcome, report, output, options.live, tell)


def run_cleanup_command() -> int:
    """End and remove what dead tracers left on this machine, and say what that was.

    Raises:
        PodtraceError: the clean-up could not do its work.
    """
    python = installation.tracer_python(os.environ)
    folder = installation.tracer_folder()
    installation.check_rights(python, sys.argv)
    done = run_cleanup(installation.cleanup_command(python, folder))
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


def version_text() -> str:
    """Return the versions of this program, of the stream and of Python."""
    stream = ".".join(map(str, schema.SCHEMA))
    return f"podtrace {VERSION} (stream schema {stream}, Python {platform.python_version()})"


def _settings(options: TraceOptions) -> TracerSettings:
    settings = options.report.settings
    return TracerSettings(
        options.limit_ns if options.diagnose_ns is None else options.diagnose_ns,
        settings.rtt_spike_ns,
        settings.slow_file_ns,
        settings.long_block_ns,
    )


def _standard_input() -> int | None:
    """Return the descriptor that COMMAND reads, or None where this program has none."""
    with suppress(OSError):
        os.fstat(0)
        return 0
    return None


def _environment(options: ReportOptions) -> dict[str, str]:
    return {**os.environ, "NO_COLOR": "1"} if options.no_color else dict(os.environ)


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _redraws(options: ReportOptions, output: Output) -> bool:
    from podtrace.report.screen import can_redraw

    return options.format == "text" and can_redraw(output.stream, _environment(options))


def _live_view(options: ReportOptions, output: Output) -> View:
    from podtrace.report.live import LiveView
    from podtrace.report.plain_live import PlainLiveView
    from podtrace.report.style import style_for

    if options.format == "json":
        return QuietView()
    environment = _environment(options)
    if _redraws(options, output):
        return LiveView(output.stream, environment=environment)
    return PlainLiveView(
        lambda text: output.write_with(lambda stream: stream.write(text)),
        style_for(output.stream, environment),
    )


def _execute(
    source: LineSource,
    view: View,
    recorder: RecordingWriter | None,
    options: ReportOptions,
    output: Output,
    is_live: bool,
) -> Outcome:
    passes_stream = is_live and options.format == "json"
    run = Run(source, Session(), view, output, recorder, passes_stream)
    with stop_on_signals(run.stop):
        return run.execute()


def _pass_on(text: bytes) -> None:
    """Write what COMMAND said while the screen was ours."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.buffer.write(text)
            sys.stderr.flush()


def _conclude(
    outcome: Outcome, options: ReportOptions, output: Output, is_live: bool, tell: Tell
) -> int:
    """Print the report, tell what was wrong, and return the exit code."""
    snapshot = outcome.session.snapshot(options.settings.thresholds)
    try:
        if not (is_live and options.format == "json"):
            output.write_with(lambda stream: _write_report(snapshot, options, output))
    finally:
        for error in outcome.errors:
            tell(error)
    if outcome.errors:
        return outcome.errors[0].exit_code
    if options.fail_on is not None and _has_finding(snapshot, options.fail_on):
        return EXIT_FINDINGS
    return EXIT_OK


def _write_report(snapshot: Snapshot, options: ReportOptions, output: Output) -> None:
    if options.format == "json":
        from podtrace.report.json_report import write_json

        write_json(snapshot, output.stream)
    elif options.format == "yaml":
        from podtrace.report.yaml_report import write_yaml

        write_yaml(snapshot, output.stream)
    else:
        from podtrace.report.style import style_for
        from podtrace.report.text import write_text

        write_text(snapshot, output.stream, style_for(output.stream, _environment(options)))


def _has_finding(snapshot: Snapshot, lowest: str) -> bool:
    wanted = SEVERITIES[SEVERITIES.index(lowest) :]
    return any(issue.severity in wanted for issue in snapshot.issues)
